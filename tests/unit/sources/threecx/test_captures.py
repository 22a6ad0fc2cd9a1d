"""The captured lines of real PBXs, each with the layout of its group: what each one means, checked by hand."""

from __future__ import annotations

from typing import Any

import pytest

from cdrhub.errors import DecodeError, Reason
from cdrhub.model.call import Call
from cdrhub.model.disposition import Direction, Disposition
from cdrhub.sources.threecx.config import ThreeCXSettings
from cdrhub.sources.threecx.layout import STANDARD_20, STANDARD_27
from support.threecx import Captured, call_of, captured, entries
from support.threecx_expected import ROWS, Row

LINES = {line.number: line for line in captured()}
QUEUES = entries(queue=["611", "612", "610", "615"], conference=["700"])


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
