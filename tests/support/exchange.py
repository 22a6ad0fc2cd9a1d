"""Cases of which nobody is reached, and an exchange that dials what the dialler `webhook` asks it to.

It dials also where its answer is lost, and sends the record of each call as Voicenter does, until it is acknowledged.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import aiohttp
from aiohttp import web
from sqlalchemy import select

from cdrhub.redial.given import GivenCase, GivenNumber
from cdrhub.redial.model import CaseState
from cdrhub.redial.orders import Orders
from cdrhub.redial.policy import Mode
from cdrhub.redial.settings import Settings
from cdrhub.store import Store
from cdrhub.store.redial_tables import cases
from cdrhub.store.store import utc_now
from support.phone_systems import Systems

PATH = "/ingest/voicenter/0123456789abcdef-secret"
SECRET = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="
RINGS = 0.2  #: seconds until a call is over
NUMBERS = 3
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
        systems=Systems(),
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
    async with asyncio.timeout(120 + SECONDS_PER_CASE * how_many):
        while any(state in going for state, _ in await states(store)):  # noqa: ASYNC110 - another process works
            await asyncio.sleep(0.2)
