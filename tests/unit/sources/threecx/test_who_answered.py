"""Who answered a call through a queue, a ring group or a forwarding, and whether anybody did."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import permutations

import pytest

from cdrhub.model.call import Call
from support.threecx import AGENT_LINE, COLLEAGUE_LINE, QUEUE_LINE, call_of, line_27


def told(call: Call) -> list[str]:
    """The flags, but for the one that every number has without a region."""
    return sorted(set(call.flags) - {"number_unparsed"})


QUEUE_ALONE = {
    "to_no": "Ext.611", "to_dn": "611", "dial_no": "611", "from_type": "provider", "to_type": "queue",
    "time_answered": "2026/03/02 08:00:00", "time_end": "2026/03/02 08:00:25", "duration": "00:00:25",
}  # fmt: skip


@pytest.mark.parametrize("reason", ["timeout", "src_participant_terminated", "redirected", "completed_elsewhere"])
def test_a_queue_whose_agent_answers_on_a_line_of_its_own_has_answered(reason: str) -> None:
    lines = [line_27(**QUEUE_ALONE, reason_terminated=reason), COLLEAGUE_LINE, AGENT_LINE]
    calls = {repr(call_of(*order)) for order in permutations(lines)}
    assert len(calls) == 1
    call = call_of(*lines)
    answer = datetime(2026, 3, 2, 8, 0, 25, tzinfo=UTC)
    queue = call.legs[0]
    assert (queue.leg_key, queue.outcome, queue.answered_at, queue.left_at) == ("queue:611", "answered", answer, answer)
    assert (call.disposition, call.queue_id, call.agent_id) == ("answered", "611", "101")
    assert (call.wait_seconds, call.talk_seconds) == (25, 60)


def test_of_two_queues_the_one_entered_last_before_the_answer_has_answered() -> None:
    first = line_27(**QUEUE_ALONE, reason_terminated="timeout")
    moved = QUEUE_ALONE | {"to_no": "Ext.612", "to_dn": "612", "time_start": "2026/03/02 08:00:10"}
    later = QUEUE_ALONE | {"to_no": "Ext.613", "to_dn": "613", "time_start": "2026/03/02 08:01:10"}
    call = call_of(
        first,
        line_27(**moved, reason_terminated="timeout"),
        AGENT_LINE,
        line_27(**later, reason_terminated="src_participant_terminated"),
    )
    assert [(leg.leg_key, leg.outcome) for leg in call.legs if leg.role == "queue"] == [
        ("queue:611", "timeout"),
        ("queue:612", "answered"),
        ("queue:613", "abandoned"),
    ]


def test_a_queue_that_nobody_answered_stays_lost() -> None:
    call = call_of(line_27(**QUEUE_ALONE, reason_terminated="timeout"), COLLEAGUE_LINE)
    assert (call.disposition, call.legs[0].outcome, call.legs[0].answered_at) == ("abandoned", "timeout", None)


def test_the_agents_own_line_tells_the_talk_from_the_wait() -> None:
    assert "talk_includes_wait" in call_of(QUEUE_LINE).flags
    call = call_of(QUEUE_LINE, AGENT_LINE)
    assert told(call) == []
    assert call.legs[0].answered_at == call.legs[0].left_at == call.answered_at


GROUP = {"from_type": "provider", "to_no": "Ext.800", "to_dn": "800", "to_type": "ring_group_ring_all"}


@pytest.mark.parametrize(
    ("reason", "ended_by"), [("src_participant_terminated", "caller"), ("TerminatedByDst", "agent")]
)
def test_a_connected_ring_group_was_answered_by_somebody(reason: str, ended_by: str) -> None:
    call = call_of(line_27(**GROUP, reason_terminated=reason))
    assert (call.disposition, call.agent_id, call.ended_by) == ("answered", None, ended_by)
    assert (call.talk_seconds, call.ring_seconds, call.wait_seconds) == (60, 5, None)
    assert call.answered_at == datetime(2026, 3, 2, 8, 0, 5, tzinfo=UTC)
    assert told(call) == ["agent_unknown"]
    assert [(leg.leg_key, leg.outcome) for leg in call.legs] == [("other:Ext.800", "answered")]


def test_a_ring_group_whose_agent_has_a_line_of_its_own() -> None:
    call = call_of(line_27(**GROUP, reason_terminated="TerminatedBySrc"), AGENT_LINE)
    assert (call.disposition, call.agent_id, call.talk_seconds, told(call)) == ("answered", "101", 60, [])


def test_a_member_of_a_ring_group_who_is_named_talked_from_the_answer() -> None:
    named = {"final_number": "Ext.101", "final_dn": "101", "final_type": "extension", "reason_changed": "ReplacedDst"}
    call = call_of(line_27(**GROUP, **named, reason_terminated="TerminatedBySrc"))
    assert (call.agent_id, call.talk_seconds, told(call)) == ("101", 60, [])


MOBILE = {"final_number": "0700112233", "final_dn": "10001", "final_type": "provider", "from_type": "provider"}


@pytest.mark.parametrize("change", ["Fwd_NoAnswer", "Fwd_Unconditional"])
@pytest.mark.parametrize(
    ("reason", "ended_by"), [("TerminatedBySrc", "caller"), ("dst_participant_terminated", "callee")]
)
def test_a_call_forwarded_to_an_outside_number_is_answered_there(change: str, reason: str, ended_by: str) -> None:
    call = call_of(line_27(**MOBILE, to_type="extension", reason_changed=change, reason_terminated=reason))
    assert (call.direction, call.disposition, call.agent_id, call.ended_by) == ("inbound", "answered", None, ended_by)
    assert (call.talk_seconds, call.ring_seconds, told(call)) == (60, None, ["answered_outside"])
    assert call.answered_at == datetime(2026, 3, 2, 8, 0, 5, tzinfo=UTC)


@pytest.mark.parametrize("to_type", ["queue", "ivr"])
def test_behind_a_queue_or_an_ivr_the_talk_of_one_outside_is_not_known(to_type: str) -> None:
    call = call_of(
        line_27(**MOBILE, to_type=to_type, reason_changed="ReplacedDst", reason_terminated="TerminatedBySrc")
    )
    assert (call.disposition, call.talk_seconds, call.answered_at) == ("answered", None, None)
    assert told(call) == ["answered_outside", "talk_includes_wait"]


@pytest.mark.parametrize(
    "fields",
    [
        {"duration": "00:00:00"},
        {"duration": "", "time_answered": ""},
        {"reason_terminated": "timeout"},
    ],
)
def test_what_was_not_connected_was_not_answered_outside_or_by_a_group(fields: dict[str, str]) -> None:
    said = {"reason_terminated": "TerminatedBySrc"} | fields
    disposition = "no_answer" if said["reason_terminated"] == "timeout" else "cancelled"
    for line in (
        line_27(**GROUP, **said),
        line_27(**MOBILE, to_type="extension", reason_changed="Fwd_NoAnswer", **said),
    ):
        call = call_of(line)
        assert (call.disposition, call.talk_seconds, call.answered_at) == (disposition, 0, None)
        assert told(call) == []


@pytest.mark.parametrize("reason", ["Failed", "Failed_Cancelled", "TerminatedBySrc"])
def test_who_transfers_in_vain_has_talked(reason: str) -> None:
    failed = {"reason_changed": "FailedBXferOfSrc", "final_number": "Ext.102", "final_dn": "102"}
    call = call_of(line_27(from_type="Line", to_type="Extension", reason_terminated=reason, **failed))
    assert (call.disposition, call.agent_id, call.talk_seconds, call.ring_seconds) == ("answered", "101", 60, 5)
    assert [leg.role for leg in call.legs if leg.outcome == "answered"] == ["agent"]
    menu = call_of(line_27(from_type="Line", to_type="Ivr", reason_terminated=reason, **failed))
    assert menu.disposition != "answered"
    silent = call_of(
        line_27(from_type="Line", to_type="Extension", reason_terminated=reason, duration="00:00:00", **failed)
    )
    assert silent.disposition != "answered"


@pytest.mark.parametrize("reason", ["declined", "dst_participant_terminated"])
def test_who_left_a_call_that_went_on_did_not_hang_it_up(reason: str) -> None:
    declined = COLLEAGUE_LINE.replace("timeout", reason)
    for lines in permutations((QUEUE_LINE, declined, AGENT_LINE)):
        assert call_of(*lines).ended_by == "caller"


BEHIND_THE_AGENT = {"final_number": "Ext.611", "final_dn": "611", "reason_changed": "ReplacedDst", "from_type": "Line"}


def test_a_queue_to_which_an_agent_sent_the_caller_did_not_answer_before() -> None:
    call = call_of(line_27(to_type="Extension", final_type="Queue", **BEHIND_THE_AGENT))
    assert [(leg.leg_key, leg.outcome) for leg in call.legs] == [("agent:101", "answered"), ("queue:611", "abandoned")]
    assert (call.disposition, call.agent_id, call.ring_seconds) == ("answered", "101", 5)


@pytest.mark.parametrize("final_type", ["Queue", "Ivr", "VMail"])
def test_the_wait_behind_an_agent_is_no_talk(final_type: str) -> None:
    call = call_of(line_27(to_type="Extension", final_type=final_type, **BEHIND_THE_AGENT))
    assert (call.disposition, call.talk_seconds, told(call)) == ("answered", None, ["talk_includes_wait"])


def test_a_mailbox_that_takes_over_on_a_line_of_its_own_rang_nobody_again() -> None:
    moments = {"time_start": "2026/03/02 08:00:17", "time_answered": "2026/03/02 08:00:17"}
    mailbox = line_27(to_no="Ext.999", to_dn="102", to_type="VMail", from_type="Line", **moments)
    call = call_of(COLLEAGUE_LINE, mailbox)
    assert call.disposition == "voicemail"
    assert [(leg.leg_key, leg.outcome, leg.ring_seconds) for leg in call.legs if leg.role == "agent"] == [
        ("agent:102", "no_answer", 15)
    ]


@pytest.mark.parametrize(("reason", "outcome"), [("TerminatedByDst", "abandoned"), ("TerminatedBySrc", "timeout")])
def test_a_customer_who_was_called_and_sent_to_a_queue_waits_there(reason: str, outcome: str) -> None:
    customer = {"to_no": "0266904995", "to_dn": "10001", "dial_no": "0266904995", "to_type": "Line"}
    queue = {"final_number": "Ext.611", "final_dn": "611", "final_type": "Queue", "reason_changed": "ReplacedSrc"}
    placed = {"from_no": "Ext.101", "from_dn": "101", "from_type": "Extension"}
    call = call_of(line_27(**placed, **customer, **queue, reason_terminated=reason))
    assert (call.direction, call.disposition, call.agent_id, call.queue_id) == ("outbound", "answered", "101", "611")
    assert (call.ring_seconds, call.talk_seconds, told(call)) == (5, None, ["talk_includes_wait"])
    assert [leg.outcome for leg in call.legs if leg.role == "queue"] == [outcome]
