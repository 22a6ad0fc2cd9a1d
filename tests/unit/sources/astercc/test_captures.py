"""Every published and constructed file gives the calls that were written down for it by hand."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import orjson
import pytest

from cdrhub.model.agent import AgentState
from cdrhub.model.call import Call
from cdrhub.model.disposition import Role
from cdrhub.model.fold import fold
from cdrhub.model.update import CallUpdate, Ignored
from support.astercc import CAPTURES, bodies_of, decoded

EXPECTED = orjson.loads((CAPTURES / "expected.json").read_bytes())


def moment(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None


@pytest.mark.parametrize("case", EXPECTED["cases"], ids=lambda case: case["name"])
def test_a_case(case: dict[str, Any]) -> None:
    said = [decoded(body) for name in case["files"] for body in bodies_of(name)]
    updates = [update for update in said if isinstance(update, CallUpdate)]
    if "ignored" in case:
        assert sum(isinstance(one, AgentState | Ignored) for one in said) == case["ignored"]
    keys = {update.call_key for update in updates}
    calls = [fold([update for update in updates if update.call_key == key]) for key in keys]
    opened = [call for call in calls if call.opened]
    assert len(opened) == len(case["calls"])
    for call, expected in zip(opened, case["calls"], strict=True):
        _check(call, expected)


def _check(call: Call, expected: dict[str, Any]) -> None:
    assert call.call_key == expected["ids"]["sessionid"]
    assert (call.caller_number, call.callee_number) == (expected["caller"], expected["callee"])
    assert (call.agent_id, call.queue, call.did) == (expected["agent"], expected["queue"], expected["did"])
    assert call.direction == expected["direction"]
    assert call.disposition == "answered"
    assert call.ended_by == ("callee" if "customer" in expected["disposition"] else "caller")
    assert call.started_at == moment(expected["start_utc"])
    assert call.answered_at == moment(expected["answer_utc"])
    assert call.ended_at == moment(expected["end_utc"])
    assert (call.wait_seconds, call.ring_seconds) == (expected["wait_seconds"], expected["ring_seconds"])
    assert call.talk_seconds == expected["talk_seconds"]
    assert call.contact_ref == expected.get("userdata")
    assert "conflict" not in call.flags
    agents = [leg for leg in call.legs if leg.role == Role.AGENT]
    for leg, attempt in zip(agents, expected.get("attempts", agents), strict=True):
        if isinstance(attempt, dict):
            assert leg.agent_id == attempt["agent"]
            assert (leg.outcome == "answered") == attempt["answered"]
            assert leg.offered_at == moment(attempt["start_utc"])
            assert leg.left_at == moment(attempt.get("end_utc")) or attempt["answered"]
