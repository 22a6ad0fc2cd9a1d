"""The database for one command: opened, checked, used step by step, closed again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from cdrhub.cli.reading import Reader
    from cdrhub.config import Config
    from cdrhub.store import Store

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True, slots=True)
class Opened:
    """An open store, what reads its records, and the event loop in which both work."""

    store: Store
    reader: Reader
    runner: asyncio.Runner

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """What `work` returns."""
        return self.runner.run(work)

    def each(self, items: AsyncIterator[T]) -> Iterator[T]:
        """The items of an asynchronous iterator, one by one, so that a long list is never held whole."""
        missing: Any = object()
        while (item := self.runner.run(_next(items, missing))) is not missing:
            yield item


async def _next(items: AsyncIterator[T], missing: T) -> T:
    return await anext(items, missing)


@contextmanager
def opened(config: Config) -> Iterator[Opened]:
    """The store of `config` while the context is open.

    An empty database gets its schema; another version's is refused (SchemaOutdated). Raises StoreUnavailable.
    """
    from cdrhub.cli.reading import Reader  # noqa: PLC0415 - SQLAlchemy is not for --help
    from cdrhub.store import Store  # noqa: PLC0415

    reader = Reader(config)
    with asyncio.Runner() as runner:
        store = Store.open(config.database.url.get_secret_value(), connections=1, redecode=reader.decode)
        try:
            runner.run(store.prepare())
            reader.learn(runner.run(store.revisions()))
            yield Opened(store=store, reader=reader, runner=runner)
        finally:
            runner.run(store.close())
