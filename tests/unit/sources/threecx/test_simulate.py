"""The simulated PBX: believable lines, and a sender over a real socket."""

from __future__ import annotations

import asyncio
import socket
from collections import Counter
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any

import phonenumbers
import pytest

from cdrhub.model.numbers import NumberPlan, read_number
from cdrhub.sources.threecx.config import ThreeCXSettings
from cdrhub.sources.threecx.layout import STANDARD_20, STANDARD_27
from cdrhub.sources.threecx.simulate import CallidForm, lines, numbers, send
from support.threecx import call_of


@pytest.mark.parametrize("fields", [STANDARD_20, STANDARD_27], ids=["20", "27"])
@pytest.mark.parametrize("form", ["windows", "linux16", "linux20"])
def test_the_lines_are_calls_of_a_contact_centre(fields: tuple[str, ...], form: CallidForm) -> None:
    sample = list(islice(lines(7, fields=fields, callid=form), 400))
    calls = [call_of(line) for line in sample]
    assert [int(call.call_key.split("/")[0]) for call in calls] == list(range(1, 401))
    assert not any({"clock_suspect", "unmapped_word", "text_repaired"} & set(call.flags) for call in calls)
    directions = Counter(call.direction for call in calls)
    assert set(directions) == {"inbound", "outbound", "internal"}
    expected = {"answered", "abandoned", "voicemail", "cancelled", "failed", "busy", "no_answer"}
    if fields is STANDARD_27:
        assert expected | {"ivr"} <= {call.disposition for call in calls}
        assert any(leg.role == "transfer" for call in calls for leg in call.legs)


@pytest.mark.parametrize("region", ["FR", "NG", "US", "IL", "DE"])
def test_the_numbers_outside_are_valid_in_their_country(region: str) -> None:
    settings = ThreeCXSettings(region=region)
    calls = [call_of(line, settings=settings) for line in islice(lines(7, region=region), 200)]
    assert not any("number_unparsed" in call.flags for call in calls)
    outside = {call.caller_e164 or call.callee_e164 for call in calls if call.direction != "internal"}
    assert None not in outside
    assert len(outside) > 100


def test_every_country_has_numbers() -> None:
    for region in [*sorted(phonenumbers.SUPPORTED_REGIONS)[::25], "AR", "TA"]:
        assert all(read_number(number, NumberPlan(region=region)).e164 for number in numbers(region))
    with pytest.raises(ValueError, match="'XX' has no numbers: write a two-letter country such as 'NG'"):
        numbers("XX")


def test_queues_and_menus_are_known_without_a_directory() -> None:
    calls = [call_of(line) for line in islice(lines(7), 200)]
    assert {call.queue for call in calls} == {None, "Sales", "Support", "Billing"}
    assert not any("kind_assumed" in call.flags for call in calls)


def test_no_call_ends_in_the_future() -> None:
    now = datetime(2026, 3, 2, 12, 0, 0, 500_000, tzinfo=UTC)
    for line in islice(lines(7, now - timedelta(seconds=20), clock=lambda: now), 300):
        call = call_of(line)
        assert call.ended_at is not None
        assert call.ended_at <= now
        assert "clock_suspect" not in call.flags


def test_a_seed_gives_the_same_bytes() -> None:
    assert list(islice(lines(3), 50)) == list(islice(lines(3), 50))
    assert list(islice(lines(3), 50)) != list(islice(lines(4), 50))


class _Hub:
    """Takes what comes on a loopback port; closes a connection after `patience` bytes."""

    def __init__(self, patience: int | None = None) -> None:
        self.received = b""
        self.connections = 0
        self.over = asyncio.Event()  #: a sender closed its connection
        self._patience = patience

    async def take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        taken = 0
        while chunk := await reader.read(65_536):
            self.received += chunk
            taken += len(chunk)
            if self._patience is not None and taken >= self._patience and self.connections == 1:
                break
        else:
            self.over.set()
        writer.close()


async def _sent_to(hub: _Hub, **how: Any) -> Any:
    server = await asyncio.start_server(hub.take, "127.0.0.1", 0)
    async with server:
        sent = await send("127.0.0.1", server.sockets[0].getsockname()[1], **how)
        await hub.over.wait()
    return sent


async def test_the_sender_holds_one_connection_and_ends_each_record_with_cr_lf() -> None:
    hub = _Hub()
    sent = await _sent_to(hub, records=lines(1), amount=1_234)
    assert (sent.lines, sent.connections, hub.connections) == (1_234, 1, 1)
    assert hub.received == b"".join(islice(lines(1), 1_234))
    assert hub.received.count(b"\r\n") == 1_234


async def test_a_rate_and_a_duration_are_kept() -> None:
    hub = _Hub()
    sent = await _sent_to(hub, records=lines(1), rate=500.0, seconds=0.4)
    assert 0 < sent.lines <= 500 * sent.seconds
    assert hub.received == b"".join(islice(lines(1), sent.lines))


async def test_it_stops_when_the_records_are_used_up() -> None:
    hub = _Hub()
    sent = await _sent_to(hub, records=iter([b"Call 1\r\n", b"Call 2\r\n"]))
    assert sent.lines == 2


async def test_it_comes_back_when_the_hub_closed() -> None:
    hub = _Hub(patience=1)
    sent = await _sent_to(hub, records=lines(1), rate=200.0, amount=60)
    assert sent.lines == 60
    assert sent.connections == 2


async def test_it_tells_why_there_is_no_connection() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and does not listen
        told: list[OSError | None] = []
        sent = await send(
            "127.0.0.1", taken.getsockname()[1], records=lines(1), rate=10.0, seconds=0.1, trouble=told.append
        )
    assert sent.lines == 0
    assert isinstance(told[0], ConnectionRefusedError)


async def test_it_tells_that_the_hub_closed() -> None:
    told: list[OSError | None] = []
    await _sent_to(_Hub(patience=1), records=lines(1), rate=200.0, amount=60, trouble=told.append)
    assert len(told) == 1
    assert told[0] is None or isinstance(told[0], ConnectionError)
