"""What ends too late, or for somebody else, leads to no other number."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from cdrhub.model.dialling import Refusal
from cdrhub.model.disposition import Direction, Disposition
from cdrhub.redial.decision import Decision, Result, Timing, after_call, when_due
from cdrhub.redial.model import Attempt, AttemptState, Case, CaseState
from cdrhub.redial.policy import PLAIN
from support.redial import FIRST, NOON, SECOND, around, attempt, case, ended, over


def decided(of: Case, mine: Attempt, disposition: Disposition, **call: Direction) -> Decision:
    return after_call(of, mine, ended(disposition, **call), policy=PLAIN, timing=Timing(), around=around())


@pytest.mark.parametrize("state", [CaseState.WAITING, CaseState.DIALLING, CaseState.OPEN])
def test_the_record_of_a_superseded_attempt_starts_nothing(state: CaseState) -> None:
    mine = attempt(state=AttemptState.SUPERSEDED)
    found = decided(case(attempts=[mine], state=state), mine, Disposition.NO_ANSWER)
    assert (found.result, found.rule) == (Result.NOTHING, "superseded")


def test_the_record_of_an_earlier_round_starts_nothing() -> None:
    mine = attempt(state=AttemptState.UNKNOWN)
    found = decided(case(attempts=[mine], round=2, state=CaseState.WAITING), mine, Disposition.NO_ANSWER)
    assert (found.result, found.rule) == (Result.NOTHING, "earlier_round")


def test_only_an_outbound_call_is_abandoned_by_us() -> None:
    mine = attempt()
    of = case(attempts=[mine])
    assert decided(of, mine, Disposition.ABANDONED).reason == "abandoned"
    assert decided(of, mine, Disposition.ABANDONED, direction=Direction.INBOUND).result is Result.NEXT


def test_an_agent_who_is_away_leads_to_no_other_number_when_a_rule_objects() -> None:
    away = attempt(state=AttemptState.REFUSED, refusal=Refusal.AGENT)
    of = case(attempts=[away], state=CaseState.WAITING)
    held = around(held={FIRST: NOON + timedelta(hours=1)})
    found = when_due(of, FIRST, policy=PLAIN, around=held)
    assert (found.result, found.number and found.number.key) == (Result.SCHEDULED, FIRST)


@pytest.mark.parametrize(("since", "stays"), [(timedelta(hours=-1), True), (timedelta(hours=1), False)])
def test_a_call_back_leads_to_no_other_number_until_it_was_made(since: timedelta, stays: bool) -> None:
    """`since`: when somebody called them last, after they had asked for it."""
    asked = NOON - timedelta(hours=3)
    of = case(attempts=[over(round=1, requested_at=asked + since)], state=CaseState.WAITING, round=2)
    held = around(held={SECOND: NOON + timedelta(hours=1)}, asked_back=asked)
    found = when_due(of, SECOND, policy=PLAIN, around=held)
    assert (found.result, found.number and found.number.key) == (
        (Result.SCHEDULED, SECOND) if stays else (Result.NEXT, FIRST)
    )
    never = replace(of, numbers=[of.numbers[0], replace(of.numbers[1], do_not_call=True)])
    assert when_due(never, SECOND, policy=PLAIN, around=held).number == of.numbers[0]
