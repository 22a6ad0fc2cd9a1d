"""The database for one command: opened, checked, used step by step, closed again."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar

from cdrhub.errors import NotFound

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

    from cdrhub.cli.reading import Reader
    from cdrhub.config import Config
    from cdrhub.store import Store

T = TypeVar("T")
Row = TypeVar("Row")
P = ParamSpec("P")

PAGE = 500  #: rows read or written at a time


@dataclass(frozen=True, kw_only=True, slots=True)
class Opened:
    """An open store, what reads its records, and the event loop in which both work."""

    store: Store
    reader: Reader
    runner: asyncio.Runner

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """What `work` returns."""
        return self.runner.run(work)

    def read(
        self, query: Callable[Concatenate[AsyncConnection, P], Awaitable[T]], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """What `query` finds, in a transaction of its own."""

        async def look() -> T:
            async with self.store.database.connect() as connection:
                return await query(connection, *args, **kwargs)

        return self.run(look())

    def paged(
        self, page: Callable[[AsyncConnection, Row | None, int], Awaitable[Sequence[Row]]], *, limit: int
    ) -> Iterator[Row]:
        """Rows, `limit` at most, a page at a time, so that a long list is never held whole. `page` finds so many that
        come after a row (None: from the beginning), in a transaction of its own."""
        last: Row | None = None
        while limit > 0:
            size = min(PAGE, limit)
            rows = self.read(page, last, size)
            yield from rows
            if len(rows) < size:
                return
            last, limit = rows[-1], limit - size

    def each(self, items: AsyncIterator[T], *, at_once: int = 1) -> Iterator[T]:
        """The items of an asynchronous iterator, so many at a time, so that a long list is never held whole. Each time
        costs about as much as writing a row."""
        while found := self.runner.run(_next(items, at_once)):
            yield from found


async def _next(items: AsyncIterator[T], most: int) -> Sequence[T]:
    missing: Any = object()
    found: list[T] = []
    while len(found) < most and (item := await anext(items, missing)) is not missing:
        found.append(item)
    return found


@contextmanager
def opened(config: Config, *, create: bool = False, seconds: float | None = None) -> Iterator[Opened]:
    """The store of `config` while the context is open; `seconds` is how long one transaction may take, where that is
    longer than usual.

    An SQLite file that is not there, and the tables of an empty database, are made only with `create`, else they are
    NotFound: a reader that makes them hides a wrong address. Another version's are refused (SchemaOutdated). Raises
    StoreUnavailable.
    """
    import structlog

    from cdrhub.cli.reading import Reader
    from cdrhub.store import Store
    from cdrhub.store.engine import STATEMENT_SECONDS

    if not create and (file := missing_file(config)) is not None:
        raise NotFound(f"there is no database at {file}: start the daemon once, or correct database.url")
    if not structlog.is_configured():  # its own default is standard output, which is the command's
        structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    reader = Reader(config)
    with asyncio.Runner() as runner:
        url = config.database.url.get_secret_value()
        store = Store.open(url, connections=1, redecode=reader.decode, seconds=seconds or STATEMENT_SECONDS)
        try:
            runner.run(store.prepare() if create else _refuse_empty(store))
            reader.learn(runner.run(store.revisions()))
            yield Opened(store=store, reader=reader, runner=runner)
        finally:
            runner.run(store.close())


async def _refuse_empty(store: Store) -> None:
    from cdrhub.store import schema

    if await schema.checked(store.database) is None:
        where = store.database.explain_url()
        raise NotFound(f"{where} is empty: run `cdrhub db upgrade`, start the daemon once, or correct database.url")


def missing_file(config: Config) -> Path | None:
    """The file of an SQLite database that does not exist yet; None for one that does, and for servers."""
    scheme, separator, file = config.database.url.get_secret_value().partition(":///")
    if scheme != "sqlite" or not separator:
        return None
    path = Path(file)
    return None if path.exists() else path
