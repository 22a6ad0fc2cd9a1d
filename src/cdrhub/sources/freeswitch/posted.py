"""CDR documents over HTTP: mod_json_cdr and mod_xml_cdr post one document for each channel, when it has ended.

Both try again until they are answered 200 (mod_json_cdr takes any 2xx), `retries` times with `delay` seconds between,
and write the document to `err-log-dir` after that. So the answer is given when the document is durable:

====  =====================================================================================================
200   the document is kept; also one that cannot be read: it waits in suspense, sending it again is idle
400   the body is empty (nothing is kept) or cannot be unpacked (what came before is kept in suspense, or all of
      what cannot be unpacked from its first byte on, or is packed otherwise than with gzip or deflate)
403   the sender's address is not in `allow`; nothing is kept
405   not a POST
408   the body did not arrive in time; nothing is kept
413   longer than a document can be, or than `http.max_body`; its beginning is kept in suspense
503   not durable in time: the switch tries again
====  =====================================================================================================

Of a body that came damaged or too long only the switch has the whole, so it is refused and ends in `err-log-dir`.
Read in `mod_json_cdr.c`, `mod_xml_cdr.c` and `switch_utils.c` of https://github.com/signalwire/freeswitch.
"""

from __future__ import annotations

from http import HTTPStatus

from aiohttp import web

from cdrhub.errors import IntakeRefused
from cdrhub.sources.base import Intake
from cdrhub.sources.freeswitch.config import FreeSwitchCdrConfig
from cdrhub.sources.freeswitch.documents import MAX_DOCUMENT_BYTES, OPENING, unwrap
from cdrhub.sources.transports.request_body import Ending, allow_list, receive

DURABLE_SECONDS = 2.0  #: within which a document must be on disk; the switch holds the ended channel meanwhile
MAX_POST_BYTES = 3 * MAX_DOCUMENT_BYTES + 4  #: a document of which every byte is url-encoded, after `cdr=`


class Receiver:
    """The handler of one switch's path."""

    def __init__(self, *, config: FreeSwitchCdrConfig, intake: Intake) -> None:
        self._intake = intake
        self._allowed = allow_list(config.allow)

    async def handle(self, request: web.Request) -> web.Response:
        """Keep what the request holds and answer as the module's docstring says."""
        peer = request.remote or ""
        if not self._allowed(peer):
            self._intake.count("peer_refused")
            return _answer(403)
        if request.method != "POST":
            return _answer(405, allow="POST")
        received = await receive(request, max_bytes=MAX_POST_BYTES)
        if received.ending is not Ending.WHOLE:
            self._intake.count(received.ending.value)
        match received.ending:
            case Ending.WHOLE:
                return await self._keep_document(received.body, peer=peer)
            case Ending.DAMAGED:
                return await self._keep(received.body, attributes={"peer": peer, **received.marks}, status=400)
            case Ending.TOO_LONG:
                return await self._keep(received.body, attributes={"peer": peer, **received.marks}, status=413)
            case Ending.STALLED:
                return _answer(408)
            case Ending.GONE:
                return _answer(400)  # to nobody

    async def _keep_document(self, body: bytes, *, peer: str) -> web.Response:
        if not body.strip():
            self._intake.count("empty_request")
            return _answer(400)
        document = unwrap(body)
        if not document.startswith(OPENING):
            self._intake.count("not_understood")
        return await self._keep(document, attributes={"peer": peer}, status=200)

    async def _keep(self, body: bytes, *, attributes: dict[str, str | bool], status: int) -> web.Response:
        if body:
            content_type = "text/xml" if body.startswith(b"<") else "application/json"
            try:
                await self._intake.accept(
                    [body], content_type=content_type, attributes=attributes, within=DURABLE_SECONDS
                )
            except IntakeRefused:
                return _answer(503)
        return _answer(status)


def _answer(status: int, *, allow: str | None = None) -> web.Response:
    headers = {"Allow": allow} if allow else None
    return web.Response(status=status, text=f"{HTTPStatus(status).phrase}\n", headers=headers)
