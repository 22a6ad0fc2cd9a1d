"""The database: its connections, its transactions, and what is done when one fails.

Two pools: one for writing, set up for the write protocol, and one for everybody else. A transaction that met a
deadlock is begun again; one whose connection was gone is tried once on a fresh connection; then the caller learns
that the database is away. No message of this module shows a password.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError
from sqlalchemy.exc import TimeoutError as NoFreeConnection
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from cdrhub.errors import CdrhubError, StoreError, StoreUnavailable
from cdrhub.os_errors import in_words, is_refused
from cdrhub.store import mariadb, postgresql, sqlite
from cdrhub.store.renewal import Renewal
from cdrhub.store.transaction import Transaction
from cdrhub.store.trouble import Trouble, driver_error

CONNECTIONS = 4
SQLITE_LANES = 2  #: one is in the only transaction while the other folds
STATEMENT_SECONDS = 60.0  #: after which a connection that does not answer is given up
HALF_MADE_SECONDS = 2.0  #: that being cancelled waits for a connection that is just being made
CLOSE_SECONDS = 5.0  #: for a farewell to a server that may not listen
TRANSIENT_ATTEMPTS = 12
FIRST_PAUSE_SECONDS = 0.01
LAST_PAUSE_SECONDS = 1.0

T = TypeVar("T")

_ENGINES = {
    "sqlite": "sqlite",
    "postgresql": "postgresql",
    "postgres": "postgresql",
    "mariadb": "mariadb",
    "mysql": "mariadb",
}
_TRANSACTIONS: dict[str, type[Transaction]] = {
    "sqlite": sqlite.SQLiteTransaction,
    "postgresql": postgresql.PostgresTransaction,
    "mariadb": mariadb.MariaDBTransaction,
}
_TROUBLES = {"sqlite": sqlite.trouble, "postgresql": postgresql.trouble, "mariadb": mariadb.trouble}


class RacedError(Exception):
    """A unique key was there already: write the batch again, without guessing."""


class RefusedError(StoreError):
    """The database refuses a value of what was to be written."""


class _Unconnected(Exception):
    """No connection could be made; why is the cause."""


class Database:
    """One database and its two pools."""

    def __init__(self, url: URL, *, connections: int, seconds: float) -> None:
        """`connections` are those of each pool; `seconds` is how long a statement, or a transaction that writes, may
        take."""
        self.url = url
        self.kind = _ENGINES[url.get_backend_name()]
        self.lanes = SQLITE_LANES if self.kind == "sqlite" else connections  #: batches that may be in flight at once
        self._seconds = seconds
        self._connections = connections
        self._writer = self._engine(writer=True)
        self._reader = self._engine(writer=False)
        self._renewals = {engine: Renewal(engine) for engine in (self._writer, self._reader)}
        self._trouble = _TROUBLES[self.kind]
        self._endings: set[asyncio.Future[None]] = set()  #: of transactions whose task was cancelled

    def __repr__(self) -> str:
        return f"Database({self.explain_url()!r})"

    @property
    def made(self) -> int:
        """Connections for writing that were made so far. Each further one may lead to another server: a standby."""
        return self._renewals[self._writer].made

    def explain_url(self) -> str:
        """The URL without the password."""
        return f"sqlite:///{self.url.database}" if self.kind == "sqlite" else _shown(self.url)

    def _engine(self, *, writer: bool) -> AsyncEngine:
        if self.kind == "sqlite":
            return sqlite.engine(self.url, writer=writer, seconds=self._seconds)
        if self.kind == "mariadb":
            return mariadb.engine(self.url, writer=writer, connections=self._connections, seconds=self._seconds)
        return postgresql.engine(self.url, writer=writer, connections=self._connections, seconds=self._seconds)

    async def close(self) -> None:
        """Close all connections; those of a server that does not answer are given up, those in use are closed when
        they are given back."""
        if self._endings:
            await asyncio.wait(self._endings, timeout=CLOSE_SECONDS)
        await asyncio.gather(*(self._close(engine) for engine in self._renewals))

    async def _close(self, engine: AsyncEngine) -> None:
        self._renewals[engine].begin()
        await _farewell(engine.dispose())
        self._renewals[engine].begin()  # for what was made meanwhile

    @asynccontextmanager
    async def connect(self, *, writing: bool = False) -> AsyncIterator[AsyncConnection]:
        """A connection in a transaction that is committed at the end. Raises StoreUnavailable, also where there is
        none within the time that a statement may take."""
        engine, before = self._writer if writing else self._reader, _cancellations()
        try:
            async with self._opened(engine) as connection:
                await connection.begin()
                yield connection
                _heed(before)
                await connection.commit()
                _heed(before)
        except (CdrhubError, RacedError):
            raise
        except Exception as error:
            if self._meaning(error) in (Trouble.AWAY, Trouble.TRANSIENT):
                raise self._unavailable(error) from error
            raise

    @asynccontextmanager
    async def _opened(self, engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
        """A connection of the pool; TimeoutError, or _Unconnected where none can be made. A caller that is cancelled,
        however often, leaves it closed or in the pool: a task of its own ends it."""
        connection = engine.connect()
        starting = asyncio.ensure_future(connection.start())
        try:
            async with asyncio.timeout(self._seconds):
                await asyncio.shield(starting)
        except (asyncio.CancelledError, TimeoutError):
            await self._to_its_end(_unopened(connection, starting))
            raise
        except NoFreeConnection:
            raise
        except Exception as error:
            raise _Unconnected from error
        try:
            if self.kind == "sqlite" and engine is self._writer:
                await self._stay_with_file(connection)
            yield connection
        except BaseException as error:
            await self._to_its_end(self._abandon(connection, error))
            raise
        await self._to_its_end(_farewell(connection.close()))

    async def _stay_with_file(self, connection: AsyncConnection) -> None:
        """Raise StoreUnavailable if the SQLite file was removed or replaced. The connections stay open: closing them,
        SQLite would remove the log of that name, which may belong to the new file."""
        if sqlite.is_exchanged(self.url, (await connection.get_raw_connection()).info):
            raise StoreUnavailable(f"{self.explain_url()}: {sqlite.EXCHANGED}")

    async def _to_its_end(self, ending: Coroutine[Any, Any, None]) -> None:
        """Wait for `ending`, which goes on also if the present task is cancelled."""
        task = asyncio.create_task(ending)
        self._endings.add(task)
        task.add_done_callback(self._endings.discard)
        await asyncio.shield(task)

    async def _abandon(self, connection: AsyncConnection, error: BaseException) -> None:
        """Roll back, and throw the connection away where it may be broken."""
        if isinstance(error, Exception) and self._trouble(error) is not Trouble.AWAY:
            try:
                async with asyncio.timeout(self._seconds):
                    await connection.rollback()
            except Exception as failed:  # noqa: BLE001  (the first error is the one that counts)
                await _farewell(connection.invalidate(failed))
        else:
            await _farewell(connection.invalidate(error))
        await _farewell(connection.close())

    async def write(self, work: Callable[[Transaction], Awaitable[T]]) -> T:
        """Run `work` in a write transaction and commit it; once more where that may help.

        Raises RacedError, RefusedError, StoreUnavailable, and what `work` itself raises.
        """
        attempt = 0
        while True:
            attempt += 1
            try:
                return await self._write_once(work)
            except (CdrhubError, RacedError):
                raise
            except NoFreeConnection as error:
                raise self._unavailable(error) from error
            except Exception as error:
                match self._meaning(error):
                    case Trouble.RACED:
                        raise RacedError from error
                    case Trouble.REFUSED:
                        raise RefusedError(self.explain(error)) from error
                    case Trouble.TRANSIENT if attempt < TRANSIENT_ATTEMPTS:
                        pause = min(FIRST_PAUSE_SECONDS * 2**attempt, LAST_PAUSE_SECONDS)
                        await asyncio.sleep(random.uniform(0, pause))  # noqa: S311  (spreads writers, hides nothing)
                    case Trouble.AWAY if attempt == 1:
                        await self._renew()
                    case Trouble.AWAY | Trouble.TRANSIENT:
                        raise self._unavailable(error) from error
                    case None:
                        raise

    async def _renew(self) -> None:
        """Use none of the present connections for writing again: they are as old as the one that failed. With SQLite
        those for reading are renewed too, for all connections of a process to one file share its mapped log: while one
        is open that was made when the file was read-only, each further one can only read."""
        self._renewals[self._writer].begin()
        if self.kind == "sqlite":
            self._renewals[self._reader].begin()
            await _farewell(self._reader.dispose())

    async def _write_once(self, work: Callable[[Transaction], Awaitable[T]]) -> T:
        before = _cancellations()
        async with asyncio.timeout(self._seconds), self._opened(self._writer) as connection:
            await connection.begin()
            result = await work(_TRANSACTIONS[self.kind](connection))
            _heed(before)
            await connection.commit()
            _heed(before)
            return result

    def _meaning(self, error: BaseException) -> Trouble | None:
        """What `error` means for the batch. An error while a connection is made (a missing certificate, the words of a
        proxy) is never the fault of a record, for no value was sent yet, nor a bug to die of."""
        if isinstance(error, _Unconnected):
            transient = error.__cause__ is not None and self._trouble(error.__cause__) is Trouble.TRANSIENT
            return Trouble.TRANSIENT if transient else Trouble.AWAY
        return Trouble.AWAY if isinstance(error, TimeoutError | NoFreeConnection) else self._trouble(error)

    def _unavailable(self, error: BaseException) -> StoreUnavailable:
        why = self.explain(error)
        return sqlite.unavailable(_cause(error), why=why) if self.kind == "sqlite" else StoreUnavailable(why)

    def explain(self, error: BaseException) -> str:
        """`error` in one line, without the password."""
        cause = _cause(error)
        why = " ".join((in_words(cause) if isinstance(cause, OSError) else str(cause)).split())
        if self.kind == "mariadb" and len(cause.args) == 2 and not isinstance(cause, OSError):
            number, words = cause.args
            why = f"{words} ({number})"
        if not why:
            why = "no answer in time" if isinstance(cause, TimeoutError) else type(cause).__name__
        if is_refused(cause):
            why = "connection refused: does the server run, and listen there?"
        if isinstance(cause, NoFreeConnection):
            why = "no connection was free in time: all wait for the database"
        if self.url.password:
            why = why.replace(str(self.url.password), "***")
        return f"{self.explain_url()}: {why}"


def _cause(error: BaseException) -> BaseException:
    """The driver's own error, or the error of the system behind it (asyncmy quotes that with number and address)."""
    found = driver_error(error.__cause__ if isinstance(error, _Unconnected) and error.__cause__ else error)
    return found.__cause__ if isinstance(found.__cause__, OSError) else found


