"""The HTTP client of a simulated system that pushes: several requests at once, and what became of each."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

import aiohttp

from cdrhub.sources.simulation.dialled import Handler, Ordered, Ordering, also_taking_orders
from cdrhub.sources.simulation.ledger import Sent
from cdrhub.sources.simulation.simulation import Due, Render, Simulation

CONNECTIONS: Final = 8

HINTS: Final[Mapping[int, str]] = MappingProxyType(
    {
        401: ": the path needs no token; is the URL that of the source?",
        403: ": this address is not in the source's `allow`",
        404: ": no source has this path; is the secret right?",
        405: ": there is no source at this path",
    }
)
"""What a person may look at, by the status of an answer that every pushed source gives for the same reason."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Push:
    """One HTTP request of a system."""

    body: bytes
    content_type: str
    repeated: bool = False  #: the same bytes were pushed before
    silent: bool = False  #: says nothing of a call
    broken: bool = False  #: nobody can read it


@asynccontextmanager
async def pushing(
    url: str,
    *,
    sent: Sent,
    acknowledges: Callable[[int, bytes], bool],
    answer_seconds: float,
    hints: Mapping[int, str],
    sends: int = 1,
    resend_seconds: float = 0.0,
    trouble: Callable[[str], None],
) -> AsyncIterator[Callable[[Push], Awaitable[None]]]:
    """A function that pushes to `url` and counts in `sent`; it waits where CONNECTIONS pushes wait already. Leaving the
    block waits until every push was answered or given up; cancelling drops what is under way.

    `acknowledges` tells from its status and body whether an answer does. What it does not is sent again, `sends` times
    in all, the n-th time n × `resend_seconds` later. An answer is waited for `answer_seconds`. `hints` say after the
    status of an error what may be wrong; `trouble` is told each time.
    """
    sent.acknowledged = sent.acknowledged or 0
    queue: asyncio.Queue[Push] = asyncio.Queue(maxsize=CONNECTIONS)

    async def push(what: Push) -> None:
        await queue.put(what)
        sent.records += 1
        sent.repeated += what.repeated
        sent.broken += what.broken
        sent.silent += what.silent

    async def work(client: aiohttp.ClientSession) -> None:
        while True:
            what = await queue.get()
            try:
                await deliver(what, client)
            finally:
                queue.task_done()

    async def deliver(what: Push, client: aiohttp.ClientSession) -> None:
        for attempt in range(sends):
            if attempt:
                sent.resent += 1
                await asyncio.sleep(resend_seconds * attempt)
            why = await posted(what, client=client, url=url, acknowledges=acknowledges, hints=hints)
            if why is None:
                sent.acknowledged = (sent.acknowledged or 0) + 1
                return
            sent.last_error = why
            trouble(why)
        sent.given_up += 1

    connector = aiohttp.TCPConnector(limit=CONNECTIONS)
    timeout = aiohttp.ClientTimeout(total=answer_seconds)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout) as client, asyncio.TaskGroup() as tasks:
        workers = [tasks.create_task(work(client)) for _ in range(CONNECTIONS)]
        yield push
        await queue.join()
        for worker in workers:
            worker.cancel()


async def push_calls(
    simulation: Simulation,
    push: Callable[[Push], Awaitable[None]],
    *,
    render: Render[Push],
    ordering: Ordering | None,
    path: str,
    handler: Callable[[Ordered[Push]], Handler],
) -> None:
    """Push what the calls of the simulated centre make, until it is over. With `ordering` orders are taken on `path` as
    long as the centre works, and the calls that are ordered are pushed as well."""

    async def send(due: Due[Push]) -> None:
        await push(due.what)
        simulation.settle(due)

    async with also_taking_orders(simulation, ordering, path=path, handler=handler, render=render, send=send):
        async for due in simulation.play(render):
            await send(due)


async def posted(
    what: Push,
    *,
    client: aiohttp.ClientSession,
    url: str,
    acknowledges: Callable[[int, bytes], bool],
    hints: Mapping[int, str],
) -> str | None:
    """Push once: None if it was acknowledged, else why not."""
    try:
        async with client.post(url, data=what.body, headers={"Content-Type": what.content_type}) as answer:
            if acknowledges(answer.status, await answer.read()):
                return None
            return f"HTTP {answer.status}{hints.get(answer.status, '')}"
    except aiohttp.ClientSSLError as error:
        return f"{error}: SSL_CERT_FILE can name the certificate to trust"
    except aiohttp.ClientConnectorError as error:
        refused = isinstance(error.os_error, ConnectionRefusedError)
        why = "connection refused" if refused else error.os_error.strerror or error
        return f"{why}: does the hub run, and listen there?"
    except TimeoutError:
        return f"no answer in {client.timeout.total:g} s"
    except aiohttp.ClientError as error:
        return str(error) or type(error).__name__
