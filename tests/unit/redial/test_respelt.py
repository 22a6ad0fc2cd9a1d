"""A number that its case has in another spelling by now is the number that was tried."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from cdrhub.model.dialling import Refusal
from cdrhub.model.disposition import Disposition
from cdrhub.redial.decision import Decision, Timing, after_refusal
from cdrhub.redial.model import AttemptState
from cdrhub.redial.policy import PLAIN, Policy, objection
from support.redial import FIRST, NOON, SECOND, around, attempt, case, number, over

THEN = "08039100001"
RESPELT: dict[str, Any] = {"key": THEN, "key_today": FIRST}


def test_it_is_tried() -> None:
    of = case(attempts=[over(**RESPELT)])
    assert [one.key for one in of.untried()] == [SECOND]
    assert not of.failed_before_dialling(FIRST)


def test_what_failed_before_it_was_dialled_counts_for_it() -> None:
    of = case(attempts=[attempt(**RESPELT, state=AttemptState.REFUSED, refusal=Refusal.AGENT)])
    assert (of.agent_failures(FIRST), of.failed_before_dialling(FIRST)) == (1, True)


@pytest.mark.parametrize(
    "policy", [Policy(number_cap=1), Policy(cool_down={Disposition.BUSY: timedelta(hours=1)})], ids=["cap", "cool"]
)
def test_its_rules_hold(policy: Policy) -> None:
    of = case(attempts=[over(**RESPELT, outcome=Disposition.BUSY)])
    assert objection(of, number(), policy, around()) is not None
    assert objection(of, number(SECOND), policy, around()) is None


@pytest.mark.parametrize("refusal", [Refusal.NETWORK, Refusal.AGENT])
@pytest.mark.parametrize(("first", "second"), [(RESPELT, {}), (RESPELT, RESPELT)], ids=["then", "since"])
def test_it_is_dialled_again_under_its_key_of_today(
    refusal: Refusal, first: dict[str, Any], second: dict[str, Any]
) -> None:
    def refused(one: dict[str, Any], other: dict[str, Any]) -> Decision:
        live = attempt(**other, id="2")
        of = case(attempts=[attempt(**one, id="1", state=AttemptState.REFUSED, refusal=refusal), live])
        return after_refusal(of, live, refusal, detail="", policy=PLAIN, timing=Timing(), around=around())

    decision = refused(first, second)
    assert decision == refused({}, {})
    assert decision.number == number()
    assert decision.due_at is not None
    assert decision.due_at > NOON
