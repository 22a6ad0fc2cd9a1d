"""The numbers of a case change while a call with one of them is being decided about, where others may write."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from sqlalchemy import select, text, update

from cdrhub.store.redial_tables import case_numbers, cases

FIRST, OTHER = "+2348039100001", "+2348039100009"

_WAITING = {
    "postgresql": "SELECT count(*) FROM pg_locks WHERE NOT granted",
    "mariadb": "SELECT count(*) FROM information_schema.innodb_trx WHERE trx_state = 'LOCK WAIT'",
}


async def waiting(bench: Any, query: str) -> bool:
    """Whether a transaction waits for a lock."""
    async with bench.store.database.connect() as connection:
        return bool(await connection.scalar(text(query)))


@pytest.mark.parametrize("direction", ["outbound", "inbound"])
async def test_a_call_concerns_who_has_its_number_when_the_case_is_locked(bench: Any, direction: str) -> None:
    dialect = bench.store.database.url.get_backend_name()
    if dialect == "sqlite":
        pytest.skip("SQLite has one writer")
    case_id = await bench.case("C-1", FIRST, round=0)
    said = {} if direction == "outbound" else {"direction": "inbound", "disposition": "answered", "caller_e164": FIRST}
    await bench.call("k1", **said)
    async with bench.store.database.connect(writing=True) as connection:
        await connection.execute(select(cases.c.id).where(cases.c.id == case_id).with_for_update())
        new = update(case_numbers).where(case_numbers.c.case_id == case_id)
        await connection.execute(new.values(number=OTHER, match_key=OTHER, e164=OTHER))
        deciding = asyncio.create_task(bench.decide())
        async with asyncio.timeout(15):
            while not await waiting(bench, _WAITING[dialect]):  # noqa: ASYNC110 - it happens in a database
                await asyncio.sleep(0.2)  # MariaDB tells what it told a moment ago to whom asks more often
    await deciding
    assert (await bench.of_case(case_id))["state"] == "open"
    assert await bench.decisions() == []
    assert await bench.told() == ["call.ended"]
