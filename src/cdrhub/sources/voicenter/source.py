"""The Voicenter source: one secret path of the hub's HTTP server, to which the account pushes its CDRs.

Voicenter takes HTTP 200 as received and sends again after anything else, or after some seconds. So the answer is given
within a second, whatever the database does, and only when the record is durable:

====  ===  ======================================================================================================
HTTP  err
====  ===  ======================================================================================================
200   0    kept; also a record that had come before
200   1    kept, but cannot be understood, so sending again is idle: it waits in suspense for a person; also what came
           of a body that cannot be unpacked, or all of one that is packed otherwise than with gzip or deflate
403   2    the sender's address is not in `allow`; nothing is kept
405        not a POST
408   2    the body did not arrive within BODY_SECONDS; nothing is kept
413   1    longer than `max_body` or `http.max_body`; its beginning is kept in suspense
503   2    not durable in time: sending again helps
====  ===  ======================================================================================================

The answer has the format of the request: XML-RPC is answered in XML-RPC, JSON and forms in JSON.
"""

from __future__ import annotations

from http import HTTPStatus

from aiohttp import web

from cdrhub.errors import DecodeError, IntakeRefused
from cdrhub.sources.base import Intake
from cdrhub.sources.transports.push import PushReceiver
from cdrhub.sources.transports.request_body import Ending, Received
from cdrhub.sources.voicenter import bodies, fields, files
from cdrhub.sources.voicenter.bodies import Format
from cdrhub.sources.voicenter.config import VoicenterConfig
from cdrhub.sources.voicenter.replies import Code, reply
from cdrhub.turns import in_thread_if_large

DURABLE_SECONDS = 0.8  #: within which a record must be on disk; the vendor expects an answer in about a second


class Receiver(PushReceiver):
    """The handler of one account's path."""

    def __init__(self, *, config: VoicenterConfig, intake: Intake) -> None:
        super().__init__(intake, allow=config.allow, max_bytes=config.max_body, kept_of_damaged=config.max_body)

    async def keep(self, received: Received, request: web.Request) -> web.Response:
        """Keep the records of the body, or what came of one that is not whole."""
        body = received.body
        understood, messages = False, [body]
        if received.ending is Ending.WHOLE:
            understood, messages = await in_thread_if_large(len(body), _messages, body)
        written = bodies.sniff(body)
        try:
            await self.intake.accept(
                messages,
                content_type=written.value,
                attributes={"peer": request.remote or "", **received.marks},
                within=DURABLE_SECONDS,
            )
        except IntakeRefused:
            return _answer(503, Code.APPLICATION_ERROR, to=written)
        if received.ending is Ending.WHOLE and not understood:
            self.intake.count("not_understood")
        status = 413 if received.ending is Ending.TOO_LONG else 200
        return _answer(status, Code.OK if understood else Code.PARSE_ERROR, to=written)

    def refusal(self, status: int, *, why: str) -> web.Response:
        """In JSON, the format of whoever sends nothing that could be read."""
        if status == HTTPStatus.METHOD_NOT_ALLOWED:
            return super().refusal(status, why=why)
        return _answer(status, Code.APPLICATION_ERROR, to=Format.JSON)


def _messages(body: bytes) -> tuple[bool, list[bytes]]:
    """Whether all of `body` is understood, and the records in it: its own bytes where it holds one CDR or cannot be
    read, else each CDR of its array."""
    try:
        items = bodies.parse(body).items
        messages = [body] if len(items) == 1 else [files.element_bytes(item) for item in items]
    except (DecodeError, ValueError, RecursionError):
        return False, [body]
    understood = all(
        isinstance(item, dict) and bool(fields.call_key_of(item, call_log=False) or fields.is_call_log_row(item))
        for item in items
    )
    return understood, messages


def _answer(status: int, code: Code, *, to: Format) -> web.Response:
    body, media_type = reply(code, to=to)
    return web.Response(status=status, body=body, headers={"Content-Type": media_type})
