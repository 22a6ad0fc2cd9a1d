"""Lines over TCP: a server that phone systems connect to, and a client that connects to them.

A connection is one coroutine that reads, hands over, and reads again only when what it read is durable: the kernel's
buffer and TCP's window are the back-pressure, and no byte waits in user space while the journal is slow. Nothing is
ever sent to the peer. Several connections at once are normal (a PBX that reconnects does not close the old one), so
the second is never refused.

Stopping half-closes: the peer is told that the connection ends (FIN, RFC 9293 section 3.6) and what it still sends is
read until it closes as well, falls silent, or has had its time. A peer that never looks loses what it sends after that.

Ports open to the internet are probed (HTTP, TLS, RDP, `MGLNDD_…`). Such lines are handed over as well, for a
misconfigured PBX looks alike, but only so many in a row per connection.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from cdrhub.addresses import join_address
from cdrhub.errors import NotConnected
from cdrhub.listeners import BACKLOG
from cdrhub.os_errors import in_words, is_exhausted
from cdrhub.sources.base import TOO_LONG, Intake
from cdrhub.sources.transports.keep_alive import keep_alive
from cdrhub.sources.transports.lines import UNTERMINATED, LineFormat, LineFramer, LineSink
from cdrhub.sources.transports.patience import tell_blind

READ_BYTES = 262_144  #: of one read, and so of one group that becomes durable together
DRAIN_BYTES = 8_388_608  #: read from one connection after stop was asked, more than a kernel buffers
SILENT_SECONDS = 0.2  #: without a byte from a peer that was told of the end; then it has no more to say
SILENCES = 10  #: that such a peer may break: one that goes on sending is heard for two seconds
MAX_CONNECTIONS = 64  #: of one source; a PBX has one, sometimes two
MAX_FOREIGN_LINES = 20  #: in a row from one connection that are no record; then it is closed
MAX_FOREIGN_BYTES = 131_072  #: the same in bytes; enough for one line at the limit and one more
ACCEPTS_AT_ONCE = 16
ACCEPT_PAUSE_SECONDS = 1.0  #: after the process ran out of descriptors or memory
CONNECT_SECONDS = 10.0
LINK_SECONDS = 1.0  #: that a connection without a record stands before it is a link: a monitor's probe is none
KEEPALIVE_IDLE_SECONDS = 30
TIMEOUT_SECONDS = 60  #: without an answer to probes, after which a peer is given up


class LineConnection:
    """One connection, from its first byte to its last."""

    def __init__(
        self, connection: socket.socket, *, peer: str, line_format: LineFormat, sink: LineSink, intake: Intake
    ) -> None:
        self.peer = peer
        self.spoke = False  #: whether it ever sent a record
        self._socket = connection
        self._format = line_format
        self._sink = sink
        self._intake = intake
        self._framer = LineFramer(line_format.max_line)
        self._foreign_lines = 0
        self._foreign_bytes = 0
        self._linked = False
        self._link_timer: asyncio.TimerHandle | None = None
        self._allowance: int | None = None
        self._deaf = False
        self._heard = False
        self._received = False
        self._silence: asyncio.TimerHandle | None = None

    @property
    def finishing(self) -> bool:
        """Whether `finish` or `cut` was called."""
        return self._allowance is not None

    def finish(self) -> None:
        """Tell the peer, read to its end and end. Idempotent."""
        if not self.finishing:
            self._allowance = DRAIN_BYTES
            self._shut_down(socket.SHUT_WR)
            self._await_silence(SILENCES)

    def cut(self) -> None:
        """Read what has arrived and end."""
        self._allowance = DRAIN_BYTES
        self._shut_down(socket.SHUT_RD)

    def _await_silence(self, times: int) -> None:
        self._heard = False
        self._silence = asyncio.get_running_loop().call_later(SILENT_SECONDS, self._end_in_silence, times)

    def _end_in_silence(self, times: int) -> None:
        if self._heard and times > 1:
            self._await_silence(times - 1)
        else:
            self._shut_down(socket.SHUT_RD)

    def _shut_down(self, how: int) -> None:
        self._deaf = self._deaf or how == socket.SHUT_RD
        try:
            self._socket.shutdown(how)
        except OSError:  # the peer is gone already, which ends it as well
            self._intake.count("peer_gone_at_stop")

    async def run(self) -> str:
        """Read to the end and hand everything over; returns why it ended. The socket is closed."""
        self._link_timer = asyncio.get_running_loop().call_later(LINK_SECONDS, self._link_up)
        why = "stopped before its end"
        try:
            why = await self._read()
            if rest := self._framer.close():
                self._intake.count("unterminated")
                await self._hand_over([rest], **{UNTERMINATED: True})
        finally:
            if self._silence is not None:
                self._silence.cancel()
            self._socket.close()
            if not self._received:
                self._intake.count("nothing_sent")
            self._link_down(why)
        return why

    async def _read(self) -> str:
        loop = asyncio.get_running_loop()
        while True:
            try:
                chunk = await loop.sock_recv(self._socket, READ_BYTES)
                if not chunk and self.finishing:
                    chunk = self._socket.recv(READ_BYTES)  # what came until this task heard of its end
            except OSError as error:
                if self._deaf:  # who sends on is answered with a reset, which ends our side too (RFC 9293, 3.6.1)
                    return "stopped"
                self._intake.count("connection_lost")
                return f"the connection was lost: {in_words(error)}"
            if not chunk:
                return "the peer closed" if self._allowance is None else "stopped"
            self._heard = self._received = True
            framed = self._framer.feed(chunk)
            if framed.lines:
                await self._hand_over(framed.lines)
            if framed.too_long:
                self._intake.count("too_long", len(framed.too_long))
                await self._hand_over(framed.too_long, **{TOO_LONG: True})
            if self._is_a_stranger():
                self._intake.count("foreign_closed")
                return "closed: it sent no records"
            if self._allowance is not None:
                self._allowance -= len(chunk)
                if self._allowance <= 0:
                    return "stopped while it was still sending"

    async def _hand_over(self, lines: Sequence[bytes], **marks: bool) -> None:
        kept = self._within_patience(lines, too_long=TOO_LONG in marks)
        if not kept:
            return
        attributes: Mapping[str, Any] = {"peer": self.peer, **marks}
        read_at = datetime.now(UTC)
        try:
            await self._sink.take(kept, attributes=attributes)
        except BaseException:
            await self._say_not_kept(len(kept), since=read_at)
            raise

    async def _say_not_kept(self, lines: int, *, since: datetime) -> None:
        """The peer will not send them again, nor what lay behind them."""
        self._intake.count("not_kept", lines)
        why = f"lines that were read ({lines}), and what lay behind them, could not be kept"
        until = max(since, datetime.now(UTC))
        await tell_blind(self._intake, since=since, until=until, detail=why)

    def _within_patience(self, lines: Sequence[bytes], *, too_long: bool) -> Sequence[bytes]:
        """`lines` without what a peer that sends no records may not add any more."""
        is_record = self._format.is_record
        if not too_long and all(map(is_record, lines)):
            self._sent_a_record()
            return lines
        kept: list[bytes] = []
        for line in lines:
            if not too_long and is_record(line):
                self._sent_a_record()
            else:
                self._intake.count("foreign")
                self._foreign_lines += 1
                self._foreign_bytes += len(line)
                if self._is_a_stranger():
                    self._intake.count("foreign_dropped", len(lines) - len(kept))
                    break
                if not self.spoke:
                    self._link_down("it sends no records")  # a probe does not end blindness
            kept.append(line)
        return kept

    def _sent_a_record(self) -> None:
        self._foreign_lines = self._foreign_bytes = 0
        self.spoke = True
        self._link_up()

    def _is_a_stranger(self) -> bool:
        """Whether the peer sent too much in a row that is no record."""
        return self._foreign_lines > MAX_FOREIGN_LINES or self._foreign_bytes > MAX_FOREIGN_BYTES

    def _link_up(self) -> None:
        self._cancel_link_timer()
        if not self._linked:
            self._linked = True
            self._intake.link_up(self.peer)

    def _link_down(self, detail: str) -> None:
        self._cancel_link_timer()
        if self._linked:
            self._linked = False
            self._intake.link_down(self.peer, detail)

    def _cancel_link_timer(self) -> None:
        if self._link_timer is not None:
            self._link_timer.cancel()


class _Connections:
    """The open connections of one session, each in a task of its own."""

    def __init__(self, *, line_format: LineFormat, sink: LineSink, intake: Intake) -> None:
        self._format = line_format
        self._sink = sink
        self._intake = intake
        self._open: dict[asyncio.Task[str], LineConnection] = {}
        self.broken: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def __len__(self) -> int:
        return len(self._open)

    def add(self, connection: socket.socket, peer: str) -> asyncio.Task[str]:
        """Read `connection` (non-blocking) to its end."""
        keep_alive(connection, idle_seconds=KEEPALIVE_IDLE_SECONDS, timeout_seconds=TIMEOUT_SECONDS)
        reader = LineConnection(connection, peer=peer, line_format=self._format, sink=self._sink, intake=self._intake)
        task = asyncio.create_task(reader.run(), name=f"{self._intake.source} {peer}")
        self._open[task] = reader
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[str]) -> None:
        del self._open[task]
        if not task.cancelled() and (error := task.exception()) is not None:
            self.fail(error)

    def fail(self, error: BaseException) -> None:
        """End the session with `error`; the first one counts."""
        if not self.broken.done():
            self.broken.set_exception(error)

    def make_room(self) -> bool:
        """End the oldest connection that never sent a record; False if all have."""
        for reader in self._open.values():
            if not reader.spoke and not reader.finishing:
                reader.cut()
                return True
        return False

    async def drain(self) -> None:
        """Read what has arrived and end all. Cancelled again, it drops what is not durable yet, counted."""
        for reader in list(self._open.values()):
            reader.finish()
        try:
            while self._open:
                await asyncio.wait(list(self._open))
        finally:
            for task in list(self._open):
                task.cancel()
            await asyncio.gather(*self._open, return_exceptions=True)
            if self.broken.done() and not self.broken.cancelled():
                self.broken.exception()  # whoever drains has it already or is being stopped
            self.broken.cancel()


async def serve_lines(
    address: str,
    *,
    allows: Callable[[str], bool],
    line_format: LineFormat,
    sink: LineSink,
    intake: Intake,
    max_connections: int = MAX_CONNECTIONS,
) -> None:
    """Listen on `address` (`host:port`) and read every connection, until cancelled.

    Cancellation stops accepting, drains what has arrived and closes. `allows` says whether an IP address may connect;
    refused peers are counted and closed. An error of the sink ends the session with that error.
    """
    listening = await intake.listen(address)
    connections = _Connections(line_format=line_format, sink=sink, intake=intake)
    loop = asyncio.get_running_loop()

    def accept_some() -> None:
        accept(ACCEPTS_AT_ONCE)

    def accept(at_most: int) -> None:
        for _ in range(at_most):
            try:
                connection, where = listening.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                if not is_exhausted(error):
                    connections.fail(error)
                    return
                intake.count("accept_failed")
                loop.remove_reader(listening)
                resumed.append(loop.call_later(ACCEPT_PAUSE_SECONDS, loop.add_reader, listening, accept_some))
                return
            admit(connection, where)

    def admit(connection: socket.socket, where: Any) -> None:
        if not allows(where[0]):
            intake.count("peer_refused")
            connection.close()
        elif len(connections) >= max_connections and not connections.make_room():
            intake.count("too_many_connections")
            connection.close()
        else:
            connection.setblocking(False)
            connections.add(connection, join_address(*where[:2]))

    resumed: list[asyncio.TimerHandle] = []
    loop.add_reader(listening, accept_some)
    try:
        await asyncio.shield(connections.broken)
    finally:
        for timer in resumed:
            timer.cancel()
        accept(BACKLOG)  # who is in it has been told "connected", and may have sent
        loop.remove_reader(listening)
        for timer in resumed:
            timer.cancel()
        listening.close()
        await connections.drain()


async def connect_lines(host: str, port: int, *, line_format: LineFormat, sink: LineSink, intake: Intake) -> None:
    """Connect to `host`:`port` and read to the end. Always ends in NotConnected, or in the sink's error."""
    connection, peer = await _connect(host, port)
    connections = _Connections(line_format=line_format, sink=sink, intake=intake)
    reading = connections.add(connection, peer)
    try:
        why = await asyncio.shield(reading)
    finally:
        await connections.drain()
    raise NotConnected(f"{peer}: {why}")


