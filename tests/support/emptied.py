"""A database that many tests use, one after the other."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from cdrhub.store import Store
from cdrhub.store.batch import Redecode
from cdrhub.store.engine import CONNECTIONS, STATEMENT_SECONDS, Database, open_database
from cdrhub.store.folding import REMEMBERED_UPDATES
from cdrhub.store.store import utc_now
from cdrhub.store.tables import METADATA

_DATABASES: dict[tuple[str, int], Database] = {}
"""By URL and connections. To compile the statements is a third of what a short test does, and each database keeps what
they compile to, and its connections."""

_DELETIONS = [f"DELETE FROM {name}" for name in METADATA.tables]
_IN_ONE = "; ".join(_DELETIONS)
_STATEMENTS = {
    "sqlite": _DELETIONS,
    "postgresql": [f"DO $$ BEGIN {_IN_ONE}; END $$"],
    "mariadb": [f"BEGIN NOT ATOMIC {_IN_ONE}; END"],
}


async def emptied(
    url: str,
    *,
    redecode: Redecode | None = None,
    connections: int = CONNECTIONS,
    clock: Callable[[], datetime] = utc_now,
) -> Store:
    """The store at `url` without rows. It need not be closed; whoever used it before does so no more."""
    key = url, connections
    if key not in _DATABASES:
        _DATABASES[key] = open_database(url, connections=connections, seconds=STATEMENT_SECONDS)
    database = _DATABASES[key]
    async with database.connect(writing=True) as connection:
        for statement in _STATEMENTS[database.kind]:
            await connection.exec_driver_sql(statement)
    return Store(database, redecode=redecode, clock=clock, remembered=REMEMBERED_UPDATES)
