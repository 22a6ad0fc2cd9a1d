"""Redial in the real daemon, killed at any moment: no number is dialled twice, and no case is left hanging unseen.

The dialler is a scripted service behind the dialler `webhook`. It dials what it is asked to, also where its answer is
lost, and sends the record of each call to the daemon until it is acknowledged, as the vendor does.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import signal
import time
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from sqlalchemy import select

from cdrhub.model.numbers import NumberPlan
from cdrhub.redial.given import GivenCase, GivenNumber
from cdrhub.redial.model import CaseState
from cdrhub.redial.order_errors import OrderError
from cdrhub.redial.orders import Orders
from cdrhub.redial.policy import Mode
from cdrhub.redial.settings import Settings
from cdrhub.store import Store
from cdrhub.store.redial_tables import attempts, cases
from cdrhub.store.store import utc_now
from cdrhub.store.tables import calls, outbox
from support.daemon import Daemon

PATH = "/ingest/voicenter/0123456789abcdef-secret"
SECRET = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="
NUMBERS = 3
RINGS = 0.2  #: seconds until a call is over
DEADLINE = 15  #: seconds until an order without a record is given up
MAX_LIVE = 4  #: orders that one kill can keep from leaving
SECONDS_PER_CASE = 5.0  #: for everything to be over, on a machine that has other things to do

REDIAL = f"""
[redial]
mode = "on"
attempt_timeout_seconds = {DEADLINE}

[redial.diallers.crm]
type = "webhook"
url = "http://127.0.0.1:{{port}}/dial"
secret = "{SECRET}"
allow_private = true
max_live = {MAX_LIVE}
max_per_second = 500

[sources.vendor]
type = "voicenter"
path = "{PATH}"
region = "NG"
dialler = "crm"
"""


@dataclass(slots=True)
class Exchange:
    """A service that dials. `during` is called with the count of orders before each is answered."""

    chance: random.Random
    dialled: Counter[str] = field(default_factory=Counter)  #: attempt ids
    numbers: Counter[tuple[str, str]] = field(default_factory=Counter)  #: (case, number)
    unsent: int = 0
    port: int = 0
    hub: str = ""
    over: asyncio.Event = field(default_factory=asyncio.Event)
    during: Callable[[int], Awaitable[None]] | None = None
    _records: set[asyncio.Task[None]] = field(default_factory=set)

    async def dial(self, request: web.Request) -> web.StreamResponse:
        """Take an order: dial, and answer; or lose the answer."""
        order = (await request.json())["data"]
        self.dialled[request.headers["webhook-id"]] += 1
        self.numbers[order["case_code"], order["number"]] += 1
        task = asyncio.create_task(self._record(order))
        self._records.add(task)
        task.add_done_callback(self._records.discard)
        if self.during is not None:
            await self.during(self.dialled.total())
        if self.chance.random() < 0.1 and request.transport is not None:
            request.transport.abort()
        return web.json_response({"vendor_ref": f"job-{self.dialled.total()}"})

    async def _record(self, order: dict[str, str]) -> None:
        """The call rings in vain, and its record is sent until it is acknowledged."""
        await asyncio.sleep(RINGS * self.chance.random())
        record = {
            "ivruniqueid": f"call-{order['attempt_id']}",
            "type": "Click2Call leg2",
            "status": "NOANSWER",
            "caller": "0722776772",
            "target": order["number"],
            "time": int(time.time()) - 1,
            "duration": 0,
            "dialtime": 1,
            "CustomData": {"var_cdrhub_attempt": order["attempt_id"]},
        }
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5)) as session:
            while not self.over.is_set():
                with contextlib.suppress(aiohttp.ClientError, TimeoutError):
                    async with session.post(f"{self.hub}{PATH}", json=record) as answer:
                        if answer.status == 200 and (await answer.json())["err"] == 0:
                            return
                await asyncio.sleep(0.05)


@asynccontextmanager
async def exchange(seed: int) -> AsyncGenerator[Exchange]:
    """An exchange that listens."""
    switch = Exchange(chance=random.Random(seed))
    app = web.Application()
    app.router.add_post("/dial", switch.dial)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    switch.port = runner.addresses[0][1]
    try:
        yield switch
    finally:
        switch.over.set()
        await runner.cleanup()


def orders_of(store: Store) -> Orders:
    """What people order, beside the daemon."""
    return Orders(
        database=store.database,
        settings=Settings(mode=Mode.ON),
        clock=utc_now,
        healthy=lambda _source: True,
        dialler=lambda _source: "crm",
        plan=lambda _source: NumberPlan(region="NG"),
    )


async def ordered(store: Store, *, how_many: int) -> None:
    """Cases of three numbers and of an agent each, all of them ordered to be dialled."""
    orders = orders_of(store)
    given = [
        GivenCase(
            code=f"C-{place}",
            source="vendor",
            agent=f"{1000 + place}",
            numbers=[GivenNumber(number=f"0803{place:05}{last:02}") for last in range(NUMBERS)],
        )
        for place in range(how_many)
    ]
    assert await orders.keep(given) == (how_many, 0)
    for case in given:
        await orders.dial(tenant="", code=case.code)


async def states(store: Store) -> Counter[tuple[str, str]]:
    """How many cases are in each (state, reason)."""
    async with store.database.connect() as connection:
        rows = await connection.execute(select(cases.c.state, cases.c.state_reason))
        return Counter((state, reason) for state, reason in rows)


async def over(store: Store, *, how_many: int) -> None:
    """Wait until none of the cases goes on by itself."""
    going = {CaseState.OPEN, CaseState.DIALLING, CaseState.WAITING}
    async with asyncio.timeout(20 + SECONDS_PER_CASE * how_many):
        while any(state in going for state, _ in await states(store)):  # noqa: ASYNC110 - another process works
            await asyncio.sleep(0.2)


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
