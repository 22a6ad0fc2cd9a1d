"""The captured lines of real PBXs, each with the layout of its group: what each one means, checked by hand."""

from __future__ import annotations

from typing import Any, NamedTuple

import pytest

from cdrhub.errors import DecodeError, Reason
from cdrhub.model.call import Call
from cdrhub.model.disposition import Direction, Disposition
from cdrhub.sources.threecx.config import ThreeCXSettings
from cdrhub.sources.threecx.layout import STANDARD_20, STANDARD_27
from support.threecx import Captured, call_of, captured, entries

LINES = {line.number: line for line in captured()}
QUEUES = entries(queue=["611", "612", "610", "615"], conference=["700"])


class Row(NamedTuple):
    """What a captured line means; `seconds` are wait, ring, talk, duration; `legs` are key=outcome in order."""

    number: int
    direction: str
    disposition: str
    ended_by: str | None
    agent: str | None
    queue: str | None
    answered: str | None
    seconds: tuple[int | None, int | None, int | None, int | None]
    legs: str


ROWS = [
    Row(
        1,
        "outbound",
        "answered",
        "callee",
        "114",
        None,
        "07:53:42",
        (None, 31, 56, 88),
        "customer=answered agent:114=answered",
    ),
    Row(
        2,
        "inbound",
        "answered",
        "caller",
        "194",
        None,
        None,
        (None, None, None, 224),
        "other:Ext.611=unknown agent:194=answered",
    ),
    Row(
        3,
        "inbound",
        "answered",
        "caller",
        "601",
        None,
        None,
        (None, None, None, 225),
        "other:Ext.611=unknown agent:601=answered",
    ),
    Row(7, "internal", "answered", "caller", "195", None, "08:00:48", (None, 8, 395, 404), "agent:195=answered"),
    Row(8, "internal", "cancelled", "caller", None, None, None, (None, None, 0, 0), "other:PickupExt.125=unknown"),
    Row(
        9,
        "internal",
        "voicemail",
        "caller",
        None,
        None,
        None,
        (None, 20, 0, 23),
        "agent:125=no_answer voicemail:125=answered",
    ),
    Row(10, "internal", "ivr", "caller", None, None, None, (None, None, 0, 4), "ivr:EndCall=answered"),
    Row(13, "internal", "answered", "agent", "112", None, "08:22:49", (None, 3, 8, 12), "agent:112=answered"),
    Row(
        14,
        "inbound",
        "answered",
        "agent",
        "182",
        None,
        None,
        (None, None, None, 127),
        "other:Ext.611=unknown agent:182=answered",
    ),
    Row(16, "inbound", "answered", "caller", "615", None, "08:31:53", (None, 1, 1, 2), "agent:615=answered"),
    Row(17, "inbound", "ivr", "caller", None, None, None, (None, None, 0, 6), "ivr:EndCall=answered"),
    Row(18, "inbound", "abandoned", "caller", None, None, None, (None, None, 0, 0), "other:Ext.611=unknown"),
    Row(19, "outbound", "failed", "system", "182", None, None, (None, 2, 0, 2), "customer=failed agent:182=unknown"),
    Row(20, "inbound", "answered", "caller", "611", None, "09:08:47", (None, 1, 207, 208), "agent:611=answered"),
    Row(
        21,
        "internal",
        "answered",
        "agent",
        "125",
        None,
        "09:16:49",
        (None, 14, 441, 455),
        "agent:125=answered other:0229555417=unknown",
    ),
    Row(
        22,
        "outbound",
        "answered",
        "agent",
        "115",
        None,
        "08:53:54",
        (None, 3, 1922, 1925),
        "customer=answered agent:115=answered",
    ),
    Row(
        23,
        "inbound",
        "answered",
        "agent",
        "185",
        "612",
        None,
        (None, None, None, 1610),
        "queue:612=overflow other:Ext.610=unknown agent:185=answered",
    ),
    Row(24, "internal", "answered", "caller", "195", None, "09:42:07", (None, 4, 453, 457), "agent:195=answered"),
    Row(
        25,
        "outbound",
        "ivr",
        "system",
        "601",
        None,
        None,
        (None, None, 0, 7),
        "agent:601=unknown customer=failed ivr:EndCall=answered",
    ),
    Row(29, "inbound", "ivr", "system", None, None, None, (None, None, 0, 7), "ivr:EndCall=answered"),
    Row(30, "outbound", "failed", "system", "182", None, None, (None, None, 0, 0), "agent:182=unknown customer=failed"),
    Row(31, "inbound", "cancelled", "caller", None, None, None, (None, 10, 0, 10), "agent:106=cancelled"),
    Row(
        32,
        "internal",
        "voicemail",
        "caller",
        None,
        None,
        None,
        (None, 21, 0, 21),
        "agent:102=no_answer voicemail:102=answered",
    ),
    Row(
        33,
        "inbound",
        "answered",
        "caller",
        "610",
        "612",
        None,
        (None, None, None, 166),
        "queue:612=overflow agent:610=answered",
    ),
    Row(
        34,
        "outbound",
        "answered",
        "agent",
        "185",
        None,
        "06:48:16",
        (None, 18, 529, 547),
        "customer=answered agent:185=answered transfer:126=answered",
    ),
    Row(
        35,
        "inbound",
        "answered",
        "caller",
        "195",
        "612",
        None,
        (None, None, None, 164),
        "queue:612=overflow other:Ext.610=unknown other:Ext.185=unknown agent:195=answered",
    ),
    Row(
        37,
        "outbound",
        "answered",
        "agent",
        "185",
        None,
        "08:54:24",
        (None, 22, 9, 31),
        "customer=answered agent:185=answered other:Ext.110=unknown",
    ),
    Row(
        38,
        "inbound",
        "answered",
        "agent",
        "102",
        None,
        None,
        (None, None, None, 74),
        "other:Ext.615=unknown agent:102=answered",
    ),
    Row(
        39,
        "internal",
        "answered",
        "caller",
        "120",
        None,
        "09:13:05",
        (None, 10, 54, 65),
        "agent:120=answered transfer:102=answered",
    ),
    Row(40, "inbound", "abandoned", "system", None, None, None, (None, None, 0, 1), "other:Ext.611=unknown"),
    Row(41, "internal", "answered", "caller", "700", None, "12:30:04", (None, 0, 843, 844), "agent:700=answered"),
    Row(42, "inbound", "cancelled", "caller", None, None, None, (None, 0, 0, 0), "agent:611=cancelled"),
    Row(
        44,
        "outbound",
        "answered",
        "callee",
        "125",
        None,
        "10:00:27",
        (None, 4, 3796, 3800),
        "customer=answered agent:125=answered",
    ),
    Row(
        46,
        "internal",
        "failed",
        "system",
        None,
        None,
        None,
        (None, None, 0, 1),
        "agent:183=unknown other:Appels Externes=unknown",
    ),
    Row(47, "internal", "answered", "caller", "318", None, "09:10:59", (None, 6, 169, 175), "agent:318=answered"),
    Row(50, "internal", "cancelled", "caller", None, None, None, (None, 5, 0, 5), "agent:196=cancelled"),
    Row(
        51,
        "outbound",
        "answered",
        "callee",
        "114",
        None,
        "12:17:03",
        (None, 22, 0, 22),
        "customer=answered agent:114=answered",
    ),
    Row(
        53,
        "outbound",
        "answered",
        "agent",
        "10016",
        None,
        "05:59:58",
        (None, 9, 25, 34),
        "customer=answered agent:10016=answered",
    ),
    Row(
        54,
        "inbound",
        "answered",
        "agent",
        "10013",
        "Partnersupport",
        None,
        (None, None, None, 498),
        "queue:80002=answered agent:10013=answered",
    ),
    Row(
        55,
        "inbound",
        "answered",
        "caller",
        "504",
        "960",
        None,
        (None, None, None, 337),
        "queue:960=overflow other:Ext.963=unknown other:Ext.509=unknown agent:504=answered",
    ),
    Row(56, "inbound", "ivr", "caller", None, None, None, (None, None, 0, 22), "ivr:8000=answered"),
    Row(57, "inbound", "ivr", "system", None, None, None, (None, None, 0, 1), "ivr:5964=answered"),
    Row(59, "inbound", "ivr", "caller", None, None, None, (None, None, 0, 5), "ivr:5964=answered"),
    Row(
        61,
        "inbound",
        "cancelled",
        "caller",
        None,
        None,
        None,
        (None, None, 0, 8),
        "ivr:5964=answered other:588309190=unknown",
    ),
    Row(
        62, "outbound", "failed", "system", "1000", None, None, (None, 30, 0, 30), "customer=failed agent:1000=unknown"
    ),
    Row(
        63,
        "outbound",
        "answered",
        "agent",
        "1000",
        None,
        "04:58:08",
        (None, 46, 10, 56),
        "customer=answered agent:1000=answered",
    ),
    Row(
        66,
        "inbound",
        "answered",
        "caller",
        "7930",
        None,
        None,
        (None, None, None, 36),
        "ivr:8003=answered agent:7930=answered",
    ),
    Row(
        67, "inbound", "failed", "system", None, None, None, (None, None, 0, 70), "ivr:8000=answered other:175=unknown"
    ),
    Row(72, "inbound", "ivr", "caller", None, None, None, (None, None, 0, 9), "ivr:5964=answered ivr:8000=answered"),
    Row(
        77, "inbound", "failed", "system", None, None, None, (None, None, 0, 3), "agent:1000=unknown other:175=unknown"
    ),
    Row(
        78, "inbound", "failed", "system", None, None, None, (None, None, 0, 42), "ivr:8000=answered other:175=unknown"
    ),
    Row(86, "internal", "failed", "system", None, None, None, (None, None, 0, 0), ""),
    Row(
        87,
        "inbound",
        "cancelled",
        "caller",
        None,
        None,
        None,
        (None, None, 0, 128),
        "ivr:8000=answered agent:1000=cancelled",
    ),
    Row(
        88,
        "inbound",
        "abandoned",
        "caller",
        None,
        "Name 2",
        None,
        (None, None, 0, 205),
        "ivr:8004=answered queue:8008=abandoned agent:8819=no_answer agent:8820=no_answer "
        "agent:8819/2=no_answer agent:8820/2=no_answer agent:8820/3=no_answer "
        "agent:8819/3=no_answer agent:8820/4=no_answer agent:8819/4=no_answer "
        "agent:8820/5=no_answer",
    ),
    Row(
        89,
        "inbound",
        "abandoned",
        "caller",
        None,
        "Name 2",
        None,
        (None, None, 0, 99),
        "ivr:8004=answered queue:8008=abandoned agent:8819=no_answer agent:8820=no_answer "
        "agent:8819/2=no_answer agent:8820/2=no_answer",
    ),
    Row(
        91,
        "inbound",
        "answered",
        "agent",
        "1000",
        None,
        None,
        (None, None, None, 143),
        "ivr:8000=answered agent:1000=answered",
    ),
    Row(
        93,
        "inbound",
        "cancelled",
        "caller",
        None,
        None,
        None,
        (None, None, 0, 59),
        "ivr:8000=answered agent:1000=cancelled",
    ),
    Row(
        96, "inbound", "failed", "system", None, None, None, (None, None, 0, 33), "ivr:8000=answered agent:1000=failed"
    ),
    Row(
        98,
        "inbound",
        "answered",
        "agent",
        "1000",
        None,
        None,
        (None, None, None, 214),
        "ivr:8000=answered agent:1000=answered",
    ),
    Row(
        105,
        "inbound",
        "no_answer",
        "system",
        None,
        None,
        None,
        (None, None, 0, 110),
        "ivr:8000=answered agent:1000=no_answer",
    ),
    Row(
        109,
        "internal",
        "voicemail",
        "caller",
        None,
        None,
        None,
        (None, 20, 0, 24),
        "agent:7674=no_answer voicemail:7674=answered",
    ),
    Row(
        111,
        "inbound",
        "abandoned",
        "system",
        None,
        "Name 2",
        None,
        (None, None, 0, 37),
        "ivr:5966=answered queue:8008=timeout",
    ),
    Row(112, "inbound", "ivr", "caller", None, None, None, (None, None, 0, 47), "ivr:5966=answered ivr:8004=answered"),
    Row(
        113, "inbound", "failed", "system", None, None, None, (None, None, 0, 64), "ivr:8000=answered other:175=unknown"
    ),
    Row(
        114,
        "outbound",
        "unknown",
        None,
        "1001",
        None,
        None,
        (None, None, None, None),
        "customer=unknown agent:1001=unknown",
    ),
    Row(115, "inbound", "cancelled", "caller", None, None, None, (None, None, 0, 11), "other:5964=unknown"),
    Row(
        117,
        "internal",
        "answered",
        "agent",
        "111",
        None,
        None,
        (None, None, None, 19),
        "agent:111=answered agent:124=answered",
    ),
    Row(118, "outbound", "not_dialled", "system", "114", None, None, (None, None, 0, 0), "agent:114=failed"),
    Row(
        119,
        "outbound",
        "failed",
        "system",
        "195",
        None,
        None,
        (None, None, 0, 19),
        "agent:195=not_bridged customer=failed",
    ),
    Row(120, "internal", "failed", "system", None, None, None, (None, None, 0, 16), "agent:195=failed"),
    Row(121, "internal", "cancelled", "system", None, None, None, (None, None, 0, 15), "agent:185=lost_race"),
    Row(122, "internal", "no_answer", "system", None, None, None, (None, 17, 0, 17), "agent:112=no_answer"),
    Row(
        123,
        "internal",
        "cancelled",
        "caller",
        None,
        None,
        None,
        (None, None, 0, 20),
        "agent:146=no_answer agent:999=cancelled",
    ),
]


