"""The body of a pushed request, read within bounds, and which addresses may push.

A phone system that pushes is a stranger on the network until its body has arrived: it may stall, break off, send more
than anyone needs or a body that cannot be unpacked. `receive` says which of these it was and what came of it; what is
answered and what is kept is the source's decision.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache

from aiohttp import hdrs, web

from cdrhub.addresses import Network, read_ip
from cdrhub.sources.base import DAMAGED, TOO_LONG
from cdrhub.sources.transports.unpacking import Unpacker, encoding_of

BODY_SECONDS = 30.0  #: for a body to arrive
KEPT_OF_TOO_LONG = 65_536  #: bytes of an over-long body that are kept
MAX_ENCODING = 64  #: characters that are kept of an unknown `Content-Encoding`
REMEMBERED_PEERS = 1024


class Ending(StrEnum):
    """How the body of a request ended; the value is the word under which a source counts one that is not whole."""

    WHOLE = "whole"
    TOO_LONG = "body_too_large"  #: over the limit; its beginning is there
    DAMAGED = "body_damaged"  #: cannot be unpacked (Content-Encoding); what came before is there, else all as it came
    STALLED = "body_timeout"  #: did not arrive in time
    GONE = "connection_lost"  #: the connection broke


@dataclass(frozen=True, kw_only=True, slots=True)
class Received:
    """What arrived of a body."""

    body: bytes
    ending: Ending
    packed_as: str = ""  #: the Content-Encoding of a body that nobody here unpacks, and that is kept as it came

    @property
    def marks(self) -> Mapping[str, bool | str]:
        """The attributes by which a record says that this is not the whole body, or not unpacked."""
        if self.ending is Ending.TOO_LONG:
            return {TOO_LONG: True}
        return {DAMAGED: self.packed_as or True} if self.ending is Ending.DAMAGED else {}


async def receive(
    request: web.Request,
    *,
    max_bytes: int,
    kept_of_too_long: int = KEPT_OF_TOO_LONG,
    kept_of_damaged: int = KEPT_OF_TOO_LONG,
    seconds: float = BODY_SECONDS,
) -> Received:
    """Read the body of `request`, unpacked, up to `max_bytes` and `http.max_body`. Never raises for what a peer does.

    Of a longer body the first `kept_of_too_long` bytes are kept, and the rest is not waited for. Of one that cannot be
    unpacked at most `kept_of_damaged` bytes are kept: what could be unpacked or, if nothing could, the body as it came.
    The server must leave bodies packed (`auto_decompress=False`).
    """
    limit = min(max_bytes, request.client_max_size)
    if request.content_length is not None and request.content_length > limit:
        if not kept_of_too_long:
            return Received(body=b"", ending=Ending.TOO_LONG)
        limit = min(limit, kept_of_too_long - 1)
    reading = _Reading(encoding_of(request.headers.getall(hdrs.CONTENT_ENCODING, ())), limit=limit)
    content = request.content
    try:
        if content.is_eof():
            reading.take(content.read_nowait())
        else:
            async with asyncio.timeout(seconds):
                async for chunk in content.iter_any():
                    if not reading.take(chunk):
                        break
    except TimeoutError:
        return Received(body=bytes(reading.body), ending=Ending.STALLED)
    except ConnectionError:
        return Received(body=bytes(reading.body), ending=Ending.GONE)
    except web.RequestPayloadError:
        return Received(body=reading.came(kept_of_damaged), ending=Ending.DAMAGED)
    if reading.too_long:
        return Received(body=bytes(reading.body[:kept_of_too_long]), ending=Ending.TOO_LONG)
    if reading.whole:
        return Received(body=bytes(reading.body), ending=Ending.WHOLE)
    return Received(body=reading.came(kept_of_damaged), ending=Ending.DAMAGED, packed_as=reading.unknown_encoding)


class _Reading:
    """The part of a body that was read so far, unpacked where that can be done."""

    def __init__(self, encoding: str, *, limit: int) -> None:
        self.body = bytearray()
        self._packed = bytearray()  #: what arrived before anything could be unpacked
        self._limit = limit
        self._unpacker = Unpacker(encoding) if encoding in ("gzip", "deflate") else None
        self._unknown = "" if self._unpacker is not None else encoding
        self._damaged = False
        self._taken = 0

    def take(self, chunk: bytes) -> bool:
        """Take what came next; whether more is wanted."""
        self._taken += len(chunk)
        if self._unpacker is None:
            self.body += chunk
        else:
            unpacked, self._damaged = self._unpacker.unpack(chunk, at_most=self._limit + 1 - len(self.body))
            self.body += unpacked
            if not self.body:
                self._packed += chunk
        return not (self._damaged or self.too_long)

    def came(self, at_most: int) -> bytes:
        """What is kept of a body that is not whole: what could be unpacked or, if nothing could, what came."""
        return bytes((self.body or self._packed)[:at_most])

    @property
    def too_long(self) -> bool:
        """Whether the body is over its limit, as it came or unpacked."""
        return self._taken > self._limit or len(self.body) > self._limit

    @property
    def unknown_encoding(self) -> str:
        """How the body is packed, if nobody here unpacks it."""
        return self._unknown.encode("ascii", "backslashreplace").decode()[:MAX_ENCODING] if self.body else ""

    @property
    def whole(self) -> bool:
        """Whether `body` is all that was sent, provided that nothing follows."""
        unpacked = self._unpacker is None or (self._unpacker.complete and not self._damaged)
        return unpacked and not self.unknown_encoding


def allow_list(networks: Sequence[Network]) -> Callable[[str], bool]:
    """Whether an address is in one of these networks; without any, every address is."""

    @lru_cache(maxsize=REMEMBERED_PEERS)
    def allowed(peer: str) -> bool:
        address = read_ip(peer)
        return address is not None and any(address in network for network in networks)

    return allowed if networks else lambda peer: True  # noqa: ARG005 - everyone
