"""Every decision is a sentence that a newcomer understands: what happened, what followed, why."""

from __future__ import annotations

import re
from datetime import UTC
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

import cdrhub.redial
from cdrhub.redial.decision import Decision, Result
from cdrhub.redial.policy import RULES
from cdrhub.redial.wording import (
    decision_in_words,
    in_words,
    inputs_in_words,
    reason_in_words,
    rule_in_words,
)
from support.redial import FIRST, NOON, number

CODE = "\n".join(path.read_text("utf-8") for path in Path(cdrhub.redial.__file__).parent.glob("*.py"))


def decision(**values: Any) -> dict[str, Any]:
    known: dict[str, Any] = {
        "cause": "call",
        "result": "next",
        "rule": "first_untried",
        "detail": "",
        "mode": "on",
        "attempt_id": "a",
        "number": FIRST,
        "inputs": {},
    }
    return known | values


@pytest.mark.parametrize(
    ("row", "said"),
    [
        (
            decision(
                inputs={"disposition": "no_answer", "ended_at": "2026-11-18T12:00:00+00:00", "next_number": "+2341"}
            ),
            f"the call to {FIRST} ended at 2026-11-18 12:00:00 UTC as no_answer: +2341 is to be dialled now, because "
            "it is the first number not yet tried in this round that no rule objects to",
        ),
        (
            decision(
                cause="order", number=None, inputs={"agent": "101", "next_number": "+2341", "hindrance": "observed"}
            ),
            "an order to dial came for agent 101: +2341 would be dialled now, because it is the first number not yet "
            "tried in this round that no rule objects to; but the case is paused: the mode is observe, in which "
            "nothing is dialled",
        ),
        (
            decision(
                result="exhausted", rule="none_left", detail="every number was tried", inputs={"disposition": "busy"}
            ),
            f"the call to {FIRST} ended as busy: the case is exhausted, because no number is left in this round (every "
            "number was tried)",
        ),
        (
            decision(
                cause="refusal",
                result="scheduled",
                rule="agent_retry",
                detail="attempt 1 of 4 failed before the number was dialled",
                inputs={"refusal": "agent", "next_number": "+2341", "due_at": "2026-11-18T12:01:00+00:00"},
            ),
            f"the dialler refused the attempt to {FIRST} (the agent was not available): +2341 is looked at again at "
            "2026-11-18 12:01:00 UTC, because the agent failed and the number was not tried (attempt 1 "
            "of 4 failed before the number was dialled)",
        ),
        (
            decision(cause="deadline", result="paused", rule="deadline", inputs={"outcome": None}),
            f"nothing was heard of the attempt to {FIRST} until its deadline: the case is paused and waits for a "
            "person, because no call record came in time and the phone system could not say what became of the attempt",
        ),
        (
            decision(cause="stop", result="cancelled", rule="stopped", detail="paid", number=None),
            "a person stopped the case: the case is cancelled (paid)",
        ),
        (
            decision(
                cause="result", result="contacted", rule="reported", detail="contacted", inputs={"result": "contacted"}
            ),
            f"a person reported contacted of the attempt to {FIRST}: the case is contacted, because a person "
            "reported what became of it (contacted)",
        ),
        (
            decision(result="nothing", rule="superseded", inputs={"disposition": "no_answer"}),
            f"the call to {FIRST} ended as no_answer: nothing follows, because the case no longer waited for that call",
        ),
        (
            decision(attempt_id=None, number=None, result="contacted", rule="answered_elsewhere", detail="haifa"),
            "a call ended as unknown: the case is contacted, because the person was reached by another call (haifa)",
        ),
        (
            decision(result="paused", rule="call_in_doubt", inputs={"disposition": "no_answer"}),
            f"the call to {FIRST} ended as no_answer: the case is paused and waits for a person, because part "
            "of what the phone system reports of a call is missing: a person may have answered",
        ),
        (
            decision(cause="due", number=None, result="scheduled", rule="agent_busy", detail="the agent is in a call"),
            "the time to dial had come: the next number is looked at again later, because the agent is busy with "
            "another call",
        ),
        (decision(cause="resume", result="odd", rule="new_rule"), "a person resumed the case: odd, because new rule"),
    ],
)
def test_a_decision_is_a_sentence(row: dict[str, Any], said: str) -> None:
    assert in_words(row) == said


def test_times_are_said_in_the_zone_that_is_asked_for() -> None:
    row = decision(
        inputs={"ended_at": "2026-11-18T12:00:00+00:00", "received_at": "2026-11-18T12:00:01+00:00", "live": False}
    )
    lagos = ZoneInfo("Africa/Lagos")
    assert "ended at 2026-11-18 13:00:00 WAT" in in_words(row, zone=lagos)
    assert inputs_in_words(row, zone=lagos) == (
        "rule first_untried, mode on, told at 2026-11-18 13:00:01 WAT, not reported while it happened"
    )


def test_what_the_dialler_answered_stands_beside_a_deadline() -> None:
    row = decision(cause="deadline", result="paused", rule="deadline", answer="the dialler crm answered HTTP 500")
    assert inputs_in_words(row).endswith("the dialler's answer: the dialler crm answered HTTP 500")


def test_a_fresh_decision_is_said_as_a_kept_one() -> None:
    fresh = Decision(result=Result.SCHEDULED, rule="calling_window", number=number(), due_at=NOON, detail="outside")
    assert decision_in_words(fresh) == (
        f"{FIRST} is looked at again at {NOON.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC, because the number may not be "
        "called at this hour (outside)"
    )
    assert decision_in_words(fresh, hindrance="no_dialler").endswith(
        "; but the case is paused: the source names no dialler in the configuration"
    )


def test_every_rule_of_the_policy_has_words() -> None:
    for rule in RULES:
        assert rule_in_words(rule.__name__) != rule.__name__.replace("_", " "), rule.__name__


def test_every_rule_and_every_reason_of_the_code_has_words() -> None:
    rules = set(re.findall(r'rule="([a-z_]+)"', CODE))
    reasons = set(re.findall(r'reason="([a-z_]+)"', CODE)) - {"stopped", "do_not_call"}
    assert len(rules) > 20
    assert len(reasons) > 5
    assert [rule for rule in sorted(rules) if rule_in_words(rule) == rule.replace("_", " ")] == []
    assert [reason for reason in sorted(reasons) if reason_in_words(reason) == reason.replace("_", " ")] == []


def test_a_moment_that_is_no_time_is_shown_as_it_is() -> None:
    assert "ended at soon as" in in_words(decision(inputs={"ended_at": "soon"}))
