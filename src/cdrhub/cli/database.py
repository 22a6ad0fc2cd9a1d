"""The database for one command: opened, checked, closed again."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from cdrhub.config import Config
    from cdrhub.decoders import Decoders
    from cdrhub.store import Store

T = TypeVar("T")


def with_store(config: Config, work: Callable[[Store, Decoders], Awaitable[T]]) -> T:
    """What `work` returns, given the store of `config` and decoders of every revision that the database knows.

    An empty database gets its schema; another version's is refused (SchemaOutdated). Raises StoreUnavailable.
    """
    return asyncio.run(_with_store(config, work))


async def _with_store(config: Config, work: Callable[[Store, Decoders], Awaitable[T]]) -> T:
    from cdrhub.decoders import Decoders  # noqa: PLC0415 - SQLAlchemy is not for --help
    from cdrhub.store import Store  # noqa: PLC0415

    decoders = Decoders()
    store = Store.open(config.database.url.get_secret_value(), connections=1, redecode=decoders.decode)
    try:
        await store.prepare()
        await learn_all(decoders, store)
        return await work(store, decoders)
    finally:
        await store.close()


async def learn_all(decoders: Decoders, store: Store) -> None:
    """Let `decoders` know every revision that the database knows: old records are decoded with their own settings."""
    from cdrhub.decoders import Revision  # noqa: PLC0415

    for revision, (source, system, settings) in (await store.revisions()).items():
        decoders.learn(Revision(revision=revision, source=source, system=system, settings=settings))