async def _connect(host: str, port: int) -> tuple[socket.socket, str]:
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(CONNECT_SECONDS):
            found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except TimeoutError as error:
        raise NotConnected(f"{host} cannot be resolved: no answer within {CONNECT_SECONDS:g} s") from error
    except OSError as error:
        raise NotConnected(f"{host} cannot be resolved: {error.strerror or error}") from error
    try:
        addresses = [(family, address) for family, _, _, _, address in found]
        return await connected_to_first(addresses, seconds=CONNECT_SECONDS)
    except TimeoutError as error:
        raise NotConnected(f"{host}:{port} did not answer within {CONNECT_SECONDS:g} s") from error
    except OSError as error:
        raise NotConnected(f"{host}:{port}: {in_words(error)}") from error


async def connected_to_first(
    addresses: Sequence[tuple[int, tuple[Any, ...]]], *, seconds: float
) -> tuple[socket.socket, str]:
    """A connection to the first of these (family, address) that takes one, and its name. Each has an equal share of
    `seconds`: one that swallows packets leaves the others theirs. Raises OSError of the last one, or TimeoutError."""
    refused = OSError("it has no address")
    for family, address in addresses:
        try:
            connection = socket.socket(family, socket.SOCK_STREAM)
        except OSError as error:  # a machine may do without IPv6
            refused = error
            continue
        connection.setblocking(False)
        try:
            async with asyncio.timeout(seconds / len(addresses)):
                await asyncio.get_running_loop().sock_connect(connection, address)
        except OSError as error:
            connection.close()
            refused = error
        except BaseException:
            connection.close()
            raise
        else:
            return connection, join_address(*address[:2])
    raise refused
