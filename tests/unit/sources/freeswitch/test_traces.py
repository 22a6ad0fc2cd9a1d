"""Every recorded call of a real FreeSWITCH gives what the script that drove the phones wrote down, whether the switch
told of it by plain events, by JSON events, by CDR documents or by several of them."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import orjson
import pytest

from cdrhub.model.call import Call
from cdrhub.model.disposition import Disposition, EndedBy, Outcome, Role, State
from cdrhub.model.fold import fold
from support.freeswitch import CAPTURES, calls_of, updates_of

EXPECTED = orjson.loads((CAPTURES / "expected.json").read_bytes())
EVENTS = ("plain.esl", "json.esl")
WAYS: tuple[tuple[str, ...], ...] = (
    ("plain.esl",),
    ("json.esl",),
    ("json_cdr.json",),
    ("xml_cdr.xml",),
    ("channels.esl",),
    ("plain.esl", "json_cdr.json"),
    ("json_cdr.json", "plain.esl", "json.esl"),
)
LIVES_ON = {"04-timeout", "08-blind-transfer"}
"""Scenarios in which the caller's channel outlives the queue: callcenter events alone do not tell its end."""


def cases(kind: str) -> list[Any]:
    found = []
    for scenario, expected in EXPECTED.items():
        for way in WAYS:
            files = tuple(f"{scenario}.{suffix}" for suffix in way)
            if kind in expected and all((CAPTURES / file).exists() for file in files):
                found += [
                    pytest.param(scenario, files, mode, id="+".join(files) + f"-{mode}") for mode in ("queue", "all")
                ]
    return found


def near(moment: datetime | None, epoch: int | None) -> bool:
    """Within one second of a whole second of the far end, rounded down."""
    if moment is None or epoch is None:
        return moment is None and epoch is None
    return -1 <= moment.timestamp() - epoch < 2


def told(scenario: str, files: tuple[str, ...]) -> bool:
    """Whether these files hold the end of the caller's channel."""
    return scenario not in LIVES_ON or any("cdr" in file or "channels" in file for file in files)


@pytest.mark.parametrize(("scenario", "files", "mode"), cases("calls"))
def test_a_queue_call(scenario: str, files: tuple[str, ...], mode: str) -> None:
    calls = calls_of(*files, calls=mode)
    expected = {call["member_session_uuid"]: call for call in EXPECTED[scenario]["calls"]}
    assert set(calls) == set(expected)
    for key, call in calls.items():
        _check(call, expected[key], ended=told(scenario, files))


def _check(call: Call, expected: dict[str, Any], *, ended: bool) -> None:
    assert call.direction == "inbound"
    assert (call.caller_number, call.caller_name) == (expected["caller_number"], expected["caller_name"])
    assert call.dialed_number == call.did == call.callee_number == expected["dialled"]
    assert call.queue == expected["queue"]
    assert (call.agent_id, call.agent_extension) == (expected["agent"], expected["agent_extension"])
    assert near(call.queued_at, expected["joined"])
    assert near(call.answered_at, expected["answer"])
    left = expected["answer"] or expected["end"]
    assert call.wait_seconds is not None
    assert abs(call.wait_seconds - (left - expected["joined"])) <= 1
    if expected["answered"]:
        assert call.ring_seconds is not None
        assert abs(call.ring_seconds - (expected["answer"] - expected["ring"])) <= 1
    else:
        assert call.ring_seconds is None
    (queue,) = [leg for leg in call.legs if leg.role == Role.QUEUE]
    if expected["answered"]:
        assert queue.outcome == Outcome.ANSWERED
        assert near(queue.left_at, expected.get("agent_leg_gone", expected["end"]))
    else:
        assert queue.cause == expected["cancel_reason"]
        assert queue.outcome == {"BREAK_OUT": Outcome.ABANDONED, "TIMEOUT": Outcome.TIMEOUT}[expected["cancel_reason"]]
        assert near(queue.left_at, expected["end"])
    _check_attempts(call, expected["attempts"])
    assert "conflict" not in call.flags
    if not ended:
        assert (call.state, call.disposition, call.ended_at) == (call.state, None, None)
        assert call.state in (State.ANSWERED, State.QUEUED)
        return
    assert call.state == State.ENDED
    assert call.disposition == ("answered" if expected["answered"] else "abandoned")
    assert near(call.ended_at, expected.get("caller_hung_up", expected["end"]))
    assert call.ended_by == ("caller" if "caller_hung_up" in expected else expected["ended_by"])
    assert call.cause == "NORMAL_CLEARING"
    talk = 0
    if expected["answered"]:
        talk = expected["end"] - expected["answer"]
        talk += expected.get("caller_hung_up", 0) - expected.get("transfer_answered", 0)
    assert call.talk_seconds is not None
    assert abs(call.talk_seconds - talk) <= 1
    assert call.duration_seconds is not None
    assert abs(call.duration_seconds - int(expected["cdr"]["duration"])) <= 1


