"""Lines over HTTP: a forwarder beside the phone system posts what it received.

The body is plain lines, or JSON: `{"body": "Received: Call 1,…\\r\\n"}`, a list of such objects, or texts. It is
unwrapped, so that a line is the same record however it came. The answer is given when the records are durable, and
not before:

====  =====================================================================================================
200   `{"accepted": n, "suspended": m}`: all is kept; m of them are no records and wait for a person
400   `{"accepted": 0, "suspended": m, "error": …}`: nothing of it is a record; it is kept, sending again is idle
400   the same of a body that cannot be unpacked or breaks off: what came of it is kept, as one record in suspense, or
      all of it where nothing came of it, or where it is packed otherwise than with gzip or deflate
403   the sender's address is not in `allow`; nothing is kept
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

from cdrhub.addresses import Network
from cdrhub.sources.base import TOO_LONG, Intake
from cdrhub.sources.transports.lines import Framed, LineFormat, LineFramer, LineSink
from cdrhub.sources.transports.push import PushReceiver
from cdrhub.sources.transports.request_body import BODY_SECONDS, Ending, Received
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


class LinePush(PushReceiver):
    """The handler of one source's ingest path."""

    def __init__(
        self,
        *,
        line_format: LineFormat,
        sink: LineSink,
        intake: Intake,
        allow: Sequence[Network] = (),
        body_seconds: float = BODY_SECONDS,
    ) -> None:
        super().__init__(
            intake,
            allow=allow,
            max_bytes=MAX_BODY_BYTES,
            kept_of_too_long=0,
            kept_of_damaged=MAX_BODY_BYTES,
            body_seconds=body_seconds,
        )
        self._format = line_format
        self._sink = sink

    async def keep(self, received: Received, request: web.Request) -> web.Response:
        """Keep the lines of the body, or what came of one that cannot be unpacked."""
        match received.ending:
            case Ending.TOO_LONG:
                limit = min(MAX_BODY_BYTES, request.client_max_size)
                return _answer(413, {"error": f"a body has at most {limit} bytes"})
            case Ending.DAMAGED:
                return await self._keep_damaged(received, peer=request.remote or "")
            case _:
                return await self._keep_lines(received.body, peer=request.remote or "")

    async def _keep_lines(self, body: bytes, *, peer: str) -> web.Response:
        found = unwrap(body, max_line=self._format.max_line)
        records = sum(map(self._format.is_record, found.lines))
        strange = len(found.lines) - records + len(found.too_long)
        if strange:
            self.intake.count("foreign", strange)
        if found.too_long:
            await self._sink.take(found.too_long, attributes={"peer": peer, TOO_LONG: True})
        if found.lines:
            await self._sink.take(found.lines, attributes={"peer": peer})
        if records:
            return _answer(200, {"accepted": records, "suspended": strange})
        why = "no record in the body: it is kept for a person to look at" if strange else "the body is empty"
        return _answer(400, {"accepted": 0, "suspended": strange, "error": why})

    async def _keep_damaged(self, received: Received, *, peer: str) -> web.Response:
        """Keep what came before a body could not be unpacked any more, or all of it as it came, as one record."""
        if received.body:
            await self._sink.take([received.body], attributes={"peer": peer, **received.marks})
        why = f"the body cannot be unpacked; send it as {UNPACKED}, or as it is"
        return _answer(400, {"accepted": 0, "suspended": int(bool(received.body)), "error": why})

    def refusal(self, status: int, *, why: str) -> web.Response:
        """Why, and when to send it again."""
        headers = {"Retry-After": str(RETRY_AFTER_SECONDS)} if status == 503 else None
        return _answer(status, {"error": why}, headers=headers)


def _answer(status: int, said: Mapping[str, Any], *, headers: Mapping[str, str] | None = None) -> web.Response:
    return web.Response(status=status, body=orjson.dumps(said), content_type="application/json", headers=headers)
