"""The body of a pushed request, read within bounds, and which addresses may push.

A phone system that pushes is a stranger on the network until its body has arrived: it may stall, break off, send more
than anyone needs or a body that cannot be unpacked. `receive` says which of these it was and what came of it; what is
answered and what is kept is the source's decision.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from functools import lru_cache
from ipaddress import ip_address

from aiohttp import web
from pydantic import IPvAnyNetwork

BODY_SECONDS = 30.0  #: for a body to arrive
KEPT_OF_TOO_LONG = 65_536  #: bytes of an over-long body that are kept
REMEMBERED_PEERS = 1024


class Ending(Enum):
    """How the body of a request ended."""

    WHOLE = auto()
    TOO_LONG = auto()  #: over the limit; its beginning is there
    DAMAGED = auto()  #: cannot be unpacked (Content-Encoding); what came before is there
    STALLED = auto()  #: did not arrive in time
    GONE = auto()  #: the connection broke


@dataclass(frozen=True, kw_only=True, slots=True)
class Received:
    """What arrived of a body."""

    body: bytes
    ending: Ending


async def receive(
    request: web.Request,
    *,
    max_bytes: int,
    kept_of_too_long: int = KEPT_OF_TOO_LONG,
    kept_of_damaged: int = KEPT_OF_TOO_LONG,
    seconds: float = BODY_SECONDS,
) -> Received:
    """The body of `request`, unpacked, up to `max_bytes` and `http.max_body`. Of a longer one `kept_of_too_long` bytes,
    as soon as these are there: the rest is not waited for. Of a damaged one `kept_of_damaged` bytes at most. Never
    raises for what a peer does."""
    read = bytearray()
    limit = min(max_bytes, request.client_max_size)
    if request.content_length is not None and request.content_length > limit:
        if not kept_of_too_long:
            return Received(body=b"", ending=Ending.TOO_LONG)
        limit = min(limit, kept_of_too_long - 1)
    content = request.content
    try:
        if content.is_eof():
            read += content.read_nowait()
        else:
            async with asyncio.timeout(seconds):
                async for chunk in content.iter_any():
                    read += chunk
                    if len(read) > limit:
                        break
    except TimeoutError:
        return Received(body=bytes(read), ending=Ending.STALLED)
    except ConnectionError:
        return Received(body=bytes(read), ending=Ending.GONE)
    except web.RequestPayloadError:
        return Received(body=bytes(read[:kept_of_damaged]), ending=Ending.DAMAGED)
    if len(read) > limit:
        return Received(body=bytes(read[:kept_of_too_long]), ending=Ending.TOO_LONG)
    return Received(body=bytes(read), ending=Ending.WHOLE)


def allow_list(networks: Sequence[IPvAnyNetwork]) -> Callable[[str], bool]:
    """Whether an address is in one of these networks; without any, every address is."""

    @lru_cache(maxsize=REMEMBERED_PEERS)
    def allowed(peer: str) -> bool:
        try:
            address = ip_address(peer)
        except ValueError:
            return False
        mapped = getattr(address, "ipv4_mapped", None)
        return any((mapped or address) in network for network in networks)

    return allowed if networks else lambda peer: True  # noqa: ARG005 - everyone