def _check_attempts(call: Call, expected: list[dict[str, Any]]) -> None:
    outcomes = {
        "answered": Outcome.ANSWERED,
        "no answer": Outcome.NO_ANSWER,
        "cancelled (caller gave up while it rang)": Outcome.CANCELLED,
    }
    agents = [leg for leg in call.legs if leg.role == Role.AGENT]
    assert [leg.agent_id for leg in agents] == [attempt["agent"] for attempt in expected]
    for leg, attempt in zip(agents, expected, strict=True):
        assert leg.outcome == outcomes[attempt["result"]]
        assert leg.agent_extension in (attempt["extension"], None)
        assert leg.agent_extension or leg.outcome != Outcome.ANSWERED
        assert near(leg.offered_at, attempt["ring"])
        assert near(leg.left_at, attempt["end"])


@pytest.mark.parametrize(("scenario", "files", "mode"), cases("jobs"))
def test_a_click_to_call(scenario: str, files: tuple[str, ...], mode: str) -> None:
    calls = calls_of(*files, calls=mode)
    (expected,) = EXPECTED[scenario]["jobs"]
    (call,) = calls.values()
    outcome, agent_first = expected["outcome"], expected["kind"] == "agent first"
    assert call.call_key == expected["origination_uuid"]
    assert (call.direction, call.state) == ("outbound", State.ENDED)
    assert call.callee_number == expected["customer"]
    assert call.wait_seconds is None
    assert (
        call.disposition
        == {
            "answered": Disposition.ANSWERED,
            "busy": Disposition.BUSY,
            "no-answer": Disposition.NO_ANSWER,
            "rejected": Disposition.REJECTED,
            "agent-no-answer": Disposition.NOT_DIALLED,
        }[outcome]
    )
    assert near(call.ended_at, expected["end"])
    dialled_agent = agent_first or outcome == "answered"
    assert call.agent_extension == (expected["agent_extension"] if dialled_agent else None)
    if outcome == "agent-no-answer":
        assert near(call.started_at, expected["agent_ring"])
        assert call.connected_at is call.answered_at is None
    else:
        assert near(call.started_at, expected["customer_ring"])
        joined = max(expected["customer_answer"], expected["agent_answer"]) if outcome == "answered" else None
        assert near(call.answered_at, joined)
        assert call.ring_seconds is not None
        assert (
            abs(call.ring_seconds - ((expected["customer_answer"] or expected["end"]) - expected["customer_ring"])) <= 1
        )
    if outcome == "answered":
        assert call.ended_by == {"agent": EndedBy.AGENT, "customer": EndedBy.CALLEE}[expected["ended_by"]]
        assert call.talk_seconds == expected["end"] - max(expected["customer_answer"], expected["agent_answer"])
    else:
        assert call.talk_seconds == 0


@pytest.mark.parametrize("scenario", [name for name, expected in EXPECTED.items() if "jobs" in expected])
def test_a_click_to_call_of_whose_second_channel_no_document_came(scenario: str) -> None:
    """mod_json_cdr leaves out the second channel by default (log-b-leg)."""
    whole = next(iter(calls_of(f"{scenario}.json_cdr.json", calls="all").values()))
    first = [update for update in updates_of(f"{scenario}.json_cdr.json", calls="all") if update.kind == "cdr:caller"]
    assert len(first) == 1
    call = fold(first)
    assert call.disposition == whole.disposition
    assert (call.call_key, call.callee_number) == (whole.call_key, whole.callee_number)
    if whole.disposition == Disposition.ANSWERED:
        assert call.ended_by == whole.ended_by


@pytest.mark.parametrize("scenario", [name for name, expected in EXPECTED.items() if "calls" in expected])
def test_the_callers_documents_alone_know_the_call(scenario: str) -> None:
    whole = calls_of(f"{scenario}.json_cdr.json")
    for update in updates_of(f"{scenario}.json_cdr.json"):
        if update.kind == "cdr:caller":
            call, full = fold([update]), whole[update.call_key]
            for column in ("disposition", "agent_id", "agent_extension", "queue", "talk_seconds", "wait_seconds"):
                assert getattr(call, column) == getattr(full, column), column
            assert call.final


@pytest.mark.parametrize(("first", "second"), [EVENTS, ("json_cdr.json", "xml_cdr.xml")])
@pytest.mark.parametrize("scenario", EXPECTED)
def test_two_encodings_of_one_thing_give_one_call(scenario: str, first: str, second: str) -> None:
    names = (f"{scenario}.{first}", f"{scenario}.{second}")
    if all((CAPTURES / name).exists() for name in names):
        assert calls_of(names[0]) == calls_of(names[1])
        assert calls_of(*names) == calls_of(names[0])


def test_a_blind_transfer_is_a_further_leg_of_the_same_call() -> None:
    for names in (("08-blind-transfer.channels.esl",), ("08-blind-transfer.json_cdr.json",)):
        for mode in ("queue", "all"):
            (call,) = calls_of(*names, calls=mode).values()
            queue, agent, transfer = call.legs
            assert [leg.role for leg in call.legs] == [Role.QUEUE, Role.AGENT, Role.TRANSFER]
            assert agent.parent_leg == queue.leg_key
            assert (transfer.outcome, transfer.number, transfer.agent_extension) == (Outcome.ANSWERED, "1003", "1003")
            assert near(transfer.answered_at, 1795249475)
            assert near(transfer.left_at, 1795249478)
            assert call.agent_id == "alice@default"
