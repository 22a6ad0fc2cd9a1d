"""The HTTP client of a simulated Voicenter account: it sends again what was not acknowledged."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import aiohttp

from cdrhub.sources.simulation.dialled import Ordering, also_taking_orders
from cdrhub.sources.simulation.ledger import Sent
from cdrhub.sources.simulation.simulation import Due, Simulation
from cdrhub.sources.voicenter.simulate.account import Account, Push
from cdrhub.sources.voicenter.simulate.clicks import PATH, Click2Call

SENDS: Final = 5  #: attempts at one push
RESEND_SECONDS: Final = 1.0
ANSWER_SECONDS: Final = 5.0  #: that the account waits for an answer
CONNECTIONS: Final = 8

_HINTS: Final = {
    401: ": the path needs no token; is the URL that of the source?",
    403: ": this address is not in the source's `allow`",
    404: ": no source has this path; is the secret right?",
    405: ": there is no source at this path",
    413: ": the push is longer than `max_body`",
    503: ": the hub cannot keep records at the moment; its log says why",
}


async def simulate(
    simulation: Simulation,
    account: Account,
    *,
    url: str,
    connections: int = CONNECTIONS,
    resend_seconds: float = RESEND_SECONDS,
    ordering: Ordering | None = None,
) -> None:
    """Push what the simulated centre makes to `url`, until it is over and every push was answered or given up.

    With `ordering` Click2Call is there as long as the centre works, and calls that are ordered are pushed as well.

    A push counts as acknowledged once it is answered, also with "not understood": then the receiver keeps it. The
    entry of a call goes into the ledger whether its pushes were acknowledged or not.
    """
    sent = simulation.sent
    sent.acknowledged = sent.acknowledged or 0
    queue: asyncio.Queue[Push] = asyncio.Queue(maxsize=connections)
    async with _client(connections) as client, asyncio.TaskGroup() as tasks:
        workers = [
            tasks.create_task(_work(queue, client=client, url=url, sent=sent, resend_seconds=resend_seconds))
            for _ in range(connections)
        ]

        async def push(due: Due[Push]) -> None:
            await queue.put(due.what)
            _count(sent, due)
            simulation.settle(due)

        async with also_taking_orders(
            simulation,
            ordering,
            path=PATH,
            handler=lambda ordered: Click2Call(ordered).handle,
            render=account.render,
            send=push,
        ):
            async for due in simulation.play(account.render):
                await push(due)
        await queue.join()
        for worker in workers:
            worker.cancel()


def _count(sent: Sent, due: Due[Push]) -> None:
    sent.records += 1
    sent.repeated += due.what.repeated
    sent.broken += due.what.broken


@asynccontextmanager
async def _client(connections: int) -> AsyncIterator[aiohttp.ClientSession]:
    connector = aiohttp.TCPConnector(limit=connections)
    timeout = aiohttp.ClientTimeout(total=ANSWER_SECONDS)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout) as client:
        yield client


async def _work(
    queue: asyncio.Queue[Push], *, client: aiohttp.ClientSession, url: str, sent: Sent, resend_seconds: float
) -> None:
    while True:
        push = await queue.get()
        try:
            await _deliver(push, client=client, url=url, sent=sent, resend_seconds=resend_seconds)
        finally:
            queue.task_done()


async def _deliver(push: Push, *, client: aiohttp.ClientSession, url: str, sent: Sent, resend_seconds: float) -> None:
    for attempt in range(SENDS):
        if attempt:
            sent.resent += 1
            await asyncio.sleep(resend_seconds * attempt)
        try:
            async with client.post(url, data=push.body, headers={"Content-Type": push.content_type}) as answer:
                await answer.read()
                if answer.status == 200:
                    sent.acknowledged = (sent.acknowledged or 0) + 1
                    return
                sent.last_error = f"HTTP {answer.status}{_HINTS.get(answer.status, '')}"
        except aiohttp.ClientConnectorError as error:
            sent.last_error = f"{error.os_error.strerror or error}: does the hub run, and listen there?"
        except TimeoutError:
            sent.last_error = f"no answer in {ANSWER_SECONDS:g} s"
        except aiohttp.ClientError as error:
            sent.last_error = str(error) or type(error).__name__
    sent.given_up += 1
