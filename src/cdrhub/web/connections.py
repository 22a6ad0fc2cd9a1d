"""The connections of the HTTP server: how many there are at once, and how long one may take to ask for something.

A stranger who opens connections and says nothing, or says it a byte at a time, would hold descriptors that phone
systems need. So sockets are taken here, before TLS: one over the limit is closed at once and counted, and one that has
not sent the whole head of a request in time is closed, and one that does not read its answers. The heads of later
requests on a connection kept alive are bounded by aiohttp's keep-alive timeout, bodies by whoever reads them.
"""

from __future__ import annotations

import asyncio
import re
import socket
import ssl
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager

import structlog
from aiohttp import web

from cdrhub.throttle import Throttle

log = structlog.get_logger(__name__)

MAX_HTTP_CONNECTIONS = 1_000
HEADER_SECONDS = 20.0  #: for the head of a connection's first request; as much again for the TLS handshake
UNREAD_SECONDS = 60.0  #: that a client may leave what is sent to it unread, or its packets unanswered (tcp(7))
ACCEPTS_AT_ONCE = 64
ACCEPT_PAUSE_SECONDS = 1.0  #: after the process ran out of descriptors or memory
SAID_EVERY_SECONDS = 3600.0  #: that clients refuse our certificate, for each reason
_DISTRUST = re.compile(r"_ALERT_(?:\w*CERTIFICATE|UNKNOWN_CA)")  #: what such a client says (RFC 8446, 6.2)
_LINE_ENDS = b"\r\n"
_HEAD_ENDS = (b"\r\n\r\n", b"\n\n")
_LONGEST_END = max(map(len, _HEAD_ENDS))


@asynccontextmanager
async def taking(
    listening: socket.socket,
    *,
    server: web.Server,
    tls: Callable[[], ssl.SSLContext | None],
    refused: Callable[[], None],
    unmet: Callable[[], None],
    limit: int = MAX_HTTP_CONNECTIONS,
    header_seconds: float = HEADER_SECONDS,
    unread_seconds: float = UNREAD_SECONDS,
) -> AsyncGenerator[None]:
    """Hand connections of the non-blocking `listening` to `server` while the context is open; then close the socket.

    Each handshake begins with the certificate that `tls` has at the moment. `refused` is called for each connection
    over `limit`, `unmet` for each handshake that fails. Those that `server` has stay with it.
    """
    door = _Door(
        listening,
        server=server,
        tls=tls,
        refused=refused,
        unmet=unmet,
        limit=limit,
        header_seconds=header_seconds,
        unread_seconds=unread_seconds,
    )
    door.open()
    try:
        yield
    finally:
        await door.close()


class _Door:
    """Takes connections from one listening socket."""

    def __init__(
        self,
        listening: socket.socket,
        *,
        server: web.Server,
        tls: Callable[[], ssl.SSLContext | None],
        refused: Callable[[], None],
        unmet: Callable[[], None],
        limit: int,
        header_seconds: float,
        unread_seconds: float,
    ) -> None:
        self._listening = listening
        self._server = server
        self._tls = tls
        self._refused = refused
        self._unmet = unmet
        self._throttle = Throttle(every=SAID_EVERY_SECONDS)
        self._limit = limit
        self._header_seconds = header_seconds
        self._unread_seconds = unread_seconds
        self._loop = asyncio.get_running_loop()
        self._inside: set[_Connection] = set()
        self._greetings: set[asyncio.Task[None]] = set()
        self._pause: asyncio.TimerHandle | None = None

    def open(self) -> None:
        """Take connections."""
        self._pause = None
        self._loop.add_reader(self._listening, self._accept)

    async def close(self) -> None:
        """Take no more, give up those that are in their handshake."""
        self._loop.remove_reader(self._listening)
        if self._pause is not None:
            self._pause.cancel()
        self._listening.close()
        await asyncio.sleep(0)  # every greeting has begun then, and closes its socket when it is cancelled
        for greeting in self._greetings:
            greeting.cancel()
        await asyncio.gather(*self._greetings, return_exceptions=True)

    def _accept(self) -> None:
        for _ in range(ACCEPTS_AT_ONCE):
            try:
                connection, _peer = self._listening.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                log.error("no HTTP connection can be taken", action="accept_failed", error=error.strerror)
                self._loop.remove_reader(self._listening)
                self._pause = self._loop.call_later(ACCEPT_PAUSE_SECONDS, self.open)
                return
            if len(self._inside) >= self._limit:
                connection.close()
                self._refused()
                continue
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, round(self._unread_seconds * 1000))
            inside = _Connection(self._server(), seconds=self._header_seconds, ended=self._inside.discard)
            self._inside.add(inside)
            greeting = self._loop.create_task(self._greet(connection, inside))
            self._greetings.add(greeting)
            greeting.add_done_callback(self._greetings.discard)

    async def _greet(self, connection: socket.socket, inside: _Connection) -> None:
        """Give a socket to its request handler, after the handshake of TLS."""
        tls = self._tls()
        try:
            await self._loop.connect_accepted_socket(
                lambda: inside,
                connection,
                ssl=tls,
                ssl_handshake_timeout=self._header_seconds if tls else None,
            )
        except OSError as error:  # gone already, or no TLS, or too slow with it, or it wants another certificate
            self._inside.discard(inside)
            if tls is not None:
                self._unmet()
                self._say_distrusted(error)
        except asyncio.CancelledError:
            self._inside.discard(inside)
            raise

    def _say_distrusted(self, error: OSError) -> None:
        """A phone system that does not trust our certificate pushes nothing, and tells nobody else."""
        reason = error.reason or "" if isinstance(error, ssl.SSLError) else ""
        if _DISTRUST.search(reason) and self._throttle.allows(reason):
            log.warning(
                "a client refuses our certificate: look at its dates, its names and its chain",
                action="certificate_refused",
                reason=reason,
            )


class _Connection(asyncio.Protocol):
    """One connection: everything goes to its request handler, and there is a deadline for the first head."""

    def __init__(self, handler: web.RequestHandler, *, seconds: float, ended: Callable[[_Connection], None]) -> None:
        self._handler = handler
        self._seconds = seconds
        self._ended = ended
        self._deadline: asyncio.TimerHandle | None = None
        self._seen = b""  #: the last bytes of the head so far

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if isinstance(transport, asyncio.Transport):
            self._deadline = asyncio.get_running_loop().call_later(self._seconds, transport.abort)
        self._handler.connection_made(transport)

    def data_received(self, data: bytes) -> None:
        if self._deadline is not None and self._ends_head(data):
            self._in_time()
        self._handler.data_received(data)

    def _ends_head(self, data: bytes) -> bool:
        # Blank lines before a request are no head (RFC 9112, 2.2).
        seen = self._seen + data if self._seen else data.lstrip(_LINE_ENDS)
        self._seen = seen[1 - _LONGEST_END :]
        return any(end in seen for end in _HEAD_ENDS)

    def _in_time(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def eof_received(self) -> None:
        self._handler.eof_received()

    def pause_writing(self) -> None:
        self._handler.pause_writing()

    def resume_writing(self) -> None:
        self._handler.resume_writing()

    def connection_lost(self, exc: BaseException | None) -> None:
        self._in_time()
        self._ended(self)
        self._handler.connection_lost(exc)
