"""Posts the CDR documents of a simulated switch, as mod_json_cdr does: again and again until it is answered 2xx."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from itertools import count
from typing import Final
from urllib.parse import quote

import aiohttp
import orjson

from cdrhub.sources.simulation.pushing import HINTS, Push, posted
from cdrhub.sources.simulation.simulation import Simulation

RETRY_SECONDS: Final = 1.0  #: `delay` of json_cdr.conf
RETRIES: Final = 5  #: `retries` of json_cdr.conf, once the simulation is to finish; until then there is no end of them
ANSWER_SECONDS: Final = 30.0
CONCURRENT: Final = 8  #: ended channels of a real switch post at once, each in its own thread


class Posting:
    """Posts to one URL in the background; `trouble` is told each time why a document was not taken. A context manager;
    leaving it gives up what was not posted."""

    def __init__(self, url: str, simulation: Simulation, *, trouble: Callable[[str], None]) -> None:
        self._url = f"{url}{'&' if '?' in url else '?'}uuid="
        self._sent = simulation.sent
        self._pace = simulation.pace
        self._trouble = trouble
        self._queue: asyncio.Queue[bytes] = asyncio.Queue()
        self._left = 0  #: documents that were neither taken nor given up
        self._session: aiohttp.ClientSession | None = None
        self._tasks: list[asyncio.Task[None]] = []

    def post(self, document: bytes) -> None:
        """Queue a document."""
        self._sent.records += 1
        self._left += 1
        self._queue.put_nowait(document)

    async def posted(self) -> None:
        """Wait until all documents were taken, or given up."""
        await self._queue.join()

    async def __aenter__(self) -> Posting:
        self._sent.acknowledged = self._sent.acknowledged or 0
        self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=ANSWER_SECONDS))
        self._tasks = [asyncio.create_task(self._work(self._session)) for _ in range(CONCURRENT)]
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._sent.given_up += self._left
        if self._session is not None:
            await self._session.close()

    async def _work(self, session: aiohttp.ClientSession) -> None:
        while True:
            document = await self._queue.get()
            if await self._taken(session, document):
                self._sent.acknowledged = (self._sent.acknowledged or 0) + 1
            else:
                self._sent.given_up += 1
            self._left -= 1
            self._queue.task_done()

    async def _taken(self, session: aiohttp.ClientSession, document: bytes) -> bool:
        url = self._url + quote(orjson.loads(document)["variables"]["uuid"], safe="")
        what = Push(body=document, content_type="application/json")
        for attempt in count(1):
            why = await posted(what, client=session, url=url, acknowledges=_acknowledges, hints=HINTS)
            if why is None:
                return True
            self._sent.last_error = why
            self._trouble(why)
            if self._pace.finishing and attempt > RETRIES:
                break
            await self._pace.rest(RETRY_SECONDS)
        return False


def _acknowledges(status: int, _body: bytes) -> bool:
    return 200 <= status < 300
