"""What the script that drove the phones wrote down of each recorded call, and a call beside it.

`call` is a `Call` of the fold, or a row of the database with its rows of `call_legs` as `legs`.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

import orjson

from cdrhub.model.disposition import Disposition, EndedBy, Outcome, Role, State
from support.freeswitch import CAPTURES

EXPECTED: dict[str, Any] = orjson.loads((CAPTURES / "expected.json").read_bytes())
LIVES_ON = {"04-timeout", "08-blind-transfer"}
"""Scenarios in which the caller's channel outlives the queue: callcenter events alone do not tell its end."""


def near(moment: datetime | None, epoch: int | None) -> bool:
    """Within one second of a whole second of the far end, rounded down."""
    if moment is None or epoch is None:
        return moment is None and epoch is None
    return -1 <= moment.timestamp() - epoch < 2


def check_queue_call(call: Any, expected: dict[str, Any], *, ended: bool) -> None:
    """`ended`: whether the records told the end of the caller's channel."""
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


def _check_attempts(call: Any, expected: list[dict[str, Any]]) -> None:
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


def check_click_to_call(call: Any, expected: dict[str, Any]) -> None:
    """A call that the switch placed."""
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
