"""SQLite: one writer, WAL, every commit on the disk before it returns.

A transaction begins with BEGIN IMMEDIATE, so that what a probe saw stays true until the commit, also when another
process (`cdrhub import`) writes to the same file.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import time
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, ClassVar

import orjson
from sqlalchemy import URL, String, Table, event
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from cdrhub.errors import StoreDamaged, StoreUnavailable
from cdrhub.os_errors import in_words
from cdrhub.store import sqlite_driver, sqlite_rows
from cdrhub.store.portable import PortableTransaction
from cdrhub.store.rows import ID_POSITION, KEPT_COLUMNS, UPDATED_COLUMNS, Row
from cdrhub.store.tables import calls
from cdrhub.store.transaction import KNOWN_CALL_COLUMNS, CallKey, KnownCall, by_source, known_call
from cdrhub.store.trouble import NO_SUCH_VALUE, Trouble, driver_error, unique_violation
from cdrhub.store.types import Cost, UtcDateTime, sqlite_time

PRIVATE = 0o600  #: mode of a new database: it holds numbers and names of people
_FILE = "cdrhub_file"
_DAMAGED = (
    "the file is damaged: stop the daemon, move the file away with its -wal and -shm, put a backup in its place, start"
)
_NOT_OURS = (
    "this user cannot write the file, or its folder, or its disk is read-only: commands want the user of the service"
)
_NOT_OPENED = (
    "the file or its folder is not this user's (commands want the user of the service), or no descriptor is free"
)
_ADVICE = {
    sqlite3.SQLITE_CORRUPT: _DAMAGED,
    sqlite3.SQLITE_NOTADB: _DAMAGED,
    sqlite3.SQLITE_READONLY: _NOT_OURS,
    sqlite3.SQLITE_CANTOPEN: _NOT_OPENED,
}
EXCHANGED = "the file was removed or replaced below this process: put it back, or restart"
BUSY_SECONDS = 10.0  #: how long one statement waits for another process's transaction
BEGUN_SECONDS = 0.01  #: between two looks whether another process has begun the write-ahead log

_UPDATE = f"UPDATE calls SET {', '.join(f'{name} = ?' for name in UPDATED_COLUMNS)} WHERE id = ?"  # noqa: S608  (names of ours only)
UPDATE_COLUMNS = (*UPDATED_COLUMNS, "id")
LOCK_CALLS = sqlite_rows.one_text(
    [column.name for column in KNOWN_CALL_COLUMNS],
    "SELECT * FROM calls WHERE call_key IN (SELECT value FROM json_each(?)) AND source = ?",
)


class SQLiteTransaction(PortableTransaction):
    """A transaction under the database's only write lock."""

    placeholder = "?"
    # A word of an enumeration is a string to everybody but this driver, which asks its adapters about it first.
    conversions = {UtcDateTime: sqlite_time, Cost: str, String: str}  # noqa: RUF012  (read-only, declared in the base)
    #: Whether rows go to and fro as JSON, many in one step; older ones step row by row.
    reads_json: ClassVar[bool] = sqlite_rows.READS_JSON

    async def append(self, table: Table, columns: Sequence[str], rows: Sequence[Row]) -> None:
        its_columns = tuple(columns)
        parameters = sqlite_rows.parameters(table, its_columns, rows) if rows and self.reads_json else None
        if parameters is None:
            await super().append(table, columns, rows)
        else:
            await self.connection.exec_driver_sql(sqlite_rows.insert_statement(table, its_columns), parameters)

    async def update_calls(self, rows: Sequence[Row]) -> None:
        if not rows:
            return
        reordered = [(*row[len(KEPT_COLUMNS) :], row[ID_POSITION]) for row in rows]
        parameters = sqlite_rows.parameters(calls, UPDATE_COLUMNS, reordered) if self.reads_json else None
        if parameters is None:
            await self.connection.exec_driver_sql(_UPDATE, self.converted(calls, UPDATE_COLUMNS, reordered))
        else:
            statement = sqlite_rows.update_statement(calls, UPDATE_COLUMNS, key="id")
            await self.connection.exec_driver_sql(statement, parameters)

    async def lock_calls(self, keys: Sequence[CallKey]) -> list[KnownCall]:
        if not self.reads_json:
            return await super().lock_calls(keys)
        found: list[KnownCall] = []
        for source, some in by_source(keys):
            result = await self.connection.exec_driver_sql(LOCK_CALLS, (orjson.dumps(some).decode(), source))
            found += map(_known_call, sqlite_rows.rows_in(result.scalar_one()))
        return found


