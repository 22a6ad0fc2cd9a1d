"""Lines over TCP, over real sockets: what peers and networks do to a reader."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import AsyncGenerator, Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial

import pytest

from cdrhub.addresses import join_address
from cdrhub.errors import NotConnected
from cdrhub.sources.transports import tcp_lines
from cdrhub.sources.transports.keep_alive import keep_alive
from cdrhub.sources.transports.lines import LineFormat
from cdrhub.sources.transports.tcp_lines import (
    ACCEPTS_AT_ONCE,
    LINK_SECONDS,
    MAX_CONNECTIONS,
    MAX_FOREIGN_BYTES,
    MAX_FOREIGN_LINES,
    SILENCES,
    LineConnection,
    connect_lines,
    connected_to_first,
    serve_lines,
)
from support.intake import RecordingIntake, until
from support.peers import Client, Server
from support.proxy import Proxy
from support.sinks import LINES, IntakeSink

ANY = "127.0.0.1:0"
SILENT_SECONDS = 600.0


def everyone(_: str) -> bool:
    return True


@pytest.fixture
def intake() -> RecordingIntake:
    return RecordingIntake()


class Clock:
    """The event loop's, which goes on by itself and by what a test lets pass."""

    def __init__(self, loop: asyncio.AbstractEventLoop, monkeypatch: pytest.MonkeyPatch) -> None:
        self._ahead, of_its_own = 0.0, loop.time
        monkeypatch.setattr(loop, "time", lambda: of_its_own() + self._ahead)

    async def passes(self, seconds: float) -> None:
        """So many seconds are over, and what they brought is done."""
        self._ahead += seconds
        await asyncio.sleep(0.01)