def _call(line: Captured, **settings: Any) -> Call:
    return call_of(line.body, settings=ThreeCXSettings(fields=line.layout, **settings))


def _legs(call: Call) -> str:
    return " ".join(f"{leg.leg_key}={leg.outcome}" for leg in call.legs)


def test_there_are_123_lines() -> None:
    assert len(LINES) == 123


@pytest.mark.parametrize("number", LINES)
def test_every_line_becomes_a_call_that_can_be(number: int) -> None:
    call = _call(LINES[number])
    assert call.direction != Direction.UNKNOWN
    assert call.started_at is not None
    assert call.disposition != Disposition.UNKNOWN or len(LINES[number].layout) == 3
    if call.answered_at is not None and call.ended_at is not None:
        assert call.started_at <= call.answered_at <= call.ended_at
        assert call.disposition == Disposition.ANSWERED
    if call.disposition == Disposition.ANSWERED:
        assert call.agent_id is not None
        assert call.talk_seconds is not None or "talk_includes_wait" in call.flags
    elif call.disposition != Disposition.UNKNOWN:
        assert call.talk_seconds == 0
        assert call.answered_at is None
    assert len({leg.leg_key for leg in call.legs}) == len(call.legs)
    assert ("unmapped_word" in call.flags) == (number >= 117), "the edited group has placeholders as types"