def _cancellations() -> int:
    """How often the present task has been cancelled."""
    task = asyncio.current_task()
    return task.cancelling() if task is not None else 0


def _heed(before: int) -> None:
    """Raise CancelledError if the task was cancelled more often than `before`.

    MariaDB's driver waits for its server with `asyncio.wait_for`, which on Python 3.11 may return what came instead of
    being cancelled (https://github.com/python/cpython/issues/86296): a part of the hub went on for ever, and a stop
    waited for it.
    """
    if _cancellations() > before:
        raise asyncio.CancelledError


async def _unopened(connection: AsyncConnection, starting: asyncio.Future[Any]) -> None:
    """Close a connection that nobody waits for any more, as soon as it is made: left half-made, its socket would
    leak."""
    await _given_up(starting)
    if starting.done() and not starting.cancelled() and starting.exception() is None:
        await _farewell(connection.close())


async def _given_up(task: asyncio.Future[Any]) -> None:
    """Wait a moment for `task`, then cancel it; one that ignores even that is left to itself."""
    for _ in range(2):
        await asyncio.wait({task}, timeout=HALF_MADE_SECONDS)
        task.cancel()  # does nothing to one that is done


async def _farewell(closing: Awaitable[None]) -> None:
    """Close a connection. If a silent server holds that up, give up after CLOSE_SECONDS."""
    task = asyncio.ensure_future(closing)
    done, _ = await asyncio.wait({task}, timeout=CLOSE_SECONDS)
    if done:
        task.result()
    else:
        await _given_up(task)


def _shown(url: URL) -> str:
    """A URL without its password and its query, for libpq takes passwords there as well."""
    return url.set(query={}).render_as_string(hide_password=True)


def open_database(url: str, *, connections: int, seconds: float) -> Database:
    """The database of a URL as people write it: `sqlite:///path`, `postgresql://…`, `mariadb://…`. Connects to nothing.
    The path is a file's name as it is: a `%` or `?` in it means nothing else.

    Raises StoreError for any other.
    """
    scheme, separator, file = url.partition(":///")
    try:
        parsed = URL.create(scheme, database=file) if scheme == "sqlite" and separator else make_url(url)
    except ArgumentError as error:
        # What it was is not shown: where no URL can be read, no password can be hidden either.
        raise StoreError("the database's URL must be sqlite:///…, postgresql://… or mariadb://…") from error
    if parsed.get_backend_name() not in _ENGINES:
        raise StoreError(f"{_shown(parsed)!r}: the database must be sqlite:///…, postgresql://… or mariadb://…")
    return Database(parsed, connections=connections, seconds=seconds)
