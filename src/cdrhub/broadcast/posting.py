"""One signed request to one endpoint, by Standard Webhooks: https://github.com/standard-webhooks/standard-webhooks.

`webhook-id` is the event's id, the same at every attempt: the receiver's key for duplicates. `webhook-timestamp` is of
this attempt. `webhook-signature` holds one signature for each secret, the newest first, so that secrets can be changed
under load. Redirects are not followed, private addresses not connected to unless allowed, cookies not kept. The status
is the answer: of what follows it no more is read than keeps the connection usable.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

from aiohttp import (
    ClientConnectionError,
    ClientConnectorError,
    ClientError,
    ClientResponse,
    ClientResponseError,
    ClientSession,
    ClientTimeout,
    DummyCookieJar,
    TCPConnector,
    hdrs,
)

from cdrhub import __version__
from cdrhub.broadcast.health import Answer
from cdrhub.outgoing.interim_answers import BoundedResponse
from cdrhub.outgoing.private_addresses import PrivateAddress, leads_inside
from cdrhub.outgoing.public_resolver import PublicResolver
from cdrhub.outgoing.webhook_secrets import signer

REQUEST_SECONDS = 20.0  #: until the answer is there (Standard Webhooks: 15 to 30 s)
CONNECT_SECONDS = 10.0
FINISH_SECONDS = 1.0  #: for the rest of an answer whose status is there
MAX_ANSWER_BYTES = 16_384  #: a longer answer costs its connection
MAX_ERROR = 300  #: characters kept of why a request failed
PERMITS = "`allow_private = true` permits it"
MEDIA_TYPE = "application/cloudevents+json; charset=utf-8"


class Poster:
    """The client of one endpoint: a slow one holds up its own connections only."""

    def __init__(
        self,
        url: str,
        *,
        secrets: Sequence[str],
        allow_private: bool,
        connections: int,
        seconds: float,
    ) -> None:
        self._url = url
        self._signers = [signer(secret) for secret in secrets]
        self._inside = not allow_private and leads_inside(url)
        self._session = ClientSession(
            connector=TCPConnector(limit=connections, resolver=None if allow_private else PublicResolver()),
            cookie_jar=DummyCookieJar(),
            response_class=BoundedResponse,
            timeout=ClientTimeout(total=seconds, sock_connect=min(CONNECT_SECONDS, seconds)),
            auto_decompress=False,
            headers={hdrs.CONTENT_TYPE: MEDIA_TYPE, hdrs.USER_AGENT: f"cdrhub/{__version__}"},
        )

    async def post(self, body: bytes, *, event_id: str) -> Answer:
        """Send `body`; what came back. Raises nothing that a network or a receiver can bring about."""
        if self._inside:
            return Answer(status=None, error=f"the address is private; {PERMITS}")
        now = datetime.now(UTC)
        text = body.decode()
        headers = {
            "webhook-id": event_id,
            "webhook-timestamp": str(int(now.timestamp())),
            "webhook-signature": " ".join(one.sign(event_id, now, text) for one in self._signers),
        }
        try:
            async with self._session.post(self._url, data=body, headers=headers, allow_redirects=False) as response:
                await _finish(response)
                return Answer(
                    status=response.status,
                    error=_refusal(response),
                    retry_after=retry_after(response.headers.get(hdrs.RETRY_AFTER), now=datetime.now(UTC)),
                )
        except TimeoutError:
            return Answer(status=None, error="no answer in time")
        except (ClientError, OSError, ValueError) as error:
            return Answer(status=None, error=_spoken(error))

    async def close(self) -> None:
        """Close its connections."""
        await self._session.close()
        await asyncio.sleep(0)  # the transports say goodbye in the next turn of the loop


async def _finish(response: ClientResponse) -> None:
    """Read what little an answer holds, so that its connection can be used again. One that is longer, does not end soon
    or breaks off costs the connection, and nothing else."""
    read = 0
    try:
        async with asyncio.timeout(FINISH_SECONDS):
            while read <= MAX_ANSWER_BYTES and (piece := await response.content.read(MAX_ANSWER_BYTES)):
                read += len(piece)
    except (TimeoutError, ClientError, OSError):
        response.close()


def _refusal(response: ClientResponse) -> str:
    """What an answer says that is not 2xx; empty for one that is."""
    if 200 <= response.status < 300:
        return ""
    why = ": redirects are not followed" if hdrs.LOCATION in response.headers else ""
    return _one_line(f"HTTP {response.status} {response.reason or ''}{why}")


def _spoken(error: Exception) -> str:
    """What happened, without the URL: its path or its query may hold a secret."""
    if isinstance(error, ClientConnectorError) and isinstance(error.os_error, PrivateAddress):
        return f"{error.os_error}; {PERMITS}"
    if type(error) is ClientConnectorError and (number := error.os_error.errno or 0) > 0:
        return f"{error.host}:{error.port}: {os.strerror(number)}"
    if isinstance(error, OSError | ClientConnectionError):
        return _one_line(str(error)) or type(error).__name__
    return "its answer is no HTTP" if isinstance(error, ClientResponseError) else type(error).__name__


def _one_line(text: str) -> str:
    """What a receiver may have written, as it can be kept and shown."""
    return "".join(letter if letter.isprintable() else " " for letter in text)[:MAX_ERROR].strip()


def retry_after(value: str | None, *, now: datetime) -> timedelta | None:
    """What a Retry-After header asks for (RFC 9110, 10.2.3): seconds or a date; None if it says neither."""
    if value is None:
        return None
    text = value.strip()
    if text.isascii() and text.isdigit():
        return timedelta(seconds=min(int(text[:9]), 10**6))
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    return max(moment.replace(tzinfo=moment.tzinfo or UTC) - now, timedelta(0))
