"""Transactions that wait for each other, where several may write."""

from __future__ import annotations

import asyncio

from sqlalchemy import text

from cdrhub.store.engine import Database
from support.intake import WAIT_SECONDS

POLL_SECONDS = 0.2  #: MariaDB tells what it told a moment ago to whom asks more often
_WAITING = {
    "postgresql": text("SELECT count(*) FROM pg_locks WHERE NOT granted"),
    "mariadb": text("SELECT count(*) FROM information_schema.innodb_trx WHERE trx_state = 'LOCK WAIT'"),
}


async def waits_for_a_lock(task: asyncio.Task[None], database: Database) -> None:
    """Return when a transaction of `task`, the only one beside the test's own, waits for a lock."""
    async with asyncio.timeout(WAIT_SECONDS), database.connect() as connection:
        while not await connection.scalar(_WAITING[database.kind]):
            assert not task.done(), "it waited for nobody"
            await asyncio.sleep(POLL_SECONDS)
