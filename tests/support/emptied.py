"""A database that many tests use, one after the other."""

from __future__ import annotations

from sqlalchemy import delete

from cdrhub.store import Store
from cdrhub.store.tables import METADATA

_STATEMENTS = [delete(table) for table in METADATA.tables.values()]


async def emptied(store: Store) -> Store:
    """`store`, without rows."""
    async with store.database.connect(writing=True) as connection:
        for statement in _STATEMENTS:
            await connection.execute(statement)
    return store
