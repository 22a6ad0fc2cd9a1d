"""The asterCC source: one secret path of the hub's HTTP server, to which the team's "Push event URL" points.

asterCC posts every event once; it documents neither an answer nor a repetition
(http://wiki.astercc.org/doku.php?id=en:custom_development_guide:apis:receive_call_events_via_http_post). So the answer
is the same whatever the event says, and it is given when the event is durable, not before:

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

from collections.abc import Sequence
from http import HTTPStatus

from aiohttp import web

from cdrhub.sources.astercc import bodies
from cdrhub.sources.astercc.config import AsterCCConfig
from cdrhub.sources.base import Intake
from cdrhub.sources.transports.push import PushReceiver
from cdrhub.sources.transports.request_body import Ending, Received

#: Within which an event must be on disk. Nothing says that asterCC sends again what was refused, so a disk that is slow
#: for a moment is waited for.
DURABLE_SECONDS = 10.0


class Receiver(PushReceiver):
    """The handler of one team's path."""

    methods = ("GET", "POST")

    def __init__(self, *, config: AsterCCConfig, intake: Intake) -> None:
        super().__init__(intake, allow=config.allow, max_bytes=bodies.MAX_BODY_BYTES)

    async def keep(self, received: Received, request: web.Request) -> web.Response:
        """Keep the events of the body or, where there is none, of the query string."""
        if received.ending is Ending.WHOLE:
            events: Sequence[bytes] = bodies.events(received.body) or bodies.events(_query(request))
        else:
            events = [received.body] if received.body else []
        if events:
            await self.intake.accept(
                events,
                content_type=bodies.sniff(events[0]).value,
                attributes={"peer": request.remote or "", **received.marks},
                within=DURABLE_SECONDS,
            )
        else:
            self.intake.count("empty_request")
        status = HTTPStatus.REQUEST_ENTITY_TOO_LARGE if received.ending is Ending.TOO_LONG else HTTPStatus.OK
        return web.Response(status=status, text=status.phrase)


def _query(request: web.Request) -> bytes:
    """The query string as it stands in the request line: aiohttp's own view of it is decoded and spelled anew."""
    return request.raw_path.partition("?")[2].encode("utf-8", "surrogateescape")
