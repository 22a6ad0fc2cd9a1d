"""A hub that dials, for tests against simulated phone systems: cases in, attempts and calls out."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Table, select

from cdrhub.hub.hub import Hub
from cdrhub.redial.given import GivenCase, GivenNumber
from cdrhub.store.redial_tables import cases
from support.hubs import configured
from support.intake import until

WAIT_SECONDS = 60.0
SOURCE = "callcentre"
FIRST, SECOND = "+33612345678", "+33612345679"  #: the numbers of the case; the first is given as people write it


@asynccontextmanager
async def hub_that_dials(folder: Path, tables: str) -> AsyncIterator[Hub]:
    """A hub on SQLite with redial on; `tables` are those of the source SOURCE and of its dialler."""
    hub = await Hub.start(configured(folder, f'[redial]\nmode = "on"\n{tables}'))
    try:
        yield hub
    finally:
        await hub.stop()


async def dial(hub: Hub, *, agent: str) -> None:
    """Have a case of two numbers dialled once the hub sees the phone system."""
    await until(lambda: hub.metrics.registry.get_sample_value("cdrhub_source_links", {"source": SOURCE}))
    numbers = [GivenNumber(number="06 12 34 56 78"), GivenNumber(number=SECOND)]
    await hub.orders().keep([GivenCase(code="C-1", source=SOURCE, agent=agent, numbers=numbers)])
    await hub.orders().dial(tenant="", code="C-1")
    hub.ordered()


async def rows(hub: Hub, table: Table) -> Sequence[Any]:
    """The rows of a table, by their id."""
    async with hub.store.database.connect() as connection:
        return (await connection.execute(select(table).order_by(table.c.id))).all()


async def until_state(hub: Hub, state: str) -> Any:
    """The case, once it is in this state."""
    async with asyncio.timeout(WAIT_SECONDS):
        while (case := (await rows(hub, cases))[0]).state != state:  # noqa: ASYNC110 - it happens in a database
            await asyncio.sleep(0.1)
    return case