@pytest.fixture
async def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Silence is longer than any test takes."""
    monkeypatch.setattr(tcp_lines, "SILENT_SECONDS", SILENT_SECONDS)
    return Clock(asyncio.get_running_loop(), monkeypatch)


@asynccontextmanager
async def serving(
    intake: RecordingIntake, *, allows: Callable[[str], bool] = everyone, max_connections: int = MAX_CONNECTIONS
) -> AsyncGenerator[int]:
    """A server that is stopped at the end of the block; yields its port."""
    session = asyncio.create_task(
        serve_lines(
            ANY,
            allows=allows,
            line_format=LINES,
            sink=IntakeSink(intake),
            intake=intake,
            max_connections=max_connections,
        )
    )
    try:
        yield intake.port(ANY)
    finally:
        session.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await session
        intake.close()


async def test_lines_arrive_in_order_and_nothing_is_sent_back(intake: RecordingIntake) -> None:
    async with serving(intake) as port:
        client = await Client.connect(port)
        expected = [b"Call %d" % number for number in range(1000)]
        await client.send(b"".join(line + b"\r\n" for line in expected))
        await until(lambda: len(intake.bodies) == 1000)
        assert intake.bodies == expected
        assert intake.links == {client.address: ""}
        assert {accepted.attributes["peer"] for accepted in intake.accepted} == {client.address}
    assert await client.received_until_closed() == b""
    await client.close()
    assert intake.links == {}


async def test_a_second_connection_is_heard_while_the_first_stays_open(intake: RecordingIntake) -> None:
    async with serving(intake) as port:
        first, second = await Client.connect(port), await Client.connect(port)
        await second.send(b"Call 2\r\n")
        await until(lambda: intake.bodies == [b"Call 2"])
        await first.send(b"Call 1\r\n")
        await until(lambda: intake.bodies == [b"Call 2", b"Call 1"])
        await second.close()
        await until(lambda: intake.links == {first.address: ""})
        await first.close()


async def test_a_probe_of_the_port_is_no_link(intake: RecordingIntake) -> None:
    """A monitor that connected every five seconds wrote 70,000 rows of coverage a day, which are never deleted."""
    async with serving(intake) as port:
        for probes in range(1, 4):
            await (await Client.connect(port)).close()
            await until(lambda: intake.counts["nothing_sent"] == probes)  # noqa: B023 - it is of this round
        assert intake.link_log == []


async def test_a_pbx_that_has_no_call_yet_is_a_link_after_a_moment(intake: RecordingIntake) -> None:
    async with serving(intake) as port:
        began = asyncio.get_running_loop().time()
        client = await Client.connect(port)
        await until(lambda: intake.links == {client.address: ""})
        assert asyncio.get_running_loop().time() - began >= LINK_SECONDS
        await client.close()
        await until(lambda: intake.links == {})
        assert intake.counts["nothing_sent"] == 1


async def test_a_peer_outside_the_allow_list_is_closed_unheard(intake: RecordingIntake) -> None:
    async with serving(intake, allows=lambda peer: peer != "127.0.0.1") as port:
        client = await Client.connect(port)
        assert await client.received_until_closed() == b""
        await client.close()
        assert intake.counts["peer_refused"] == 1
        assert intake.link_log == []


async def test_keepalive_is_on(intake: RecordingIntake) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening, socket.create_connection(listening.getsockname()) as peer:
        keep_alive(peer, idle_seconds=30, timeout_seconds=60)
        assert peer.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
        options = (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT, socket.TCP_USER_TIMEOUT)
        assert [peer.getsockopt(socket.IPPROTO_TCP, option) for option in options] == [30, 10, 3, 60_000]


async def test_a_peer_that_looks_for_the_end_loses_nothing_by_it(intake: RecordingIntake, clock: Clock) -> None:
    """A changed source of a busy hub lost what its PBX sent between the end of the reading and the close."""
    pbx, connection, reading = await a_pbx(intake)
    with pbx:
        connection.finish()
        assert await asyncio.to_thread(pbx.recv, 1) == b""
        pbx.sendall(b"Call 1\r\n")
        await until(lambda: intake.bodies == [b"Call 1"])
        pbx.sendall(b"Call 2\r\n")
    assert await reading == "stopped"
    assert intake.bodies == [b"Call 1", b"Call 2"]
    for _ in range(SILENCES):
        await clock.passes(SILENT_SECONDS)
    assert intake.counts["peer_gone_at_stop"] == 0


async def test_a_peer_that_never_looks_is_heard_until_it_is_silent(intake: RecordingIntake, clock: Clock) -> None:
    pbx, connection, reading = await a_pbx(intake)
    with pbx:
        connection.finish()
        pbx.sendall(b"Call 1\r\n")
        await until(lambda: intake.bodies == [b"Call 1"])
        await clock.passes(SILENT_SECONDS)
        assert not reading.done()
        await clock.passes(SILENT_SECONDS)
        assert await reading == "stopped"


async def test_a_peer_that_sends_on_is_not_heard_for_ever(intake: RecordingIntake, clock: Clock) -> None:
    pbx, connection, reading = await a_pbx(intake)
    with pbx:
        connection.finish()
        for _ in range(SILENCES):
            assert not reading.done()
            heard = len(intake.bodies)
            pbx.sendall(b"Call 1\r\n")
            await until(partial(hears_more, intake, heard))
            await clock.passes(SILENT_SECONDS)
        assert await reading == "stopped"


async def test_what_comes_in_the_moment_of_the_end_is_read(intake: RecordingIntake) -> None:
    loop = asyncio.get_running_loop()
    pbx, connection, reading = await a_pbx(intake)
    woken, wake = socket.socketpair()

    def send() -> None:
        loop.remove_reader(woken)
        pbx.sendall(b"Call 1\r\n")

    with pbx, woken, wake:
        loop.add_reader(woken, send)
        connection.cut()
        wake.send(b"!")  # seen by the loop together with the end, and after it
        assert await reading == "stopped"
    assert intake.bodies == [b"Call 1"]


def hears_more(intake: RecordingIntake, than: int) -> bool:
    return len(intake.bodies) > than


async def test_a_peer_that_sends_into_the_end_is_no_connection_that_was_lost(intake: RecordingIntake) -> None:
    pbx, connection, reading = await a_pbx(intake)
    with pbx:
        connection.finish()
        connection.cut()
        pbx.sendall(b"Call 1\r\n")  # answered with a reset, before the end was read
        assert await reading == "stopped"
    assert intake.counts["connection_lost"] == 0


async def test_a_pbx_that_says_something_else_once_is_seen_all_the_time(intake: RecordingIntake) -> None:
    pbx, _, reading = await a_pbx(intake)
    with pbx:
        pbx.sendall(b"Call 1\nnoise\n")
        await until(lambda: len(intake.bodies) == 2)
        assert intake.links == {"pbx": ""}
    await reading


async def test_a_stranger_is_closed_for_few_long_lines_as_well(intake: RecordingIntake) -> None:
    pbx, _, reading = await a_pbx(intake, line_format=replace(LINES, max_line=MAX_FOREIGN_BYTES))
    with pbx:
        await asyncio.to_thread(pbx.sendall, b"x" * (MAX_FOREIGN_BYTES // 2) + b"\n" + b"y" * MAX_FOREIGN_BYTES + b"\n")
    assert await reading == "closed: it sent no records"


async def a_pbx(
    intake: RecordingIntake, *, line_format: LineFormat = LINES
) -> tuple[socket.socket, LineConnection, asyncio.Task[str]]:
    """A PBX, the connection to it, and its reader, which has begun."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        pbx = socket.create_connection(listening.getsockname())
        ours, _ = listening.accept()
    ours.setblocking(False)
    connection = LineConnection(ours, peer="pbx", line_format=line_format, sink=IntakeSink(intake), intake=intake)
    reading = asyncio.create_task(connection.run())
    await until(lambda: intake.links == {"pbx": ""}, "it has become a link")
    return pbx, connection, reading


