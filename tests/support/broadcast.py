"""Events, and a receiver of webhooks that says what a test wants it to say."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import orjson
from aiohttp import web
from standardwebhooks import Webhook

from cdrhub.broadcast.events import Event

SECRET = "whsec_MDEyMzQ1Njc4OWFiY2RlZmdoaWprbG1ub3BxcnN0dXY="
OTHER_SECRET = "whsec_b3RoZXItb3RoZXItb3RoZXItb3RoZXItb3RoZXI="
NOON = datetime(2026, 11, 18, 12, 0, tzinfo=UTC)


def call_id(number: int) -> str:
    """The id of a call."""
    return f"0199aaaa-0000-7000-8000-{number:012d}"


def event(position: int = 1, **values: Any) -> Event:
    """A call that ended."""
    known: dict[str, Any] = {
        "position": position,
        "call_id": call_id(position),
        "case_id": None,
        "source": "lagos",
        "type": "call.ended",
        "revision": 1,
        "stored_at": NOON,
        "snapshot": {"tenant": "", "queue": "800", "caller_number": "08039100001", "ended_at": NOON.isoformat()},
    }
    return Event(**known | values)


@dataclass(frozen=True, kw_only=True, slots=True)
class Received:
    """One request of the hub, its signature verified."""

    id: str
    type: str
    document: dict[str, Any]
    headers: dict[str, str]

    @property
    def call(self) -> str:
        """The call that it is of."""
        return str(self.document["data"]["call_id"])

    @property
    def number(self) -> int:
        """Which of the call's events it is."""
        return int(self.document["data"]["revision"])


Answering = Callable[[Received], "web.StreamResponse | int"]


@dataclass
class Receiver:
    """A receiver that keeps what it was sent. `answer` may be changed at any time; None hangs."""

    url: str = ""
    secrets: tuple[str, ...] = (SECRET,)
    answer: Answering | None = field(default=lambda _received: 204)
    held: dict[int, asyncio.Event] = field(default_factory=dict)  #: by number: what its answer waits for
    taken: list[Received] = field(default_factory=list)  #: answered 2xx
    asked: list[Received] = field(default_factory=list)  #: all
    at_once: int = 0  #: requests under way
    most_at_once: int = 0
    same_call_at_once: int = 0  #: how often two events of one call were under way
    _calls: list[str] = field(default_factory=list)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Take one event."""
        received = self._verified(await request.read(), dict(request.headers))
        self.asked.append(received)
        self.same_call_at_once += received.call in self._calls
        self._calls.append(received.call)
        self.most_at_once = max(self.most_at_once, len(self._calls))
        try:
            if self.answer is None:
                await asyncio.Event().wait()
            await asyncio.sleep(0)
            if received.number in self.held:
                await self.held[received.number].wait()
            said = self.answer(received) if self.answer is not None else 500
        finally:
            self._calls.remove(received.call)
        response = web.Response(status=said) if isinstance(said, int) else said
        if 200 <= response.status < 300:
            self.taken.append(received)
        return response

    def _verified(self, body: bytes, headers: dict[str, str]) -> Received:
        for secret in self.secrets:
            Webhook(secret).verify(body, headers)
        document = orjson.loads(body)
        assert document["id"] == headers["webhook-id"]
        return Received(id=document["id"], type=document["type"], document=document, headers=headers)

    def in_order(self, *, once: bool = False) -> bool:
        """Whether what was taken is in order, call for call; `once`: what came again under its id aside."""
        last: dict[str, int] = {}
        first = {one.id: one for one in reversed(self.taken)}
        for one in self.taken if not once else (one for one in self.taken if one is first[one.id]):
            if last.get(one.call, -1) > one.number:
                return False
            last[one.call] = one.number
        return True


@asynccontextmanager
async def receiving(**values: Any) -> AsyncIterator[Receiver]:
    """A receiver on loopback."""
    receiver = Receiver(**values)
    app = web.Application()
    app.router.add_post("/events", receiver.handle)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    receiver.url = f"http://127.0.0.1:{runner.addresses[0][1]}/events"
    try:
        yield receiver
    finally:
        await runner.cleanup()
