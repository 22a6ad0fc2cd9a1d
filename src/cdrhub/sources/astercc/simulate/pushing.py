"""The HTTP client of a simulated asterCC: every event is pushed once, and what comes of it is counted."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import aiohttp

from cdrhub.sources.astercc.simulate.events import Push, Team
from cdrhub.sources.astercc.simulate.makecall import PATH, MakeCall
from cdrhub.sources.simulation.dialled import Ordering, also_taking_orders
from cdrhub.sources.simulation.ledger import Sent
from cdrhub.sources.simulation.simulation import Due, Simulation

ANSWER_SECONDS: Final = 5.0  #: that asterCC waits for an answer
CONNECTIONS: Final = 8
CONTENT_TYPE: Final = "application/x-www-form-urlencoded"

_HINTS: Final = {
    401: ": the path needs no token; is the URL that of the source?",
    403: ": this address is not in the source's `allow`",
    404: ": no source has this path; is the secret right?",
    405: ": there is no source at this path",
    503: ": the hub cannot keep events at the moment; its log says why",
}


async def simulate(
    simulation: Simulation,
    *,
    url: str,
    timezone: str = "UTC",
    broken: float = 0.0,
    connections: int = CONNECTIONS,
    ordering: Ordering | None = None,
) -> None:
    """Push what the simulated centre makes to `url`, until it is over.

    With `ordering` MAKECALL is there as long as the centre works, and calls that are ordered are pushed as well. A
    call's entry goes into the ledger when its last event leaves, acknowledged or not: what the hub did not take is
    missing there. `timezone` and `broken` are those of `Team`. Cancelling drops what is under way.
    """
    sent = simulation.sent
    sent.acknowledged = sent.acknowledged or 0
    team = Team(simulation.centre, timezone=timezone, broken=broken)
    queue: asyncio.Queue[Push] = asyncio.Queue(maxsize=connections)
    async with _client(connections) as client, asyncio.TaskGroup() as tasks:
        workers = [tasks.create_task(_work(queue, client=client, url=url, sent=sent)) for _ in range(connections)]

        async def push(due: Due[Push]) -> None:
            await queue.put(due.what)
            sent.records += 1
            sent.repeated += due.what.repeated
            sent.broken += due.what.broken
            sent.silent += due.what.silent
            simulation.settle(due)

        async with also_taking_orders(
            simulation,
            ordering,
            path=PATH,
            handler=lambda ordered: MakeCall(ordered).handle,
            render=team.render,
            send=push,
        ):
            async for due in simulation.play(team.render):
                await push(due)
        await queue.join()
        for worker in workers:
            worker.cancel()


@asynccontextmanager
async def _client(connections: int) -> AsyncIterator[aiohttp.ClientSession]:
    connector = aiohttp.TCPConnector(limit=connections)
    timeout = aiohttp.ClientTimeout(total=ANSWER_SECONDS)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout) as client:
        yield client


async def _work(queue: asyncio.Queue[Push], *, client: aiohttp.ClientSession, url: str, sent: Sent) -> None:
    while True:
        push = await queue.get()
        try:
            why = await _post(push.body, client=client, url=url)
            if why is None:
                sent.acknowledged = (sent.acknowledged or 0) + 1
            else:
                sent.given_up += 1
                sent.last_error = why
        finally:
            queue.task_done()


async def _post(body: bytes, *, client: aiohttp.ClientSession, url: str) -> str | None:
    """None if it was acknowledged, else why not."""
    try:
        async with client.post(url, data=body, headers={"Content-Type": CONTENT_TYPE}) as answer:
            if (answer.status, await answer.read()) == (200, b"OK"):
                return None
            return f"HTTP {answer.status}{_HINTS.get(answer.status, '')}"
    except aiohttp.ClientConnectorError as error:
        return f"{error.os_error.strerror or error}: does the hub run, and listen there?"
    except TimeoutError:
        return f"no answer in {ANSWER_SECONDS:g} s"
    except aiohttp.ClientError as error:
        return str(error) or type(error).__name__
