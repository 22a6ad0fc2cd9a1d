"""What a database lost below a running hub, by the records that were the newest before each new connection."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from sqlalchemy import delete

from cdrhub.hub.landmark import Landmark
from cdrhub.hub.losses import Losses
from cdrhub.journal import Journal
from cdrhub.model.inference import Coverage
from cdrhub.store import Store
from cdrhub.store.tables import records
from support import ledger


@pytest.mark.parametrize("lost", [{1}, {2}, {3}, {1, 2}])
async def test_each_new_connection_may_lead_to_a_server_that_lacks_the_newest(
    tmp_path: Path, sqlite_url: str, lost: set[int]
) -> None:
    journal, store = await Journal.open(tmp_path / "data"), Store.open(sqlite_url, redecode=ledger.decode)
    await store.prepare()
    told: list[Coverage] = []

    async def conclude(coverage: Coverage) -> None:
        told.append(coverage)

    losses = Losses(journal=journal, store=store, hub="haifa", conclude=conclude)
    items = [ledger.item(ledger.ended(f"k{n}", n), received=100.0 + n) for n in range(5)]
    for number, one in enumerate(items):
        await store.write([one])
        losses.wrote(Landmark.of(one.record))
        if number == max(lost):
            async with store.database.connect(writing=True) as connection:
                gone = [items[place].record.digest for place in lost]
                await connection.execute(delete(records).where(records.c.digest.in_(gone)))
        await store.close()  # the next batch has a connection of its own
    await losses.look()
    await losses.look()
    ((since, detail),) = [(coverage.since, coverage.detail) for coverage in told]
    assert since == items[min(lost) - 1].record.received_at
    assert "the database lacks" in detail
    await store.close()
    await journal.close()


async def never(coverage: Coverage) -> None:
    raise AssertionError(coverage)


async def test_what_is_written_while_its_predecessor_is_noted_is_noted_as_well(tmp_path: Path, sqlite_url: str) -> None:
    journal, store = await Journal.open(tmp_path / "data"), Store.open(sqlite_url)
    losses = Losses(journal=journal, store=store, hub="haifa", conclude=never)
    first, second = (Landmark.of(ledger.item(ledger.ended("k", n), received=100.0 + n).record) for n in range(2))
    losses.wrote(first)
    noting = asyncio.create_task(losses.note())
    await asyncio.sleep(0)  # it waits for the disk
    losses.wrote(second)
    await noting
    assert Landmark.noted(journal) == first
    await losses.note()
    assert Landmark.noted(journal) == second
    await store.close()
    await journal.close()
