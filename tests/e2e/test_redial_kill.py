"""Redial in the real daemon, killed at any moment: no number is dialled twice, and no case is left hanging unseen.

The dialler is a scripted service behind the dialler `webhook`. It dials what it is asked to, also where its answer is
lost, and sends the record of each call to the daemon until it is acknowledged, as the vendor does.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
from collections import Counter
from pathlib import Path

import pytest
from sqlalchemy import select

from cdrhub.redial.order_errors import OrderError
from cdrhub.store import Store
from cdrhub.store.redial_tables import attempts
from cdrhub.store.tables import calls, outbox
from support.daemon import Daemon
from support.exchange import MAX_LIVE, NUMBERS, REDIAL, exchange, ordered, orders_of, over, states


async def worked_through(tmp_path: Path, url: str, *, how_many: int, kills: int, seed: int) -> None:
    store = Store.open(url)
    await store.prepare()
    await ordered(store, how_many=how_many)
    async with exchange(seed) as switch:
        daemon = Daemon(tmp_path / "daemon", database=url, sources=REDIAL.format(port=switch.port))
        switch.hub = f"http://127.0.0.1:{daemon.http_port}"
        left = sorted(switch.chance.sample(range(2, how_many * NUMBERS // 2), kills), reverse=True)
        again = asyncio.Event()

        async def during(orders: int) -> None:
            """Kill the daemon while it waits for the answer to this order, or in the moment after it."""
            if left and orders >= left[-1]:
                left.pop()
                if switch.chance.random() < 0.5:
                    daemon.kill()
                    again.set()
                else:
                    asyncio.get_running_loop().call_later(switch.chance.uniform(0, 0.05), again.set)

        switch.during = during

        async def revive() -> None:
            while True:
                await again.wait()
                again.clear()
                daemon.kill()
                await asyncio.to_thread(daemon.start)

        await asyncio.to_thread(daemon.start)
        reviving = asyncio.create_task(revive())
        try:
            await over(store, how_many=how_many)
            assert await asyncio.to_thread(daemon.stop) == 0
        finally:
            reviving.cancel()
            await asyncio.gather(reviving, return_exceptions=True)
            daemon.kill()
    try:
        assert not left
        assert {attempt: times for attempt, times in switch.dialled.items() if times > 1} == {}
        assert {number: times for number, times in switch.numbers.items() if times > 1} == {}
        found = await states(store)
        assert found.keys() <= {("exhausted", ""), ("paused", "attempt_unknown")}
        # What was asked for has its record; only an order that never left can be unknown.
        async with store.database.connect() as connection:
            unknown = set((await connection.scalars(select(attempts.c.id).where(attempts.c.state == "unknown"))).all())
            told = (await connection.execute(select(outbox.c.call_id, outbox.c.type))).all()
            linked = (await connection.execute(select(calls.c.attempt_id, calls.c.external_number))).all()
        assert unknown.isdisjoint(switch.dialled)
        assert found["exhausted", ""] >= how_many - kills * MAX_LIVE
        assert {attempt for attempt, _ in linked} == set(switch.dialled)
        ends = Counter(call for call, kind in told if kind in ("call.hangup", "call.ended"))
        assert set(ends.values()) == {1}
        assert len(ends) == len(linked)
    finally:
        await store.close()


async def test_every_case_is_worked_through(sqlite_url: str, tmp_path: Path) -> None:
    await worked_through(tmp_path, sqlite_url, how_many=10, kills=0, seed=1)


async def test_a_reload_turns_redial_on(sqlite_url: str, tmp_path: Path) -> None:
    store = Store.open(sqlite_url)
    await store.prepare()
    await ordered(store, how_many=2)
    async with exchange(1) as switch:
        sources = REDIAL.format(port=switch.port)
        daemon = Daemon(tmp_path / "daemon", database=sqlite_url, sources=sources.replace('"on"', '"observe"'))
        switch.hub = f"http://127.0.0.1:{daemon.http_port}"
        await asyncio.to_thread(daemon.start)
        try:
            observed = Counter({("paused", "observed"): 2})
            async with asyncio.timeout(60):
                while await states(store) != observed:  # noqa: ASYNC110 - the daemon works beside
                    await asyncio.sleep(0.1)
            assert not switch.dialled
            daemon.config.write_text(daemon.config.read_text().replace('"observe"', '"on"'))
            daemon.signal(signal.SIGHUP)
            async with asyncio.timeout(60):
                # What is resumed before the reload is done is paused again.
                while not switch.dialled or ("paused", "observed") in await states(store):
                    for place in range(2):
                        with contextlib.suppress(OrderError):
                            await orders_of(store).resume(tenant="", code=f"C-{place}")
                    await asyncio.sleep(0.5)
            await over(store, how_many=2)
            said = [json.loads(line) for line in daemon.log.read_text().splitlines() if '"redial_mode"' in line]
            assert [one["mode"] for one in said] == ["on"]
            assert await asyncio.to_thread(daemon.stop) == 0
        finally:
            daemon.kill()
    assert await states(store) == {("exhausted", ""): 2}
    assert set(switch.numbers.values()) == {1}
    await store.close()


@pytest.mark.parametrize("engine", ["sqlite", "postgres"])
async def test_killed_between_decision_request_and_reply(
    request: pytest.FixtureRequest, tmp_path: Path, engine: str
) -> None:
    await worked_through(tmp_path, request.getfixturevalue(f"{engine}_url"), how_many=24, kills=4, seed=4)


@pytest.mark.soak
@pytest.mark.parametrize("engine", ["sqlite", "postgres", "mariadb"])
async def test_killed_thirty_times(request: pytest.FixtureRequest, tmp_path: Path, engine: str) -> None:
    await worked_through(tmp_path, request.getfixturevalue(f"{engine}_url"), how_many=200, kills=30, seed=30)
