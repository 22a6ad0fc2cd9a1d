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

from cdrhub.sources.base import Intake
from cdrhub.sources.freeswitch.config import FreeSwitchCdrConfig
from cdrhub.sources.freeswitch.documents import MAX_DOCUMENT_BYTES, OPENING, unwrap
from cdrhub.sources.transports.push import PushReceiver
from cdrhub.sources.transports.request_body import Ending, Received

DURABLE_SECONDS = 2.0  #: within which a document must be on disk; the switch holds the ended channel meanwhile
MAX_POST_BYTES = 3 * MAX_DOCUMENT_BYTES + 4  #: a document of which every byte is url-encoded, after `cdr=`


class Receiver(PushReceiver):
    """The handler of one switch's path."""

    def __init__(self, *, config: FreeSwitchCdrConfig, intake: Intake) -> None:
        super().__init__(intake, allow=config.allow, max_bytes=MAX_POST_BYTES)

    async def keep(self, received: Received, request: web.Request) -> web.Response:
        """Keep the document, or what came of one that is not whole."""
        document, status = received.body, 200
        match received.ending:
            case Ending.DAMAGED:
                status = 400
            case Ending.TOO_LONG:
                status = 413
            case _ if not document.strip():
                self.intake.count("empty_request")
                return _answer(400)
            case _:
                document = unwrap(document)
                if not document.startswith(OPENING):
                    self.intake.count("not_understood")
        if document:
            await self.intake.accept(
                [document],
                content_type="text/xml" if document.startswith(b"<") else "application/json",
                attributes={"peer": request.remote or "", **received.marks},
                within=DURABLE_SECONDS,
            )
        return _answer(status)


def _answer(status: int) -> web.Response:
    return web.Response(status=status, text=f"{HTTPStatus(status).phrase}\n")