@pytest.mark.parametrize("row", ROWS, ids=lambda row: str(row.number))
def test_a_line_means_what_it_means(row: Row) -> None:
    call = _call(LINES[row.number])
    assert (
        Row(
            row.number,
            call.direction,
            call.disposition or "",
            call.ended_by,
            call.agent_id,
            call.queue,
            f"{call.answered_at:%H:%M:%S}" if call.answered_at else None,
            (call.wait_seconds, call.ring_seconds, call.talk_seconds, call.duration_seconds),
            _legs(call),
        )
        == row
    )


@pytest.mark.parametrize(
    ("number", "disposition", "queue", "agent", "legs"),
    [
        (2, "answered", "611", "194", "queue:611=answered agent:194=answered"),
        (16, "abandoned", "615", None, "queue:615=abandoned"),
        (20, "abandoned", "611", None, "queue:611=abandoned"),
        (23, "answered", "610", "185", "queue:612=overflow queue:610=answered agent:185=answered"),
        (33, "abandoned", "610", None, "queue:612=overflow queue:610=abandoned"),
        (
            35,
            "answered",
            "610",
            "195",
            "queue:612=overflow queue:610=answered other:Ext.185=unknown agent:195=answered",
        ),
        (40, "abandoned", "611", None, "queue:611=timeout"),
        (42, "abandoned", "611", None, "queue:611=abandoned"),
        (41, "answered", None, None, "conference:700=answered"),
    ],
)
def test_the_directory_says_what_a_20_column_line_does_not(
    number: int, disposition: str, queue: str | None, agent: str | None, legs: str
) -> None:
    call = _call(LINES[number], entries=QUEUES)
    assert (call.disposition, call.queue, call.agent_id, _legs(call)) == (disposition, queue, agent, legs)
    assert "kind_assumed" not in call.flags
    if queue is not None:
        assert call.answered_at is None, "time-answered is the queue's"
        assert call.wait_seconds is None
        assert call.queued_at == call.started_at


