"""The asterCC source: one secret path of the hub's HTTP server, to which the team's "Push event URL" points.

asterCC posts every event once; it documents neither an answer nor a repetition
(http://wiki.astercc.org/doku.php?id=en:custom_development_guide:apis:receive_call_events_via_http_post). So the answer
is short and the same whatever the event says, and it is given when the event is durable, not before:

====  ======  =======================================================================================================
200   `OK`    kept; also what cannot be understood: it waits in suspense for a person, sending it again would be idle
403           the sender's address is not in `allow`; nothing is kept
405           neither GET nor POST
408           the body did not arrive within BODY_SECONDS; nothing is kept
413           longer than an event can be, or than `http.max_body`; its beginning is kept in suspense
503           not durable in time: whoever can send again should
====  ======  =======================================================================================================

The event is the body, or the query string of a request that has none: its bytes as they stand in the request line, so
that the same text is the same record either way.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from aiohttp import web

from cdrhub.errors import IntakeRefused
from cdrhub.sources.astercc import bodies
from cdrhub.sources.astercc.config import AsterCCConfig
from cdrhub.sources.base import Intake
from cdrhub.sources.transports.request_body import Ending, allow_list, receive

#: Within which an event must be on disk. Nothing says that asterCC sends again what was refused, so a disk that is slow
#: for a moment is waited for.
DURABLE_SECONDS = 10.0

_TEXTS = {status.value: status.phrase.encode() for status in HTTPStatus}
_PLAIN = {"Content-Type": "text/plain; charset=utf-8"}


class Receiver:
    """The handler of one team's path."""

    def __init__(self, *, config: AsterCCConfig, intake: Intake) -> None:
        self._intake = intake
        self._allowed = allow_list(config.allow)

    async def handle(self, request: web.Request) -> web.Response:
        """Keep what the request holds and answer as the module's docstring says."""
        peer = request.remote or ""
        if not self._allowed(peer):
            self._intake.count("peer_refused")
            return _answer(403)
        if request.method not in ("POST", "GET"):
            return _answer(405, headers={"Allow": "GET, POST"})
        received = await receive(request, max_bytes=bodies.MAX_BODY_BYTES)
        if received.ending is not Ending.WHOLE:
            self._intake.count(received.ending.value)
        match received.ending:
            case Ending.WHOLE:
                return await self._keep(bodies.events(received.body) or bodies.events(_query(request)), peer=peer)
            case Ending.DAMAGED:
                return await self._keep([received.body] if received.body else [], peer=peer, marks=received.marks)
            case Ending.TOO_LONG:
                return await self._keep([received.body], peer=peer, marks=received.marks, status=413)
            case Ending.STALLED:
                return _answer(408)
            case Ending.GONE:
                return _answer(400)  # to nobody

    async def _keep(
        self, events: Sequence[bytes], *, peer: str, marks: Mapping[str, bool | str] | None = None, status: int = 200
    ) -> web.Response:
        if not events:
            self._intake.count("empty_request")
            return _answer(status)
        attributes: Mapping[str, Any] = {"peer": peer, **(marks or {})}
        try:
            await self._intake.accept(
                events, content_type=bodies.sniff(events[0]).value, attributes=attributes, within=DURABLE_SECONDS
            )
        except IntakeRefused:
            return _answer(503)
        return _answer(status)


def _query(request: web.Request) -> bytes:
    """The query string as it stands in the request line: aiohttp's own view of it is decoded and spelled anew."""
    return request.raw_path.partition("?")[2].encode("utf-8", "surrogateescape")


def _answer(status: int, *, headers: dict[str, str] | None = None) -> web.Response:
    return web.Response(status=status, body=_TEXTS[status], headers=_PLAIN if headers is None else _PLAIN | headers)
