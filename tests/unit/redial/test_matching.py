"""Which attempt was this call: by reference, by window, or none."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from cdrhub.model.disposition import Direction
from cdrhub.redial.matching import (
    EARLY,
    LATE,
    VENDOR_REF_LATE,
    CallFacts,
    by_reference,
    by_window,
    is_of_a_refusal,
)
from cdrhub.redial.model import AttemptState
from support.redial import FIRST, NOON, SECOND, attempt

ASKED = NOON - timedelta(minutes=1)  # when support.redial.attempt was requested
OUR_ID = "0199bbbb-0000-7000-8000-00000000abcd"


def call(**values: Any) -> CallFacts:
    known: dict[str, Any] = {
        "source": "lagos",
        "direction": Direction.OUTBOUND,
        "started_at": ASKED,
        "keys": frozenset({FIRST}),
        "agents": frozenset({"101"}),
    }
    return CallFacts(**known | values)


@pytest.mark.parametrize(
    "reference",
    [OUR_ID, OUR_ID.upper(), f"cdrhub-C-1-{OUR_ID}", f"contact~{OUR_ID}", f"customer_id=109&ref={OUR_ID}"],
)
def test_our_id_is_found_wherever_the_vendor_carries_it(reference: str) -> None:
    ours = attempt(id=OUR_ID)
    assert by_reference(call(references=["", reference]), [attempt(SECOND), ours]) is ours


def test_the_vendors_own_id_is_a_reference() -> None:
    ours = attempt(vendor_ref="20180902030302a0c")
    assert by_reference(call(references=["20180902030302A0C"]), [ours]) is ours


@pytest.mark.parametrize(("reached", "matches"), [(True, True), (False, False)])
def test_another_source_tells_only_that_the_person_was_reached(reached: bool, matches: bool) -> None:
    elsewhere = call(source="trunk", references=[OUR_ID], reached=reached)
    assert (by_reference(elsewhere, [attempt(id=OUR_ID)]) is not None) is matches


def test_a_call_that_came_in_is_no_attempt_whatever_it_carries() -> None:
    assert by_reference(call(direction=Direction.INBOUND, references=[OUR_ID]), [attempt(id=OUR_ID)]) is None


@pytest.mark.parametrize(
    ("other", "matches"),
    [
        ({}, True),
        ({"source": "trunk", "reached": True}, False),
        ({"started_at": None}, True),
        ({"started_at": ASKED + VENDOR_REF_LATE}, True),
        ({"started_at": ASKED + VENDOR_REF_LATE + timedelta(seconds=1)}, False),
        ({"started_at": ASKED - EARLY - timedelta(seconds=1)}, False),
    ],
    ids=["same source", "another source", "no start", "a day later", "later", "before"],
)
def test_a_vendors_own_id_is_of_its_source_and_its_day(other: dict[str, Any], matches: bool) -> None:
    assert (by_reference(call(references=["7"], **other), [attempt(vendor_ref="7")]) is not None) is matches


def test_an_attempt_without_a_vendors_id_matches_no_empty_reference() -> None:
    assert by_reference(call(references=[""]), [attempt(vendor_ref="")]) is None


@pytest.mark.parametrize(
    ("started", "matches"),
    [
        (ASKED - EARLY, True),
        (ASKED - EARLY - timedelta(microseconds=1), False),
        (ASKED + LATE, True),
        (ASKED + LATE + timedelta(microseconds=1), False),
    ],
)
def test_the_window_is_on_the_start(started: Any, matches: bool) -> None:
    assert (by_window(call(started_at=started), [attempt()]) is not None) is matches


@pytest.mark.parametrize(
    "other",
    [
        {"direction": Direction.INBOUND},
        {"source": "abuja"},
        {"keys": frozenset({SECOND})},
        {"agents": frozenset({"102"})},
        {"started_at": None},
    ],
    ids=["inbound", "another source", "another number", "another agent", "no start"],
)
def test_what_does_not_fit_does_not_match(other: dict[str, Any]) -> None:
    assert by_window(call(**other), [attempt()]) is None


def test_an_unknown_agent_matches_by_the_number_alone() -> None:
    assert by_window(call(agents=frozenset()), [attempt()]) is not None


@pytest.mark.parametrize("state", [AttemptState.DECIDED, AttemptState.CANCELLED, AttemptState.REFUSED])
def test_what_was_never_asked_for_matches_no_call(state: AttemptState) -> None:
    assert by_window(call(), [attempt(state=state)]) is None


@pytest.mark.parametrize(
    "state", [AttemptState.REQUESTED, AttemptState.ACCEPTED, AttemptState.UNKNOWN, AttemptState.SUPERSEDED]
)
def test_the_record_may_come_before_the_answer_or_after_the_deadline(state: AttemptState) -> None:
    assert by_window(call(), [attempt(state=state)]) is not None


def test_of_two_that_fit_it_is_the_later_one() -> None:
    earlier = attempt(requested_at=ASKED - timedelta(minutes=2))
    later = attempt(requested_at=ASKED)
    assert by_window(call(), [later, earlier]) is later


def test_of_two_that_fit_it_is_one_that_was_asked_for_before_the_call_began() -> None:
    earlier = attempt(requested_at=ASKED - timedelta(seconds=10))
    later = attempt(requested_at=ASKED + timedelta(seconds=10))
    assert by_window(call(), [later, earlier]) is earlier
    latest = attempt(requested_at=ASKED + timedelta(seconds=20))
    assert by_window(call(), [latest, later]) is later


@pytest.mark.parametrize(("seconds", "matches"), [(-31, False), (-30, True), (180, True), (181, False)])
def test_the_window_is_the_documented_one(seconds: int, matches: bool) -> None:
    assert (by_window(call(started_at=ASKED + timedelta(seconds=seconds)), [attempt()]) is not None) is matches


@pytest.mark.parametrize(
    ("said", "order", "is_its"),
    [
        ({}, {}, True),
        ({"started_at": ASKED - EARLY}, {}, True),
        ({"started_at": ASKED - EARLY - timedelta(seconds=1)}, {}, False),
        ({"started_at": ASKED + timedelta(seconds=3)}, {}, True),
        ({"started_at": ASKED + timedelta(seconds=4)}, {}, False),  # the agent tries it again by hand
        ({"started_at": None}, {}, False),
        ({"agents": frozenset({"102"})}, {}, False),
        ({"agents": frozenset()}, {}, True),
        ({"keys": frozenset({SECOND})}, {}, False),
        ({"source": "trunk"}, {}, False),
        ({}, {"state": AttemptState.ENDED}, False),
    ],
)
def test_the_record_of_a_refusal_began_before_it_was_heard(
    said: dict[str, Any], order: dict[str, Any], is_its: bool
) -> None:
    known: dict[str, Any] = {"state": AttemptState.REFUSED, "ended_at": ASKED + timedelta(seconds=3)}
    refused = attempt(**known | order)
    assert is_of_a_refusal(call(**said), [refused]) is is_its
