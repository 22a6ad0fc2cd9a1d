"""Posts the CDR documents of a simulated switch, as mod_json_cdr does: again and again until it is answered 2xx."""

from __future__ import annotations

import asyncio
from typing import Final

import aiohttp
import orjson

from cdrhub.sources.simulation.ledger import Sent

RETRY_SECONDS: Final = 1.0  #: `delay` of json_cdr.conf
ANSWER_SECONDS: Final = 30.0
CONCURRENT: Final = 8  #: ended channels of a real switch post at once, each in its own thread


class Posting:
    """Posts to one URL in the background. A context manager; leaving it gives up what was not posted."""

    def __init__(self, url: str, sent: Sent) -> None:
        self._url = url
        self._sent = sent
        self._queue: asyncio.Queue[bytes] = asyncio.Queue()
        self._session: aiohttp.ClientSession | None = None
        self._tasks: list[asyncio.Task[None]] = []

    def post(self, document: bytes) -> None:
        """Queue a document."""
        self._sent.records += 1
        self._queue.put_nowait(document)

    async def posted(self) -> None:
        """Wait until all documents were taken."""
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
        self._sent.given_up += self._queue.qsize()
        if self._session is not None:
            await self._session.close()

    async def _work(self, session: aiohttp.ClientSession) -> None:
        while True:
            document = await self._queue.get()
            uuid = orjson.loads(document)["variables"]["uuid"]
            while True:
                if await self._take(session, document, uuid=uuid):
                    break
                await asyncio.sleep(RETRY_SECONDS)
            self._queue.task_done()

    async def _take(self, session: aiohttp.ClientSession, document: bytes, *, uuid: str) -> bool:
        try:
            async with session.post(
                self._url, params={"uuid": uuid}, data=document, headers={"Content-Type": "application/json"}
            ) as answer:
                if answer.ok:
                    self._sent.acknowledged = (self._sent.acknowledged or 0) + 1
                    return True
                self._sent.last_error = f"HTTP {answer.status}"
        except (aiohttp.ClientError, TimeoutError) as error:
            self._sent.last_error = str(error) or type(error).__name__
        return False
