"""One connection to an Event Socket: greenswitch's client with what it lacks.

greenswitch 0.0.19 is a client for well-behaved switches: it never notices a dead one, loops for ever when a switch
dies in the middle of an event, decodes before it splits (so that a caller's display name can write headers), keeps
what it cannot handle in memory without bound, and has no time limit anywhere. Each method that is overridden here
says what it cures. What remains of it is the exchange of commands and replies, and the greenlet that reads.

Everything belongs to the gevent hub of the thread that constructs the object. An object is used for one connection.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import gevent
from gevent import socket
from gevent.event import AsyncResult, Event
from greenswitch.esl import ESLEvent, InboundESL

from cdrhub.errors import CdrhubError, NotConnected
from cdrhub.os_errors import in_words
from cdrhub.sources.freeswitch.esl.commands import COMMAND_SECONDS
from cdrhub.sources.freeswitch.esl.errors import MAX_SHOWN, OutOfStep, Refused, WentSilent
from cdrhub.sources.freeswitch.esl.frames import (
    API_RESPONSE,
    AUTH_REQUEST,
    COMMAND_REPLY,
    DISCONNECT_NOTICE,
    EVENT_PLAIN,
    REJECTION,
    Frame,
    Framer,
)
from cdrhub.sources.freeswitch.esl.handoff import Heard
from cdrhub.sources.transports.keep_alive import keep_alive

READ_BYTES = 131_072  #: of one read; an event has 4 to 6 KB
CONNECT_SECONDS = 5.0  #: until a connection stands, for each address of the switch
AUTH_SECONDS = 5.0  #: until the switch asks for the password, and until it has judged it
EXIT_SECONDS = 1.0  #: that a switch has to answer `exit`
LAST_SHARE = 0.25  #: of the idle time, waited for apart
KEEPALIVE_IDLE_SECONDS = 20
TIMEOUT_SECONDS = 30  #: without an answer, after which the switch is given up, also while nothing is read

Address = tuple[int, Any]
"""An address family and what `socket.connect` takes for it, resolved: no greenlet waits for a name server."""


class Reply(ESLEvent):  # type: ignore[misc]  # greenswitch has no types
    """The answer to a command. `headers` are the outer ones, `data` what was said: Reply-Text, or the body."""

    def __init__(self, frame: Frame) -> None:
        super().__init__(frame.head)
        self.data = frame.text if frame.content_type == API_RESPONSE else self.headers.get("Reply-Text", "")

    def parse_data(self, data: bytes) -> None:
        """Split at newlines alone, decode nothing, keep the first of a name.

        The base url-decodes the whole text first and splits at whatever Python thinks is a line's end (U+2028, 0x85),
        so that a value can become headers.
        """
        for line in data.decode("utf-8", "replace").split("\n"):
            name, colon, value = line.partition(":")
            if colon:
                self.headers.setdefault(name.strip(), value.strip())


class EventSocketClient(InboundESL):  # type: ignore[misc]  # greenswitch has no types
    """One authenticated connection. `connect`, `send` any number of times, `stop`.

    The bodies of plain events go to `deliver`, several at once, which may block the reading greenlet: then nothing is
    read, and TCP holds the switch back. `idle_seconds` bounds the time spent reading without hearing anything (None:
    no bound). `closed` is set when the connection is gone, and `error` then says why.
    """

    def __init__(
        self,
        addresses: Sequence[Address],
        *,
        password: str,
        deliver: Callable[[Sequence[bytes]], None],
        idle_seconds: float | None,
        max_body: int,
        heard: Heard,
    ) -> None:
        super().__init__("", 0, password, timeout=CONNECT_SECONDS)
        self._addresses = addresses
        self._deliver = deliver
        self._last_seconds = None if idle_seconds is None else idle_seconds * LAST_SHARE
        self._first_seconds = None if idle_seconds is None else idle_seconds * (1 - LAST_SHARE)
        self._framer = Framer(max_body=max_body)
        self.sock: socket.socket | None = None  # the base has none before `connect`, so that its `stop` fails
        self._commands_sent: list[AsyncResult] = []
        self.closed = Event()
        self.error: Exception | None = None
        self.heard = heard

    def connect(self) -> None:
        """Connect and authenticate. Raises NotConnected or Refused; the socket is closed then.

        The base knows IPv4 only, waits without limit for the question for the password, and leaves the socket open
        after an error.
        """
        self.sock = self._connected_socket()
        self.connected = True
        try:
            self.sock.settimeout(self._first_seconds)
            keep_alive(self.sock, idle_seconds=KEEPALIVE_IDLE_SECONDS, timeout_seconds=TIMEOUT_SECONDS)
            self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.start_event_handlers()
            if not self._auth_request_event.wait(AUTH_SECONDS):
                raise NotConnected(f"it did not ask for a password within {AUTH_SECONDS:g} s")
            if not self.connected:
                raise self._gone()
            self.authenticate()
        except BaseException as error:
            self._lost(error if isinstance(error, Exception) else NotConnected("stopped"))
            raise

    def _connected_socket(self) -> socket.socket:
        why: OSError | None = None
        for family, address in self._addresses:
            connection = socket.socket(family, socket.SOCK_STREAM)
            try:
                connection.settimeout(self.timeout)
                connection.connect(address)
            except OSError as error:
                connection.close()
                why = error
            except BaseException:  # the greenlet is being killed
                connection.close()
                raise
            else:
                return connection
        raise NotConnected(in_words(why) if why is not None else "it has no address") from why

    def authenticate(self) -> None:
        """Send the password. The base raises a bare ValueError for a wrong one."""
        reply = self.send(f"auth {self.password}", timeout=AUTH_SECONDS)
        if not reply.data.startswith("+OK"):
            raise Refused(f"it refuses the password: {reply.data[:MAX_SHOWN]!r}")

    def start_event_handlers(self) -> None:
        """Start the reader alone. The base starts a dispatcher as well, behind a queue without bound; events are
        neither parsed nor dispatched here."""
        self._receive_events_greenlet = gevent.spawn(self.receive_events)

    def receive_events(self) -> None:
        """Read until the connection ends, for whatever reason, and say so.

        The base reads line by line and ends silently, with `connected` still true, at a frame it does not understand;
        it loops for ever where a body ends early. Every way out of here leads through `_lost`.
        """
        try:
            while self._run and self.sock is not None:
                chunk = self._received(self.sock)
                if not chunk:
                    raise NotConnected(f"it closed the connection{' within a frame' if self._framer.pending else ''}")
                self.heard.at = time.monotonic()
                self._take(chunk)
                gevent.sleep(0)  # a socket that always has something would let no other greenlet run
        except TimeoutError as error:
            silent = timedelta(seconds=time.monotonic() - self.heard.at)
            since = datetime.now(UTC) - silent
            self._lost(WentSilent(f"nothing was heard for {silent.total_seconds():.0f} s: {error}", since=since))
        except OSError as error:
            self._lost(NotConnected(f"the connection was lost: {in_words(error)}"))
        except Exception as error:  # noqa: BLE001 - a bug must end the link, not leave it deaf; it is told by `error`
            self._lost(error)

    def _received(self, connection: socket.socket) -> bytes:
        """What comes next; TimeoutError after the idle time. It is waited for in two parts, for a process that was
        suspended: it finds the first part over, and reads in the second what came meanwhile."""
        connection.settimeout(self._first_seconds)
        try:
            chunk: bytes = connection.recv(READ_BYTES)
        except TimeoutError:
            connection.settimeout(self._last_seconds)
            chunk = connection.recv(READ_BYTES)
        return chunk

    def _take(self, chunk: bytes) -> None:
        bodies: list[bytes] = []
        try:
            for frame in self._framer.feed(chunk):
                if frame.content_type == EVENT_PLAIN:
                    bodies.append(frame.body)
                else:
                    self._handle_frame(frame)
        finally:
            if bodies:  # also those before a frame that ends the link
                self._deliver(bodies)

    def _handle_frame(self, frame: Frame) -> None:
        kind = frame.content_type
        if kind in (AUTH_REQUEST, COMMAND_REPLY, API_RESPONSE):
            self.handle_event(Reply(frame))
        elif kind == REJECTION:
            raise Refused(f"its access list does not let us in: {frame.text.strip()[:MAX_SHOWN]!r}")
        elif kind == DISCONNECT_NOTICE:
            if frame.header("Content-Disposition") != "linger":  # with it, events of the last calls follow
                words = frame.text.strip().partition("\n")[0]
                raise NotConnected(f"it ends the connection: {words[:MAX_SHOWN]!r}")
        else:
            self.heard.foreign += 1

    def handle_event(self, event: Reply) -> None:
        """Give a reply to the command that waits for it; the oldest one, for replies come in order.

        The base takes an answer that nobody asked for as a bug and dies of it; here it ends the link, since from then
        on every reply would go to the wrong command. The base reads the body of an `api/response` from the socket
        itself.
        """
        kind = event.headers.get("Content-Type")
        if kind == AUTH_REQUEST:
            self._auth_request_event.set()
            return
        if not self._commands_sent:
            raise OutOfStep("an answer that nobody asked for")
        self._commands_sent.pop(0).set(event)

    def send(self, data: str, *, timeout: float = COMMAND_SECONDS) -> Reply:
        """Send a command and wait for its reply, `timeout` seconds at most. Raises NotConnected.

        After a time-out the connection is closed: a late reply would be taken for that of the next command. The base
        waits for ever, sends only what the socket takes at once, and leaves waiting commands alone when the
        connection ends.
        """
        if not self.connected or self.sock is None:
            raise self._gone()
        answer = AsyncResult()
        late = NotConnected(f"it did not answer a command within {timeout:g} s")
        try:
            with gevent.Timeout(timeout, late):
                self._commands_sent.append(answer)
                self.sock.sendall(f"{data}\n\n".encode())
                reply: Reply = answer.get()
                return reply
        except NotConnected as error:
            if error is late:
                self._lost(error)
            raise
        except OSError as error:
            lost = NotConnected(f"the connection was lost: {in_words(error)}")
            self._lost(lost)
            raise lost from error

    def stop(self) -> None:
        """Say `exit`, so that what the switch has sent before is still received, and close; EXIT_SECONDS at most, in
        every state, any number of times. The base blocks for ever on a silent switch and fails before `connect`."""
        if self.connected:
            with contextlib.suppress(NotConnected):  # then it is closed already, which is what is wanted
                self.send("exit", timeout=EXIT_SECONDS)
        self.close()

    def close(self) -> None:
        """Close at once, in every state, any number of times."""
        self._lost(NotConnected("stopped"))
        if self._receive_events_greenlet is not None:
            self._receive_events_greenlet.kill(timeout=EXIT_SECONDS)

    def _lost(self, error: Exception) -> None:
        """The connection is gone: whoever waits is told, the socket is closed. Idempotent, the first error counts."""
        if self.error is None:
            self.error = error
        self._run = False
        self.connected = False
        waiting, self._commands_sent = self._commands_sent, []
        for answer in waiting:
            answer.set_exception(self._gone())
        self._auth_request_event.set()
        self.closed.set()
        if self.sock is not None:
            self.sock.close()

    def _gone(self) -> Exception:
        """The error of the ended connection, as a new one for each caller."""
        match self.error:
            case None:
                return NotConnected("not connected")
            case Refused() as refused:
                return Refused(str(refused))
            case CdrhubError() as error:
                return NotConnected(str(error))
            case error:
                return error
