"""What a person's report of an attempt may still change."""

from __future__ import annotations

from typing import Any

import pytest

from cdrhub.model.disposition import Disposition
from cdrhub.redial.model import AttemptState, CaseState, PlacedBy, Reported
from cdrhub.redial.reports import number_of, what_hinders
from support.redial import FIRST, SECOND, attempt, case, over

GOING_ON = (Reported.WRONG_PARTY, Reported.VOICEMAIL)
ANSWERED = over(outcome=Disposition.ANSWERED)
SUPERSEDED = attempt(state=AttemptState.SUPERSEDED)
LATER = attempt(SECOND, id="0199cccc-0000-7000-8000-000000000001")


def hindered(of: Any, result: Reported, *others: Any, **values: Any) -> str | None:
    found = what_hinders(case(attempts=[of, *others], **values), of, result)
    return found.rule if found is not None else None


@pytest.mark.parametrize("result", GOING_ON)
def test_what_the_attempt_reached_itself_may_be_taken_back(result: Reported) -> None:
    assert hindered(ANSWERED, result, state=CaseState.CONTACTED) is None


@pytest.mark.parametrize("result", GOING_ON)
def test_what_another_call_reached_stays(result: Reported) -> None:
    assert hindered(over(), result, state=CaseState.CONTACTED) == "case_closed"
    assert hindered(SUPERSEDED, result, state=CaseState.CONTACTED) == "case_closed"
    answered_too = over(outcome=Disposition.ANSWERED, state=AttemptState.SUPERSEDED)
    assert hindered(answered_too, result, state=CaseState.CONTACTED) == "case_closed"
    assert hindered(SUPERSEDED, result, state=CaseState.PAUSED) == "superseded"
    assert hindered(over(), result, state=CaseState.PAUSED, state_reason="ambiguous") == "superseded"


@pytest.mark.parametrize("result", [*GOING_ON, Reported.CALLBACK])
@pytest.mark.parametrize("known", [ANSWERED, over(), SUPERSEDED], ids=["answered", "not answered", "superseded"])
def test_what_somebody_stopped_stays_stopped(known: Any, result: Reported) -> None:
    assert hindered(known, result, state=CaseState.CANCELLED) == "case_closed"


@pytest.mark.parametrize("result", GOING_ON)
def test_no_later_attempt_is_overtaken(result: Reported) -> None:
    assert hindered(over(), result, LATER) == "went_on"
    assert hindered(over(), result, over(SECOND, id=LATER.id), state=CaseState.WAITING) == "went_on"
    cancelled = attempt(SECOND, id=LATER.id, state=AttemptState.CANCELLED)
    by_hand = over(SECOND, id=LATER.id, placed_by=PlacedBy.AGENT)
    assert hindered(over(), result, cancelled, by_hand) is None


@pytest.mark.parametrize("result", [one for one in Reported if one is not Reported.DO_NOT_CALL])
def test_an_earlier_round_is_over(result: Reported) -> None:
    assert hindered(ANSWERED, result, round=2) == "earlier_round"


@pytest.mark.parametrize("state", CaseState)
@pytest.mark.parametrize("round_", [1, 2])
def test_who_must_not_be_called_is_heard_at_any_time(state: CaseState, round_: int) -> None:
    assert hindered(SUPERSEDED, Reported.DO_NOT_CALL, LATER, state=state, round=round_) is None


@pytest.mark.parametrize(("key", "e164"), [(FIRST, FIRST), ("12345", None)])
def test_the_number_of_an_attempt_is_known_without_its_case(key: str, e164: str | None) -> None:
    number = number_of(attempt(key))
    assert (number.key, number.e164) == (key, e164)