async def test_an_unterminated_rest_is_kept_and_marked(intake: RecordingIntake) -> None:
    async with serving(intake) as port:
        client = await Client.connect(port)
        await client.send(b"Call 1\r\nCall 2,half a rec")
        await client.close()
        await until(lambda: len(intake.bodies) == 2)
        assert intake.bodies == [b"Call 1", b"Call 2,half a rec"]
        assert [accepted.attributes.get("unterminated") for accepted in intake.accepted] == [None, True]


async def test_a_reset_in_mid_record_keeps_what_came(intake: RecordingIntake) -> None:
    async with serving(intake) as port:
        client = await Client.connect(port)
        await client.send(b"Call 1\r\nCall 2,ha")
        await until(lambda: intake.bodies == [b"Call 1"])
        await client.reset()
        await until(lambda: not intake.links)
        assert intake.bodies == [b"Call 1", b"Call 2,ha"]
        assert intake.counts["connection_lost"] == 1


async def test_a_line_over_the_limit_is_cut_and_the_next_is_read(intake: RecordingIntake) -> None:
    async with serving(intake) as port:
        client = await Client.connect(port)
        await client.send(b"Call 0\n", b"x" * 1_000_000, b"\r\nCall 1\r\n")
        await until(lambda: len(intake.bodies) == 3)
        assert sorted(intake.bodies) == sorted([b"Call 0", b"x" * 1024, b"Call 1"])
        assert [accepted.body for accepted in intake.accepted if accepted.attributes.get("too_long")] == [b"x" * 1024]
        await client.close()


PROBES = {
    "http": b"GET / HTTP/1.1\r\nHost: 10.0.0.1:5555\r\nAccept: */*\r\n\r\n",
    "tls": bytes.fromhex("16030100f1010000ed0303") + bytes(range(256)),
    "rdp": bytes.fromhex("0300002f2ae00000000000") + b"Cookie: mstshash=Administr\r\n\x01\x00\x08\x00\x03\x00\x00\x00",
    "mglndd": b"MGLNDD_10.0.0.1_5555\n",
    "jdwp": b"JDWP-Handshake",
    "ftp": b"USER anonymous\r\n",
    "nul": b"\x00" * 500,
    "nothing": b"",
}


