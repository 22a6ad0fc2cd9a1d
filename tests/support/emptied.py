"""A database that many tests use, one after the other."""

from __future__ import annotations

from cdrhub.store import Store
from cdrhub.store.tables import METADATA

_DELETIONS = [f"DELETE FROM {name}" for name in METADATA.tables]
_IN_ONE = "; ".join(_DELETIONS)
_STATEMENTS = {
    "sqlite": _DELETIONS,
    "postgresql": [f"DO $$ BEGIN {_IN_ONE}; END $$"],
    "mariadb": [f"BEGIN NOT ATOMIC {_IN_ONE}; END"],
}


async def emptied(store: Store) -> Store:
    """`store`, without rows."""
    async with store.database.connect(writing=True) as connection:
        for statement in _STATEMENTS[store.database.kind]:
            await connection.exec_driver_sql(statement)
    return store
