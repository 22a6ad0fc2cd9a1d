"""One HTTP request, of which it is known whether it can have arrived.

An order to dial must not be sent twice, so nothing here repeats: each request has a connection of its own, and no
second one, for HTTP clients send an idempotent request again when a connection turns out dead (RFC 9112, 9.3.1).
Redirects are not followed, answers are bounded, cookies and proxies of the environment are not used.

Until the connection is made nothing has left: a failure is a known refusal. After that the answer is what was read, or
unseen.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, Final, Literal

import aiohttp
import orjson
from yarl import URL

from cdrhub.model.dialling import Refusal
from cdrhub.outgoing.interim_answers import BoundedResponse
from cdrhub.outgoing.private_addresses import PrivateAddress, leads_inside
from cdrhub.outgoing.public_resolver import PublicResolver
from cdrhub.sources.dialling.answers import AnswerUnseen, OrderRefused, shown
from cdrhub.sources.dialling.fields import REQUEST_SECONDS

MAX_ANSWER_BYTES: Final = 65_536

_NOT_WORKED_ON: Final = frozenset({408, 425, 429})
"""Statuses by which a server says that it has not worked on the request (RFC 9110, RFC 6585, RFC 8470)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class HttpAnswer:
    """An answer, read to its end."""

    status: int
    body: bytes
    location: str | None = None
    retry_after: str | None = None

    def refuse_failure(self, *, who: str) -> None:
        """Raise what a status other than success means for an order, where the body says no more.

        A server that is overloaded or maintained answers 503 and says when to come again; without that it may be the
        503 of a proxy (Envoy, Heroku's router) that lost the answer of a server which did dial, as any other 5xx may
        be. 303 leads to what came of the request (RFC 9110, 15.4.4). Another redirect is not followed: the order was
        not taken there, and whether it is elsewhere is unknown to this hub.
        """
        if 200 <= self.status < 300:
            return
        detail = f"{who} answered HTTP {self.status}"
        if self.status in _NOT_WORKED_ON or (self.status == 503 and self.retry_after is not None):
            raise OrderRefused(Refusal.NETWORK, detail)
        if 300 <= self.status < 500 and self.status != 303:
            raise OrderRefused(Refusal.CONFIGURATION, detail)
        raise AnswerUnseen(detail)

    def json(self, *, who: str) -> Mapping[str, Any]:
        """The JSON object that the body is. Raises AnswerUnseen."""
        try:
            found = orjson.loads(self.body)
        except orjson.JSONDecodeError as error:
            raise AnswerUnseen(f"{who} answered HTTP {self.status} and no JSON") from error
        if not isinstance(found, dict):
            raise AnswerUnseen(f"{who} answered HTTP {self.status} and JSON that is no object")
        return found


class HttpClient:
    """Requests to one peer, which its answers call `who`. Made anywhere; used in one event loop, then closed.

    `public_only` refuses every address that is not everybody's, also one that a name leads to.
    """

    def __init__(self, *, who: str, seconds: float = REQUEST_SECONDS, public_only: bool = False) -> None:
        self.who = who
        self._seconds = seconds
        self._public_only = public_only
        self._session: aiohttp.ClientSession | None = None

    async def send(
        self,
        method: Literal["GET", "POST", "DELETE"],
        url: URL,
        *,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> HttpAnswer:
        """Send once and read the answer, whatever its status. Raises OrderRefused, AnswerUnseen."""
        if self._public_only and leads_inside(str(url)):
            raise OrderRefused(Refusal.CONFIGURATION, f"{self.who} is at a private address: see allow_private")
        seen = SimpleNamespace(connected=False)
        try:
            async with (
                asyncio.timeout(self._seconds),
                self._client().request(
                    method,
                    url,
                    data=body,
                    headers=headers,
                    allow_redirects=False,
                    trace_request_ctx=seen,
                ) as response,
            ):
                content = await _read(response)
                if content is None:
                    raise AnswerUnseen(f"{self.who} answered more than {MAX_ANSWER_BYTES} bytes")
                return HttpAnswer(
                    status=response.status,
                    body=content,
                    location=response.headers.get("Location"),
                    retry_after=response.headers.get("Retry-After"),
                )
        except (aiohttp.ClientError, OSError) as error:  # a TimeoutError is an OSError
            raise self._what_it_means(error, connected=seen.connected) from error

    async def close(self) -> None:
        """Let go of the connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    def _what_it_means(self, error: Exception, *, connected: bool) -> OrderRefused | AnswerUnseen:
        why = f"no answer within {self._seconds:g} s" if isinstance(error, TimeoutError) else _spoken(error)
        if connected:
            return AnswerUnseen(f"{self.who}: {why}")
        to_mend = isinstance(_cause(error), (PrivateAddress, ssl.SSLError, ssl.CertificateError))
        return OrderRefused(Refusal.CONFIGURATION if to_mend else Refusal.NETWORK, f"{self.who}: {why}")

    def _client(self) -> aiohttp.ClientSession:
        if self._session is None:
            tracing = aiohttp.TraceConfig()
            tracing.on_connection_create_start.append(_connecting)
            tracing.on_connection_create_end.append(_connected)
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(
                    force_close=True, limit=0, resolver=PublicResolver() if self._public_only else None
                ),
                cookie_jar=aiohttp.DummyCookieJar(),
                response_class=BoundedResponse,
                timeout=aiohttp.ClientTimeout(total=None),
                trace_configs=[tracing],
                auto_decompress=False,  # an answer that was compressed unasked is not read: it could unfold to anything
                headers={"User-Agent": "cdrhub", "Accept-Encoding": "identity"},
            )
        return self._session


async def _connecting(_: aiohttp.ClientSession, context: SimpleNamespace, __: Any) -> None:
    """Refuse a second connection: aiohttp repeats a GET whose connection was lost, and the order may have arrived."""
    if context.trace_request_ctx.connected:
        raise aiohttp.ServerDisconnectedError


async def _connected(_: aiohttp.ClientSession, context: SimpleNamespace, __: Any) -> None:
    context.trace_request_ctx.connected = True


async def _read(response: aiohttp.ClientResponse) -> bytes | None:
    """The whole body; None if it is longer than MAX_ANSWER_BYTES."""
    content = bytearray()
    while chunk := await response.content.read(MAX_ANSWER_BYTES):
        content += chunk
        if len(content) > MAX_ANSWER_BYTES:
            return None
    return bytes(content)


def _cause(error: Exception) -> BaseException:
    """The error of the system or of TLS behind one of aiohttp's."""
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return error.certificate_error
    if isinstance(error, aiohttp.ClientConnectorError):
        return error.os_error
    return error


def _spoken(error: Exception) -> str:
    """What happened, without the URL: it may hold a secret."""
    cause = _cause(error)
    if isinstance(cause, OSError) and cause.strerror:
        return shown(cause.strerror)
    if isinstance(cause, PrivateAddress):
        return "its name leads to a private address: see allow_private"
    return type(cause).__name__
