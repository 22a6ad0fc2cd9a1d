"""What every phone system that pushes over HTTP is received by: one path of the hub's HTTP server.

Who may push, and how, is looked at before anything is read; the body is read within bounds; what is kept of it, and how
each answer is written, is the system's own. An answer that says that something is kept is given when it is durable.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar

from aiohttp import web

from cdrhub.addresses import Network
from cdrhub.errors import IntakeRefused
from cdrhub.sources.base import Intake
from cdrhub.sources.transports.request_body import (
    BODY_SECONDS,
    KEPT_OF_TOO_LONG,
    Ending,
    Received,
    allow_list,
    receive,
)


class PushReceiver(ABC):
    """The handler of one ingest path. `allow` are the networks that may push (empty: all), `max_bytes` the longest
    body, of a longer or damaged one as much as `receive` says is kept."""

    methods: ClassVar[tuple[str, ...]] = ("POST",)

    def __init__(
        self,
        intake: Intake,
        *,
        allow: Sequence[Network],
        max_bytes: int,
        kept_of_too_long: int = KEPT_OF_TOO_LONG,
        kept_of_damaged: int = KEPT_OF_TOO_LONG,
        body_seconds: float = BODY_SECONDS,
    ) -> None:
        self.intake = intake
        self._allowed = allow_list(allow)
        self._max_bytes = max_bytes
        self._kept_of_too_long = kept_of_too_long
        self._kept_of_damaged = kept_of_damaged
        self._body_seconds = body_seconds

    async def handle(self, request: web.Request) -> web.Response:
        """Keep what the request holds, and answer it."""
        if not self._allowed(request.remote or ""):
            self.intake.count("peer_refused")
            return self.refusal(403, why="this address may not push here")
        if request.method not in self.methods:
            answer = self.refusal(405, why=f"{' or '.join(self.methods)} records here")
            answer.headers["Allow"] = ", ".join(self.methods)
            return answer
        received = await receive(
            request,
            max_bytes=self._max_bytes,
            kept_of_too_long=self._kept_of_too_long,
            kept_of_damaged=self._kept_of_damaged,
            seconds=self._body_seconds,
        )
        if received.ending is not Ending.WHOLE:
            self.intake.count(received.ending.value)
        match received.ending:
            case Ending.STALLED:
                return self.refusal(408, why=f"the body did not arrive within {self._body_seconds:g} s")
            case Ending.GONE:
                return self.refusal(400, why="the connection was lost")  # to nobody
        try:
            return await self.keep(received, request)
        except IntakeRefused as refused:
            return self.refusal(503, why=f"not kept, send it again: {refused}")

    @abstractmethod
    async def keep(self, received: Received, request: web.Request) -> web.Response:
        """Keep what came, which is whole, damaged or too long (`Received.marks` are the attributes that say so), and
        answer. IntakeRefused where it could not be made durable in time."""

    def refusal(self, status: int, *, why: str) -> web.Response:
        """The answer when nothing is kept: 400, 403, 405, 408, or 503 where sending again helps. `why` is for people;
        plain text, where a system has no form of its own."""
        return web.Response(status=status, text=f"{why}\n")