class _Connection(sqlite3.Connection):
    """A connection whose close ends its transaction in any case. SQLite itself closes, and rolls back, only when no
    statement is open any more (https://www.sqlite.org/c3ref/close.html). `sqlite_driver` leaves none open; a cursor of
    aiosqlite's own, whose reader was cancelled, has one until Python's collector comes by; until then nobody writes."""

    def __init__(self, *place: Any, **how: Any) -> None:
        super().__init__(*place, **how)
        try:
            self._keep_log()
            self.execute("PRAGMA synchronous = FULL")
            self.execute("PRAGMA temp_store = MEMORY")
        except BaseException:
            self.close()
            raise

    def _keep_log(self) -> None:
        """Have a write-ahead log. Where another process begins one in the same moment SQLite says that the file is
        locked and does not wait, for either may wait for the other (https://www.sqlite.org/c3ref/busy_handler.html)."""
        deadline = time.monotonic() + BUSY_SECONDS
        while True:
            try:
                self.execute("PRAGMA journal_mode = WAL")
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                    raise
                time.sleep(BEGUN_SECONDS)
            else:
                return

    def close(self) -> None:
        """Roll back what is open, then close; again and again does nothing."""
        try:
            with contextlib.suppress(sqlite3.ProgrammingError):  # it is closed
                self.rollback()
        finally:
            super().close()


def _known_call(values: Sequence[Any]) -> KnownCall:
    """Of KNOWN_CALL_COLUMNS as SQLite holds them."""
    *others, flags, record_count, revision, first, last = values
    moments = (datetime.fromisoformat(first), datetime.fromisoformat(last))
    return known_call((*others, orjson.loads(flags), record_count, revision, *moments))


def engine(url: URL, *, writer: bool, seconds: float) -> AsyncEngine:
    """An engine for `sqlite:///path`; the writer has one connection, and makes a missing file for its owner only.
    StoreUnavailable where the file's folder is missing and cannot be made."""
    if url.database and url.database != ":memory:":
        file = Path(url.database)
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreUnavailable(f"sqlite:///{file}: {file.parent} cannot be made: {in_words(error)}") from error
        if writer:
            _make_private(file)
    known = _identity(url)

    async def connect(database: str, **how: Any) -> sqlite_driver.Connection:
        """A connection to the file of the first one. In the place of a file that was moved away SQLite would make
        another one, and remove the log, with what was committed and is not in the file yet; so it would where an empty
        one is there."""
        nonlocal known
        found = _identity(url)
        if known is not None and found != known:
            raise sqlite3.OperationalError(EXCHANGED)
        known = found
        return await sqlite_driver.connect(database, **how)

    made = create_async_engine(
        url.set(drivername="sqlite+aiosqlite"),
        connect_args={
            "timeout": BUSY_SECONDS,
            "factory": _Connection,
            "isolation_level": None,  # transactions begin where we say so, not where the driver guesses
            "async_creator_fn": connect,
        },
        pool_size=1 if writer else 4,
        max_overflow=0,
        pool_timeout=seconds / 2,
        hide_parameters=True,
    )

    @event.listens_for(made.sync_engine, "connect")
    def remember_file(_: Any, entry: Any) -> None:
        entry.info[_FILE] = _identity(url)

    @event.listens_for(made.sync_engine, "begin")
    def begin(connection: Any) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writer else "BEGIN")

    return made


def unavailable(error: BaseException, *, why: str) -> StoreUnavailable:
    """What is raised for `error` of the driver: `why`, and what a person can do (https://www.sqlite.org/rescode.html)."""
    if isinstance(error, sqlite3.OperationalError) and "decode to UTF-8" in str(error):  # which has no code
        advice: str | None = _DAMAGED
    else:
        advice = _ADVICE.get(getattr(error, "sqlite_errorcode", sqlite3.SQLITE_OK) & 0xFF)
    kind = StoreDamaged if advice is _DAMAGED else StoreUnavailable
    return kind(f"{why}: {advice}" if advice is not None else why)


def is_exchanged(url: URL, info: Mapping[str, Any]) -> bool:
    """Whether the file that a connection was made to, of which `info` is, is no longer at its place: what is written to
    it nobody would find again."""
    return bool(info[_FILE] != _identity(url))


def _identity(url: URL) -> tuple[int, int] | None:
    try:
        file = os.stat(url.database or "")  # noqa: PTH116 - each transaction asks
    except OSError:
        return None
    return file.st_dev, file.st_ino


def _make_private(file: Path) -> None:
    """Make the file if there is none. SQLite gives its -wal and -shm the mode of the file itself
    (https://sqlite.org/src/file/src/os_unix.c, findCreateFileMode)."""
    try:
        os.close(os.open(file, os.O_CREAT | os.O_EXCL | os.O_WRONLY, PRIVATE))
    except OSError:  # it is there, or cannot be made, which SQLite says at the first connection
        return


def trouble(error: BaseException) -> Trouble | None:
    """What `error` means for the batch."""
    cause = driver_error(error)
    text = str(cause)
    if isinstance(cause, sqlite3.IntegrityError):
        return unique_violation(text)
    if isinstance(cause, sqlite3.OperationalError):
        return Trouble.TRANSIENT if "locked" in text or "busy" in text else Trouble.AWAY
    if isinstance(cause, (sqlite3.DataError, sqlite3.InterfaceError, sqlite3.ProgrammingError, *NO_SUCH_VALUE)):
        return Trouble.REFUSED
    if isinstance(cause, sqlite3.Error | OSError) or isinstance(error, DBAPIError):
        return Trouble.AWAY
    return None