@pytest.mark.parametrize("probe", PROBES)
async def test_probes_are_kept_and_do_not_disturb_others(intake: RecordingIntake, probe: str) -> None:
    async with serving(intake) as port:
        pbx, prober = await Client.connect(port), await Client.connect(port)
        await prober.send(PROBES[probe])
        await prober.close()
        await until(lambda: intake.links.keys() == {pbx.address})
        await pbx.send(b"Call 1\r\n")
        await until(lambda: b"Call 1" in intake.bodies)
        kept = b"".join(intake.bodies).replace(b"Call 1", b"")
        assert kept == PROBES[probe].replace(b"\r\n", b"").replace(b"\n", b"")
        assert bool(intake.counts["foreign"]) == bool(PROBES[probe])
        await pbx.close()


async def test_a_prober_does_not_count_as_the_phone_system(intake: RecordingIntake) -> None:
    async with serving(intake) as port:
        prober = await Client.connect(port)
        await until(lambda: intake.links)
        await prober.send(b"GET / HTTP/1.1\r\n")
        await until(lambda: not intake.links)
        await prober.send(b"Call 1\r\n")
        await until(lambda: intake.links, "a record proves it is one after all")
        await prober.close()


async def test_a_peer_that_sends_no_records_is_closed(intake: RecordingIntake) -> None:
    async with serving(intake) as port:
        prober = await Client.connect(port)
        await prober.send(b"noise\n" * (MAX_FOREIGN_LINES * 10))
        assert await prober.received_until_closed() == b""
        await prober.close()
        await until(lambda: intake.counts["foreign_closed"] == 1)
        assert intake.bodies == [b"noise"] * MAX_FOREIGN_LINES
        assert intake.counts["foreign_dropped"] == MAX_FOREIGN_LINES * 9


async def test_one_record_restores_patience(intake: RecordingIntake) -> None:
    async with serving(intake) as port:
        client = await Client.connect(port)
        for number in range(5):
            await client.send(b"noise\n" * (MAX_FOREIGN_LINES - 1) + b"Call %d\n" % number)
        await until(lambda: b"Call 4" in intake.bodies)
        assert len(intake.bodies) == 5 * MAX_FOREIGN_LINES
        assert intake.counts["foreign_closed"] == 0
        await client.close()