@pytest.mark.parametrize("number", [n for n, line in LINES.items() if line.layout in (STANDARD_20, STANDARD_27)])
def test_the_standard_layouts_need_no_configuration(number: int) -> None:
    assert call_of(LINES[number].body) == _call(LINES[number])


@pytest.mark.parametrize("number", [n for n, line in LINES.items() if line.layout not in (STANDARD_20, STANDARD_27)])
def test_another_layout_is_noticed_also_where_its_count_is_a_standard_one(number: int) -> None:
    with pytest.raises(DecodeError) as caught:
        call_of(LINES[number].body)
    expected = Reason.BAD_VALUE if len(LINES[number].layout) == 20 else Reason.WRONG_FIELD_COUNT
    assert caught.value.reason == expected
    assert "`fields`" in caught.value.detail


def test_callid_shows_that_the_edited_group_is_two_hours_off() -> None:
    for number in range(117, 124):
        call = _call(LINES[number])
        assert call.attributes["clock_offset_minutes"] == 120
        right = _call(LINES[number], timezone="Europe/Paris")
        assert "clock_suspect" not in right.flags
    assert not any("clock_suspect" in _call(LINES[number]).flags for number in range(1, 117))


def test_numbers_names_cost_and_trunk() -> None:
    outbound = _call(LINES[53], region="SE")
    assert (outbound.caller_number, outbound.callee_number) == ("Ext.10016", "+46711236282")
    assert (outbound.caller_name, outbound.callee_name, outbound.agent_name) == ("Backup no2", None, "Backup no2")
    assert (str(outbound.cost), outbound.currency, outbound.trunk) == ("0.4300", None, "10020")
    queue = _call(LINES[54])
    assert (queue.queue, queue.queue_id, queue.agent_name, queue.trunk) == (
        "Partnersupport",
        "80002",
        "Måns 1",
        "10020",
    )
    ivr = _call(LINES[56])
    assert (ivr.caller_name, ivr.callee_name) == (None, "WelcomeMessage")
    assert ivr.attributes["inbound-rule"] == "Main Number"
    french = _call(LINES[1], region="FR")
    assert (french.callee_e164, french.external_number) == ("+33266904995", "+33266904995")
