"""SQLite's driver as SQLAlchemy is given it: a statement is one exchange with the driver's thread.

With aiosqlite's own cursors it is three or four: one makes the cursor, one runs the statement, one fetches its rows,
one closes it. Each waits until the event loop comes by, which beside a busy one is milliseconds, and in all of them
the database's only writer is taken. Rows are fetched at once in any case: SQLAlchemy buffers them. So no statement
stays open between two exchanges either, whoever is cancelled.
"""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, Self

import aiosqlite

ROWS_AT_ONCE = 64  #: aiosqlite's own default, for cursors that are iterated

_Run = Callable[[sqlite3.Cursor], object]
_Done = tuple[list[Any], Any, int, int | None]
"""The rows of a statement, and `description`, `rowcount` and `lastrowid` of PEP 249."""


class Cursor:
    """One statement after the other, each run, read and closed in one exchange."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._rows: list[Any] = []
        self.description: Any = None
        self.rowcount = -1
        self.lastrowid: int | None = None

    async def __aenter__(self) -> Self:
        return self

    async def execute(self, statement: str, parameters: Sequence[Any] | Mapping[str, Any] = ()) -> None:
        """Run a statement and keep its rows. Raises what `sqlite3` does."""
        await self._take(lambda cursor: cursor.execute(statement, parameters))

    async def executemany(self, statement: str, parameters: Iterable[Sequence[Any]]) -> None:
        """Run a statement that gives no rows, for each of these."""
        await self._take(lambda cursor: cursor.executemany(statement, parameters))

    async def fetchall(self) -> list[Any]:
        """The rows that are kept."""
        return self._rows

    async def close(self) -> None:
        """Nothing is open."""

    async def _take(self, run: _Run) -> None:
        self._rows, self.description, self.rowcount, self.lastrowid = await self._connection.exchange(run)


class Connection(aiosqlite.Connection):
    """aiosqlite's connection with such cursors."""

    def cursor(self) -> Cursor:  # type: ignore[override]  # only SQLAlchemy asks for it
        return Cursor(self)

    async def exchange(self, run: _Run) -> _Done:
        """Run a statement with a cursor of its own, in the driver's thread."""
        done: _Done = await self._execute(self._step, run)  # type: ignore[no-untyped-call]
        return done

    def _step(self, run: _Run) -> _Done:
        cursor = self._conn.cursor()
        try:
            run(cursor)
            rows = cursor.fetchall() if cursor.description else []
            return rows, cursor.description, cursor.rowcount, cursor.lastrowid
        finally:
            cursor.close()


_closing: set[asyncio.Task[None]] = set()  #: the event loop itself keeps no task alive


async def connect(database: str, **how: Any) -> Connection:
    """A connection, as SQLAlchemy's `async_creator_fn` makes it. Who is cancelled meanwhile leaves none: the driver's
    thread opens it all the same, and nobody else would close it."""
    connection = Connection(partial(sqlite3.connect, database, **how), ROWS_AT_ONCE)
    # A process that dies of an error is not kept alive by it. Before aiosqlite 0.22 the connection is the thread.
    thread: Any = getattr(connection, "_thread", connection)
    thread.daemon = True
    opening = asyncio.ensure_future(connection)
    try:
        await asyncio.shield(opening)
    except asyncio.CancelledError:
        closing = asyncio.create_task(_close_once_open(opening))
        _closing.add(closing)
        closing.add_done_callback(_closing.discard)
        await asyncio.wait({closing})
        raise
    return connection


async def _close_once_open(opening: asyncio.Future[aiosqlite.Connection]) -> None:
    with contextlib.suppress(sqlite3.Error):  # it was not opened, and nobody wants to know any more
        await (await opening).close()
