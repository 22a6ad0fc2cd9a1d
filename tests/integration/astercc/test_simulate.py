"""A simulated team pushes to the real daemon: every call of its ledger is in the database as the ledger says."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from math import inf
from pathlib import Path

from cdrhub.sources.astercc.simulate import simulate
from cdrhub.sources.simulation.centre import Centre
from cdrhub.sources.simulation.comparison import Found, compared, people_of
from cdrhub.sources.simulation.ledger import Ledger, read
from cdrhub.sources.simulation.pace import Pace
from cdrhub.sources.simulation.simulation import Simulation
from cdrhub.store import Store
from cdrhub.store.calls import legs_of, one
from support.astercc import PATH
from support.daemon import Daemon

START = datetime(2026, 3, 9, 8, tzinfo=UTC)


async def test_the_database_shows_what_the_ledger_says(tmp_path: Path, sqlite_url: str) -> None:
    daemon = Daemon(
        tmp_path / "daemon",
        database=sqlite_url,
        sources=f'[sources.shanghai]\ntype = "astercc"\npath = "{PATH}"\nregion = "CN"\ntimezone = "Asia/Shanghai"\n',
    )
    centre = Centre(seed=11, start=START, calls_per_hour=900, region="CN")
    ledger = tmp_path / "ledger"
    await asyncio.to_thread(daemon.start)
    try:
        with Ledger(ledger) as book:
            simulation = Simulation(centre=centre, pace=Pace(start=START, speed=inf), ledger=book, count=150)
            await simulate(
                simulation,
                url=f"http://127.0.0.1:{daemon.http_port}{PATH}",
                timezone="Asia/Shanghai",
                broken=0.05,
            )
        await asyncio.to_thread(daemon.drained)
        suspended = daemon.metric("cdrhub_records_stored_total", result="suspended")
        assert await asyncio.to_thread(daemon.stop) == 0
    finally:
        daemon.kill()

    sent = simulation.sent
    assert (sent.acknowledged, sent.given_up) == (sent.records, 0)
    assert suspended == sent.broken > 0
    entries = read(ledger)
    store = Store.open(sqlite_url)
    try:
        for (_, key), entry in entries.items():
            call = await one(store, key)
            found = Found(columns=call, people=people_of(await legs_of(store, call["id"])))
            assert compared(entry, found) == []
    finally:
        await store.close()
    assert len(entries) == 150
