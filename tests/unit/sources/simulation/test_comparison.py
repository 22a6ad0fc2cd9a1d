"""The ledger beside what is found: each kind of difference, and none where there is none."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from cdrhub.model.disposition import Outcome, Role
from cdrhub.sources.simulation.comparison import CALL, PERSON, Difference, Found, compared, extra, missing, people_of
from cdrhub.sources.simulation.ledger import Entry, Person

AT = datetime(2026, 3, 2, 8, 0, 5, tzinfo=UTC)
ADA = Person(role=Role.AGENT, agent_id="101", outcome=Outcome.ANSWERED)
BJORN = Person(role=Role.AGENT, agent_id="102", outcome=Outcome.NO_ANSWER)
ENTRY = Entry(
    system="3cx",
    call_key="1",
    columns={"disposition": "answered", "talk_seconds": 30, "answered_at": AT.isoformat(), "queue": None},
    people=(ADA, BJORN),
)
ROW: dict[str, Any] = {
    "disposition": "answered",
    "talk_seconds": 30,
    "answered_at": AT,
    "queue": None,
    "trunk": "10000",
}


def found(*people: Person, **columns: Any) -> Found:
    return Found(columns=ROW | columns, people=people)


def told(**of: str) -> list[Difference]:
    return [Difference(system="3cx", call_key="1", **of)]


def test_what_is_as_it_was_does_not_differ() -> None:
    assert not compared(ENTRY, found(BJORN, ADA))
    elsewhere = AT.astimezone(timezone(timedelta(hours=5)))
    assert not compared(ENTRY, found(ADA, BJORN, answered_at=elsewhere))
    assert not compared(Entry(system="3cx", call_key="1", columns={}), found(ADA))


@pytest.mark.parametrize(
    ("column", "value", "expected", "shown"),
    [
        ("disposition", "busy", "answered", "busy"),
        ("talk_seconds", None, "30", "null"),
        ("talk_seconds", 0, "30", "0"),
        ("queue", "Sales", "null", "Sales"),
        (
            "answered_at",
            AT + timedelta(microseconds=1),
            "2026-03-02T08:00:05+00:00",
            "2026-03-02T08:00:05.000001+00:00",
        ),
        ("answered_at", None, "2026-03-02T08:00:05+00:00", "null"),
    ],
)
def test_a_column_that_differs_is_named(column: str, value: Any, expected: str, shown: str) -> None:
    assert compared(ENTRY, found(ADA, BJORN, **{column: value})) == told(column=column, expected=expected, found=shown)


def test_a_person_too_many_or_too_few_is_named() -> None:
    assert compared(ENTRY, found(ADA)) == told(column=PERSON, expected="agent 102 no_answer", found="")
    twice = compared(ENTRY, found(ADA, BJORN, BJORN))
    assert twice == told(column=PERSON, expected="", found="agent 102 no_answer")
    nobody = Person(role=Role.TRANSFER, agent_id=None, outcome=Outcome.ANSWERED)
    assert compared(ENTRY, found(ADA, BJORN, nobody)) == told(column=PERSON, expected="", found="transfer ? answered")


def test_only_people_of_ours_are_listed() -> None:
    legs = [
        {"role": role, "agent_id": "101", "outcome": Outcome.ANSWERED}
        for role in (Role.CUSTOMER, Role.QUEUE, Role.IVR, Role.VOICEMAIL, Role.AGENT, Role.CONSULT)
    ]
    assert [who.role for who in people_of(legs)] == [Role.AGENT, Role.CONSULT]


def test_a_call_that_is_missing_or_nobody_made_is_a_difference() -> None:
    assert [missing(ENTRY)] == told(column=CALL, expected="answered", found="")
    assert [extra("3cx", "1", disposition=None)] == told(column=CALL, expected="", found="open")
    assert [extra("3cx", "1", disposition="busy")] == told(column=CALL, expected="", found="busy")