async def test_a_full_journal_stops_the_sender_and_nothing_is_lost(intake: RecordingIntake) -> None:
    line = b"Call " + b"x" * 995
    count = 40_000  # 40 MB, more than sockets buffer
    async with serving(intake) as port:
        intake.full = True
        client = await Client.connect(port)

        async def send() -> None:
            for _ in range(count // 100):
                await client.send((line + b"\n") * 100)

        sending = asyncio.create_task(send())
        await until(lambda: intake.offered)
        await asyncio.sleep(0.3)
        assert not sending.done()
        assert intake.offered <= tcp_lines.READ_BYTES // len(line) + 1
        intake.full = False
        await sending
        await until(lambda: len(intake.bodies) == count)
        await client.close()


async def test_stopping_reads_what_has_arrived(intake: RecordingIntake) -> None:
    expected = [b"Call %d" % number for number in range(500)]
    async with serving(intake) as port:
        connected, waiting = await Client.connect(port), await Client.connect(port)
        await connected.send(b"Call 0\n")
        await until(lambda: intake.bodies == [b"Call 0"])
        intake.slow_seconds = 0.01
        await waiting.send(b"".join(line + b"\n" for line in expected[250:]))
        await connected.send(b"".join(line + b"\n" for line in expected[1:250]))
    assert sorted(intake.bodies) == sorted(expected)
    await connected.close()
    await waiting.close()


async def test_who_is_in_the_backlog_at_stop_is_heard(intake: RecordingIntake) -> None:
    session = asyncio.create_task(
        serve_lines(ANY, allows=everyone, line_format=LINES, sink=IntakeSink(intake), intake=intake)
    )
    await asyncio.sleep(0)
    expected = [b"Call %d" % number for number in range(ACCEPTS_AT_ONCE + 1)]
    with contextlib.ExitStack() as clients:
        for line in expected:
            client = clients.enter_context(socket.create_connection(("127.0.0.1", intake.port(ANY))))
            client.sendall(line + b"\n")
        session.cancel()  # before anybody has accepted them
        with pytest.raises(asyncio.CancelledError):
            await session
    assert sorted(intake.bodies) == sorted(expected)
    intake.close()


async def test_a_second_cancellation_ends_a_drain_that_waits(intake: RecordingIntake) -> None:
    session = asyncio.create_task(
        serve_lines(ANY, allows=everyone, line_format=LINES, sink=IntakeSink(intake), intake=intake)
    )
    await asyncio.sleep(0)
    client = await Client.connect(intake.port(ANY))
    intake.full = True
    await client.send(b"Call 1\n")
    await until(lambda: intake.offered)
    session.cancel()
    await asyncio.wait({session}, timeout=0.05)
    assert not session.done()
    session.cancel()
    await asyncio.wait({session})
    assert session.cancelled()
    assert intake.counts["not_kept"] == 1
    ((state, detail),) = [(said["state"], said["detail"]) for said in intake.inferences]
    assert (state, detail) == ("blind", "lines that were read (1), and what lay behind them, could not be kept")
    assert intake.links == {}
    await client.close()
    intake.close()


async def test_an_error_of_the_sink_ends_the_session_with_it(intake: RecordingIntake) -> None:
    class BrokenSink:
        async def take(self, *_: object, **__: object) -> None:
            raise RuntimeError("a bug")

    session = asyncio.create_task(
        serve_lines(ANY, allows=everyone, line_format=LINES, sink=BrokenSink(), intake=intake)
    )
    await asyncio.sleep(0)
    client = await Client.connect(intake.port(ANY))
    await client.send(b"Call 1\n")
    with pytest.raises(RuntimeError, match="a bug"):
        await session
    await client.close()
    intake.close()


@pytest.mark.usefixtures("clock")
async def test_at_the_limit_the_oldest_silent_connection_makes_room(intake: RecordingIntake) -> None:
    async with serving(intake, max_connections=2) as port:
        speaking = await Client.connect(port)
        await speaking.send(b"Call 1\n")
        await until(lambda: intake.bodies)
        silent, third = await Client.connect(port), await Client.connect(port)
        assert await silent.received_until_closed() == b""
        await until(lambda: silent.address not in intake.links)
        await third.send(b"Call 2\n")
        await until(lambda: b"Call 2" in intake.bodies)
        fourth = await Client.connect(port)
        assert await fourth.received_until_closed() == b""
        assert intake.counts["too_many_connections"] == 1
        await speaking.send(b"Call 3\n")
        await until(lambda: b"Call 3" in intake.bodies)
        for client in (speaking, silent, third, fourth):
            await client.close()


async def connected(intake: RecordingIntake, port: int) -> None:
    await connect_lines("127.0.0.1", port, line_format=LINES, sink=IntakeSink(intake), intake=intake)


async def test_the_client_reads_until_the_server_closes(intake: RecordingIntake) -> None:
    server = Server()
    await server.start()
    session = asyncio.create_task(connected(intake, server.port))
    await server.send(b"Call 1\r\nCa", b"ll 2\r\n")
    await until(lambda: intake.bodies == [b"Call 1", b"Call 2"])
    assert intake.links == {f"127.0.0.1:{server.port}": ""}
    await server.hang_up()
    with pytest.raises(NotConnected, match="the peer closed"):
        await session
    await server.stop()
    assert server.heard == b""
    assert intake.links == {}


async def test_the_client_is_told_why_it_cannot_connect(intake: RecordingIntake) -> None:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    with pytest.raises(NotConnected, match="refused"):
        await connected(intake, port)
    with pytest.raises(NotConnected, match="resolved"):
        await connect_lines("no-such-host.invalid", 1, line_format=LINES, sink=IntakeSink(intake), intake=intake)


@contextlib.contextmanager
def swallowing() -> Generator[tuple[str, int]]:
    """An address that does not answer."""
    with contextlib.ExitStack() as stack:
        full = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        for _ in range(4):  # what comes after these is not answered
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(full.getsockname())
        yield full.getsockname()


async def test_an_address_that_swallows_packets_leaves_the_next_one_its_time() -> None:
    """A name may have an address of IPv6 that leads nowhere."""
    with swallowing() as full, socket.create_server(("127.0.0.1", 0)) as good:
        addresses = [(socket.AF_INET, each) for each in (full, *[good.getsockname()] * 19)]
        async with asyncio.timeout(15):
            connection, peer = await connected_to_first(addresses, seconds=20.0)  # one second each
        assert connection.getpeername() == good.getsockname()
        assert peer == join_address(*good.getsockname())
        connection.close()


async def test_who_is_cancelled_while_it_connects_leaves_no_socket_behind() -> None:
    with swallowing() as full, pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await connected_to_first([(socket.AF_INET, full)], seconds=20.0)


async def test_the_client_is_told_that_nobody_answered(
    intake: RecordingIntake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tcp_lines, "CONNECT_SECONDS", 0.1)
    with swallowing() as (host, port), pytest.raises(NotConnected, match=r"\d did not answer within 0\.1 s"):
        await connect_lines(host, port, line_format=LINES, sink=IntakeSink(intake), intake=intake)


def test_the_client_is_told_that_no_name_server_answered(
    intake: RecordingIntake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tcp_lines, "CONNECT_SECONDS", 0.1)
    over = threading.Event()

    async def connect() -> None:
        loop = asyncio.get_running_loop()
        loop.set_default_executor(ThreadPoolExecutor(1))
        busy = loop.run_in_executor(None, over.wait)  # names are looked up behind it
        try:
            with pytest.raises(NotConnected, match=r"localhost cannot be resolved: no answer within 0\.1 s"):
                await connect_lines("localhost", 1, line_format=LINES, sink=IntakeSink(intake), intake=intake)
        finally:
            over.set()
            await busy

    asyncio.run(connect())


async def test_an_address_that_the_machine_has_no_sockets_for_leaves_the_next_one() -> None:
    """As those of IPv6 where the kernel does without it."""
    with socket.create_server(("127.0.0.1", 0)) as good:
        strange = (255, ("::1", 1, 0, 0))
        connection, _ = await connected_to_first([strange, (socket.AF_INET, good.getsockname())], seconds=10.0)
        assert connection.getpeername() == good.getsockname()
        connection.close()
        with pytest.raises(OSError, match="not supported"):
            await connected_to_first([strange], seconds=10.0)


async def test_a_cut_in_mid_record_keeps_the_part_that_came(intake: RecordingIntake) -> None:
    server = Server()
    await server.start()
    async with Proxy(("127.0.0.1", server.port)) as proxy:
        session = asyncio.create_task(connected(intake, proxy.port))
        proxy.cut_after(12)
        await server.send(b"Call 1\r\nCall 2\r\n")
        with pytest.raises(NotConnected):
            await session
    await server.stop()
    assert intake.bodies == [b"Call 1", b"Call"]
    assert intake.accepted[-1].attributes["unterminated"] is True


async def test_stopping_the_client_reads_what_has_arrived(intake: RecordingIntake) -> None:
    server = Server()
    await server.start()
    session = asyncio.create_task(connected(intake, server.port))
    intake.slow_seconds = 0.02
    await server.send(b"Call 1\n", b"Call 2\n")
    await until(lambda: intake.offered)
    await server.send(b"Call 3\n")
    session.cancel()
    with pytest.raises(asyncio.CancelledError):
        await session
    assert intake.bodies == [b"Call 1", b"Call 2", b"Call 3"]
    await server.stop()
