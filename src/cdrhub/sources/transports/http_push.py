"""Lines over HTTP: a forwarder beside the phone system posts what it received.

The body is plain lines, or JSON: `{"body": "Received: Call 1,…\\r\\n"}`, a list of such objects, or texts. It is
unwrapped, so that a line is the same record however it came. The answer is given when the records are durable, and
not before:

====  =====================================================================================================
200   `{"accepted": n, "suspended": m}`: all is kept; m of them are no records and wait for a person
400   `{"accepted": 0, "suspended": m, "error": …}`: nothing of it is a record; it is kept, sending again is idle
400   the same of a body that cannot be unpacked or breaks off: what came of it is kept, as one record in suspense, or
      all of it where nothing came of it, or where it is packed otherwise than with gzip or deflate
405   not a POST
408   the body did not arrive within BODY_SECONDS; nothing is kept
413   larger than MAX_BODY_BYTES or `http.max_body`; nothing is kept
503   not durable in time, nothing may be kept: send it again after `Retry-After` seconds
====  =====================================================================================================
"""

from __future__ import annotations

from codecs import BOM_UTF8
from collections.abc import Mapping, Sequence
from typing import Any

import orjson
from aiohttp import web

from cdrhub.errors import IntakeRefused
from cdrhub.sources.base import TOO_LONG, Intake
from cdrhub.sources.transports.lines import Framed, LineFormat, LineFramer, LineSink
from cdrhub.sources.transports.request_body import BODY_SECONDS, Ending, Received, receive
from cdrhub.sources.transports.unpacking import UNPACKED

MAX_BODY_BYTES = 1_048_576  #: of one request, unpacked; about 3,500 records
DURABLE_SECONDS = 0.8  #: within which a request is answered, one way or the other
RETRY_AFTER_SECONDS = 5
RECEIVED = b"Received: "  #: forwarders write it before the line


def unwrap(body: bytes, *, max_line: int) -> Framed:
    """The lines of a request's body. Never raises: what is not JSON of the documented form is taken as lines."""
    lines: list[bytes] = []
    too_long: list[bytes] = []
    for text in _texts(body):
        framer = LineFramer(max_line)
        framed = framer.feed(text + b"\n")
        lines.extend(line.removeprefix(RECEIVED) for line in framed.lines)
        too_long.extend(framed.too_long)
    return Framed([line for line in lines if line], too_long)


def _texts(body: bytes) -> Sequence[bytes]:
    text = body.removeprefix(BOM_UTF8)
    if text.lstrip()[:1] not in (b"{", b"[", b'"'):
        return [body]
    try:
        said = orjson.loads(text)
        items = said if isinstance(said, list) else [said]
        return [(item["body"] if isinstance(item, dict) else item).encode() for item in items]
    except (orjson.JSONDecodeError, KeyError, AttributeError, UnicodeEncodeError):
        return [body]


class LinePush:
    """The handler of one source's ingest path."""

    def __init__(
        self, *, line_format: LineFormat, sink: LineSink, intake: Intake, body_seconds: float = BODY_SECONDS
    ) -> None:
        self._format = line_format
        self._sink = sink
        self._intake = intake
        self._body_seconds = body_seconds

    async def handle(self, request: web.Request) -> web.Response:
        """Keep what the request holds and answer as the module's docstring says."""
        if request.method != "POST":
            return _answer(405, {"error": "POST records here"}, headers={"Allow": "POST"})
        peer = request.remote or ""
        received = await receive(
            request,
            max_bytes=MAX_BODY_BYTES,
            kept_of_too_long=0,
            kept_of_damaged=MAX_BODY_BYTES,
            seconds=self._body_seconds,
        )
        if received.ending is not Ending.WHOLE:
            self._intake.count(received.ending.value)
        match received.ending:
            case Ending.WHOLE:
                return await self._keep(received.body, peer=peer)
            case Ending.DAMAGED:
                return await self._keep_damaged(received, peer=peer)
            case Ending.TOO_LONG:
                limit = min(MAX_BODY_BYTES, request.client_max_size)
                return _answer(413, {"error": f"a body has at most {limit} bytes"})
            case Ending.STALLED:
                return _answer(408, {"error": f"the body did not arrive within {self._body_seconds:g} s"})
            case Ending.GONE:
                return _answer(400, {"error": "the connection was lost"})  # to nobody

    async def _keep(self, body: bytes, *, peer: str) -> web.Response:
        found = unwrap(body, max_line=self._format.max_line)
        records = sum(map(self._format.is_record, found.lines))
        strange = len(found.lines) - records + len(found.too_long)
        if strange:
            self._intake.count("foreign", strange)
        attributes = {"peer": peer}
        try:
            if found.too_long:
                await self._sink.take(found.too_long, attributes={**attributes, TOO_LONG: True})
            if found.lines:
                await self._sink.take(found.lines, attributes=attributes)
        except IntakeRefused as refused:
            return _send_again(refused)
        if records:
            return _answer(200, {"accepted": records, "suspended": strange})
        why = "no record in the body: it is kept for a person to look at" if strange else "the body is empty"
        return _answer(400, {"accepted": 0, "suspended": strange, "error": why})

    async def _keep_damaged(self, received: Received, *, peer: str) -> web.Response:
        """Keep what came before a body could not be unpacked any more, or all of it as it came, as one record."""
        body = received.body
        try:
            if body:
                await self._sink.take([body], attributes={"peer": peer, **received.marks})
        except IntakeRefused as refused:
            return _send_again(refused)
        why = f"the body cannot be unpacked; send it as {UNPACKED}, or as it is"
        return _answer(400, {"accepted": 0, "suspended": int(bool(body)), "error": why})


def _send_again(refused: IntakeRefused) -> web.Response:
    headers = {"Retry-After": str(RETRY_AFTER_SECONDS)}
    return _answer(503, {"error": f"not kept, send it again: {refused}"}, headers=headers)


def _answer(status: int, said: Mapping[str, Any], *, headers: Mapping[str, str] | None = None) -> web.Response:
    return web.Response(status=status, body=orjson.dumps(said), content_type="application/json", headers=headers)
