"""What a switch, or the way to it, does wrong, and what the bridge makes of it.

Every row is a misfortune that the unmodified client does not survive: it loops for ever, goes deaf, blocks, leaks a
socket or fills the memory.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from hashlib import blake2b
from pathlib import Path

import pytest

from cdrhub.errors import CdrhubError, NotConnected
from cdrhub.sources.freeswitch.esl.bridge import Bridge
from cdrhub.sources.freeswitch.esl.errors import OutOfStep, Refused, WentSilent
from cdrhub.sources.freeswitch.headers import PlainHeaders
from support.esl import (
    AUTH_REQUEST,
    GOODBYE,
    HEARTBEAT,
    PASSWORD,
    REJECTION,
    Connection,
    EventSocketServer,
    Script,
    encode_plain,
    event,
    reply,
    response,
)
from support.intake import until

IDLE_SECONDS = 0.4  #: after which the bridges of this file take a silent switch for dead
LONG_SECONDS = 30.0
GROUP = 100


def body(number: int) -> bytes:
    return encode_plain({"Event-Name": "CUSTOM", "Event-Sequence": str(number)})


@contextlib.asynccontextmanager
async def bridged(script: Script | None, *, idle_seconds: float = IDLE_SECONDS) -> AsyncIterator[Bridge]:
    """A started bridge to a switch with this script; everything is closed at the end."""
    async with EventSocketServer(script=script) as server:
        bridge = bridge_to(server.port, idle_seconds=idle_seconds)
        try:
            await bridge.start()
            yield bridge
        finally:
            assert await bridge.stop()


def bridge_to(port: int, *, idle_seconds: float = LONG_SECONDS) -> Bridge:
    return Bridge(
        host="127.0.0.1", port=port, password=PASSWORD, subscription="event plain ALL", idle_seconds=idle_seconds
    )


async def everything(bridge: Bridge) -> tuple[list[bytes], CdrhubError]:
    """All events, and what ended the link."""
    found: list[bytes] = []
    try:
        while True:
            found += await bridge.take(limit=GROUP)
    except CdrhubError as error:
        return found, error


# -- before the subscription -------------------------------------------------------------------------------------------


async def closes_at_once(switch: Connection) -> None:
    await switch.close()


async def never_asks(switch: Connection) -> None:
    await switch.gone()


async def never_judges(switch: Connection) -> None:
    await switch.send(AUTH_REQUEST)
    await switch.gone()


async def refuses_the_password(switch: Connection) -> None:
    await switch.send(AUTH_REQUEST)
    await switch.command()
    await switch.send(reply("-ERR invalid"), GOODBYE)


async def rejects_the_address(switch: Connection) -> None:
    await switch.send(REJECTION)


async def closes_after_the_question(switch: Connection) -> None:
    await switch.send(AUTH_REQUEST)
    await switch.command()


async def resets_after_the_question(switch: Connection) -> None:
    await switch.send(AUTH_REQUEST)
    await switch.command()
    await switch.reset()


async def never_subscribes(switch: Connection) -> None:
    await switch.authenticate()
    await switch.gone()


async def refuses_the_subscription(switch: Connection) -> None:
    await switch.authenticate()
    await switch.command()
    await switch.send(reply("-ERR no keywords supplied"))
    await switch.gone()


async def speaks_http(switch: Connection) -> None:
    await switch.send(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n" * 2_000)
    await switch.gone()


async def answers_before_it_is_asked(switch: Connection) -> None:
    await switch.send(reply("+OK accepted"))
    await switch.gone()


@pytest.mark.parametrize(
    ("script", "error", "why"),
    [
        (closes_at_once, NotConnected, "closed the connection"),
        (never_asks, NotConnected, "nothing was heard"),
        (never_judges, NotConnected, "nothing was heard"),
        (refuses_the_password, Refused, "-ERR invalid"),
        (rejects_the_address, Refused, "Access Denied"),
        (closes_after_the_question, NotConnected, "closed the connection"),
        (resets_after_the_question, NotConnected, "reset"),
        (never_subscribes, NotConnected, "nothing was heard"),
        (refuses_the_subscription, NotConnected, "refuses the subscription"),
        (speaks_http, NotConnected, "without an end|reset"),
        (answers_before_it_is_asked, NotConnected, "nobody asked"),
    ],
)
async def test_a_start_that_fails(script: Script, error: type[CdrhubError], why: str) -> None:
    before = descriptors()
    async with EventSocketServer(script=script) as server:
        bridge = bridge_to(server.port, idle_seconds=IDLE_SECONDS)
        with pytest.raises(error, match=why) as failed:
            await bridge.start()
        assert PASSWORD not in str(failed.value)
        assert await bridge.stop()
    assert descriptors() == before


async def test_nobody_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    bridge = bridge_to(port)
    with pytest.raises(NotConnected, match="refused"):
        await bridge.start()
    assert await bridge.stop()


async def test_a_host_without_an_address() -> None:
    bridge = Bridge(host="", port=-1, password="", subscription="", idle_seconds=1)
    with pytest.raises(NotConnected, match="resolved"):
        await bridge.start()
    assert await bridge.stop()


async def test_the_address_family_does_not_matter() -> None:
    """FreeSWITCH listens on `::` by default; a name may have addresses at which nobody listens."""
    async with EventSocketServer() as server:
        bridge = Bridge(
            host="localhost", port=server.port, password=PASSWORD, subscription="event plain ALL", idle_seconds=5
        )
        await bridge.start()
        await server.say(body(1))
        assert await bridge.take(limit=GROUP) == [body(1)]
        assert await bridge.stop()


# -- the end of a stream -----------------------------------------------------------------------------------------------


async def closes(switch: Connection) -> None:
    await switch.send(event(body(2)))


async def closes_within_the_headers(switch: Connection) -> None:
    await switch.send(event(body(2)), b"Content-Length: 10\nConte")


async def closes_within_the_body(switch: Connection) -> None:
    await switch.send(event(body(2)), event(body(3))[:-5])


async def resets(switch: Connection) -> None:
    await switch.send(event(body(2)))
    await asyncio.sleep(0.1)  # a reset takes along what the client has not read yet
    await switch.reset()


async def goes_silent(switch: Connection) -> None:
    await switch.send(event(body(2)))
    await switch.gone()


async def goes_silent_within_an_event(switch: Connection) -> None:
    await switch.send(event(body(2)), event(body(3))[:-5])
    await switch.gone()


async def says_goodbye(switch: Connection) -> None:
    await switch.send(event(body(2)), GOODBYE)
    await switch.gone()


async def kills_the_listener(switch: Connection) -> None:
    words = b"killed listener because of lost events\n"
    head = b"Content-Type: text/disconnect-notice\nContent-Length: %d\n\n" % len(words)
    await switch.send(event(body(2)), head + words)
    await switch.gone()


def then(sent: bytes) -> Script:
    async def script(switch: Connection) -> None:
        await switch.send(event(body(2)) + sent + event(body(3)))
        await switch.gone()

    return script


@pytest.mark.parametrize(
    ("rest", "error", "why"),
    [
        pytest.param(closes, NotConnected, "closed the connection$", id="closes between events"),
        pytest.param(closes_within_the_headers, NotConnected, "within a frame", id="closes within headers"),
        pytest.param(closes_within_the_body, NotConnected, "within a frame", id="closes within an event"),
        pytest.param(resets, NotConnected, "reset", id="resets"),
        pytest.param(goes_silent, WentSilent, "nothing was heard", id="goes silent"),
        pytest.param(goes_silent_within_an_event, WentSilent, "nothing was heard", id="goes silent within an event"),
        pytest.param(says_goodbye, NotConnected, "goodbye", id="disconnect notice"),
        pytest.param(kills_the_listener, NotConnected, "lost events", id="killed listener"),
        pytest.param(then(reply("+OK")), OutOfStep, "nobody asked", id="unasked reply"),
        pytest.param(then(response("+OK")), OutOfStep, "nobody asked", id="unasked response"),
        pytest.param(then(b"Content-Length: 3\n\nabc"), OutOfStep, "Content-Type", id="no Content-Type"),
        pytest.param(then(b"Content-Type: text/event-plain\n\n"), OutOfStep, "Length", id="no Content-Length"),
        pytest.param(
            then(b"Content-Length: -1\nContent-Type: text/event-plain\n\n"), OutOfStep, "-1", id="negative length"
        ),
        pytest.param(
            then(b"Content-Length: 2000000000\nContent-Type: text/event-plain\n\n"), OutOfStep, "bytes", id="2 GB"
        ),
        pytest.param(
            then(b"Content-Length: 1000000000000\nContent-Type: text/event-plain\n\n"),
            OutOfStep,
            "Content-Length",
            id="10^12",
        ),
        pytest.param(then(b"X: " + b"y" * 20_000), OutOfStep, "without an end", id="endless headers"),
    ],
)
async def test_the_link_goes_down_after_the_last_whole_event(rest: Script, error: type[CdrhubError], why: str) -> None:
    async def script(switch: Connection) -> None:
        await switch.subscribe()
        await switch.send(event(body(1)))
        await rest(switch)

    async with bridged(script) as bridge:
        found, ended = await everything(bridge)
        assert found == [body(1), body(2)]
        assert type(ended) is error
        with pytest.raises(error, match=why):
            await bridge.take(limit=GROUP)
        with pytest.raises(NotConnected):
            await bridge.api("status")


@pytest.mark.parametrize(
    "sent",
    [
        pytest.param(b"Content-Length: 2\nContent-Type: text/event-json\n\n{}", id="a JSON event"),
        pytest.param(b"Content-Length: 4\nContent-Type: text/event-xml\n\n<e/>", id="an XML event"),
        pytest.param(b"Content-Type: log/data\nContent-Length: 5\nLog-Level: 7\n\nlog\n\n", id="a line of the log"),
        pytest.param(b"Content-Type: text/\xff\xfe\nContent-Length: 1\n\nx", id="bad UTF-8 in the outer headers"),
        pytest.param(
            b"Content-Type: text/disconnect-notice\nContent-Disposition: linger\nContent-Length: 7\n\nlinger\n",
            id="a notice that events follow",
        ),
    ],
)
async def test_what_was_not_asked_for_is_left_out(sent: bytes) -> None:
    async def script(switch: Connection) -> None:
        await switch.subscribe()
        await switch.send(event(body(1)) + sent + event(body(2)))

    async with bridged(script) as bridge:
        found, _ = await everything(bridge)
    assert found == [body(1), body(2)]
    assert bridge.foreign == (0 if b"linger" in sent else 1)


@pytest.mark.parametrize(
    ("value", "read"),
    [
        pytest.param(b"x%0ACC-Agent: mallory", "x\nCC-Agent: mallory", id="an encoded newline"),
        pytest.param(b"x%0D%0ACC-Agent: mallory", "x\r\nCC-Agent: mallory", id="CR LF"),
        pytest.param("x\u2028CC-Agent: mallory".encode(), "x\u2028CC-Agent: mallory", id="U+2028"),
        pytest.param(b"x\xc2\x85CC-Agent: mallory", "x\x85CC-Agent: mallory", id="next line"),
        pytest.param(b"x\x0b\x0c\x1cCC-Agent: mallory", "x\x0b\x0c\x1cCC-Agent: mallory", id="other separators"),
        pytest.param(b"\xff\xfe", "\ufffd\ufffd", id="bad UTF-8"),
    ],
)
async def test_a_display_name_is_one_value(value: bytes, read: str) -> None:
    sent = b"Event-Name: CUSTOM\nCaller-Caller-ID-Name: " + value + b"\nCC-Queue: 3000\n\n"

    async def script(switch: Connection) -> None:
        await switch.subscribe()
        await switch.send(event(sent))

    async with bridged(script) as bridge:
        (found,), _ = await everything(bridge)
    headers = PlainHeaders(found)
    assert found == sent
    assert headers.get("Caller-Caller-ID-Name") == read
    assert headers.get("CC-Queue") == "3000"
    assert headers.get("CC-Agent") is None


# -- commands ----------------------------------------------------------------------------------------------------------


def commanding(rest: Script) -> Script:
    """The first connection is for events and goes on; `rest` is what becomes of an authenticated second one."""
    first: list[Connection] = []

    async def script(switch: Connection) -> None:
        if not first:
            first.append(switch)
            await switch.subscribe()
            await switch.gone()
            return
        await switch.authenticate()
        await rest(switch)

    return script


async def closes_instead_of_answering(switch: Connection) -> None:
    await switch.command()


async def resets_instead_of_answering(switch: Connection) -> None:
    await switch.command()
    await switch.reset()


async def never_answers(switch: Connection) -> None:
    await switch.gone()


async def answers_half(switch: Connection) -> None:
    await switch.command()
    await switch.send(response("true")[:-2])


@pytest.mark.parametrize(
    ("rest", "why"),
    [
        (closes_instead_of_answering, "closed the connection"),
        (resets_instead_of_answering, "reset"),
        (never_answers, "did not answer"),
        (answers_half, "within a frame"),
    ],
)
async def test_a_command_that_gets_no_answer_fails_and_the_events_go_on(rest: Script, why: str) -> None:
    async with bridged(commanding(rest), idle_seconds=LONG_SECONDS) as bridge:
        for _ in range(2):  # each time on a connection of its own
            with pytest.raises(NotConnected, match=why):
                await bridge.api("uuid_exists 1", timeout=0.3)
        assert bridge.buffered == 0


async def test_an_answer_that_is_no_utf_8() -> None:
    async def rest(switch: Connection) -> None:
        await switch.command()
        await switch.send(b"Content-Type: api/response\nContent-Length: 3\n\n\xffok")
        await switch.gone()

    async with bridged(commanding(rest), idle_seconds=LONG_SECONDS) as bridge:
        assert await bridge.api("status") == "\ufffdok"


async def test_a_late_answer_is_not_taken_for_that_of_the_next_command() -> None:
    async def rest(switch: Connection) -> None:
        asked = await switch.command()
        await asyncio.sleep(0.3 if asked.endswith("slow") else 0)
        await switch.send(response(asked))
        await switch.gone()

    async with bridged(commanding(rest), idle_seconds=LONG_SECONDS) as bridge:
        with pytest.raises(NotConnected, match="did not answer"):
            await bridge.api("slow", timeout=0.1)
        assert await bridge.api("fast") == "api fast"


# -- pressure ----------------------------------------------------------------------------------------------------------


async def test_a_flood_meets_a_slow_consumer_and_nothing_is_lost() -> None:
    """64 MB of events, 1 MB at most held here: the switch is held back by TCP, also for longer than the idle time."""
    total, size = 16_000, 4_096
    bodies = [(b"%08d" % number) * (size // 8) for number in range(total)]
    sent, received = blake2b(), blake2b()
    progress = [0]

    async def script(switch: Connection) -> None:
        await switch.subscribe()
        for each in bodies:
            await switch.send(event(each))
            sent.update(each)
            progress[0] += 1

    async with EventSocketServer(script=script) as server:
        bridge = Bridge(
            host="127.0.0.1",
            port=server.port,
            password=PASSWORD,
            subscription="event plain ALL",
            idle_seconds=IDLE_SECONDS,
            max_events=10,
        )
        await bridge.start()
        await until(lambda: bridge.pauses)
        await asyncio.sleep(IDLE_SECONDS * 2)
        held = bridge.buffered
        stuck = progress[0]
        assert stuck < total
        await asyncio.sleep(0.05)
        assert progress[0] == stuck
        assert bridge.buffered == held
        most_held = 0
        try:
            while True:
                for each in await bridge.take(limit=7):
                    received.update(each)
                most_held = max(most_held, bridge.buffered)
        except NotConnected as ended:
            assert "closed the connection" in str(ended)  # noqa: PT017 - it ends the loop
        assert await bridge.stop()
    assert most_held * size < 1_000_000
    assert sent.digest() == received.digest()
    assert bridge.pauses > 1


async def test_events_that_are_held_back_do_not_hold_back_commands() -> None:
    async with EventSocketServer(answers={"status": "UP\n"}) as server:
        bridge = Bridge(
            host="127.0.0.1",
            port=server.port,
            password=PASSWORD,
            subscription="event plain ALL",
            idle_seconds=LONG_SECONDS,
            max_events=1,
        )
        await bridge.start()
        saying = asyncio.create_task(server.say(*[b"x" * 100_000] * 100))
        await until(lambda: bridge.pauses)
        assert await bridge.api("status") == "UP\n"
        saying.cancel()
        await asyncio.wait({saying})
        assert await bridge.stop()


async def test_a_heartbeat_keeps_a_link_alive() -> None:
    async with EventSocketServer() as server:
        bridge = bridge_to(server.port, idle_seconds=IDLE_SECONDS)
        await bridge.start()
        for _ in range(6):
            await asyncio.sleep(IDLE_SECONDS / 2)
            await server.say(HEARTBEAT)
            assert await bridge.take(limit=GROUP) == [HEARTBEAT]
        assert await bridge.stop()


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))
