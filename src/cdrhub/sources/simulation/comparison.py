"""The ledger beside what the hub shows, call by call and column by column.

Pure: whoever calls it brings the rows, from a database or from a fold. Times are compared as moments, whatever zone
they are written in; the people of a call without regard to their order.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from cdrhub.sources.simulation.ledger import PEOPLE, Entry, Person

CALL: Final = "(call)"
"""The column of a difference that concerns the whole call."""

PERSON: Final = "(person)"
"""The column of a difference that concerns a leg of one of ours."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Difference:
    """One thing that the ledger and the hub tell differently. An empty text: there is nothing."""

    system: str
    call_key: str
    column: str  #: of `calls`; CALL, PERSON
    expected: str
    found: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Found:
    """One call as the hub shows it: its columns, and its legs that are people of ours."""

    columns: Mapping[str, Any]
    people: tuple[Person, ...] = ()


def people_of(legs: Iterable[Mapping[str, Any]]) -> tuple[Person, ...]:
    """Those of the legs (rows of `call_legs`) that an entry lists."""
    return tuple(
        Person(role=leg["role"], agent_id=leg["agent_id"], outcome=leg["outcome"])
        for leg in legs
        if leg["role"] in PEOPLE
    )


def compared(entry: Entry, found: Found) -> list[Difference]:
    """What differs of one call."""
    told = [
        Difference(
            system=entry.system,
            call_key=entry.call_key,
            column=column,
            expected=_spoken(expected),
            found=_spoken(found.columns.get(column)),
        )
        for column, expected in entry.columns.items()
        if not _same(expected, found.columns.get(column))
    ]
    if entry.people is not None:
        expected_people, found_people = Counter(map(_person, entry.people)), Counter(map(_person, found.people))
        told += [
            Difference(system=entry.system, call_key=entry.call_key, column=PERSON, expected=who, found="")
            for who in sorted((expected_people - found_people).elements())
        ]
        told += [
            Difference(system=entry.system, call_key=entry.call_key, column=PERSON, expected="", found=who)
            for who in sorted((found_people - expected_people).elements())
        ]
    return told


def missing(entry: Entry) -> Difference:
    """The difference of a call that the hub does not show."""
    return Difference(
        system=entry.system,
        call_key=entry.call_key,
        column=CALL,
        expected=_spoken(entry.columns.get("disposition")),
        found="",
    )


def extra(system: str, call_key: str, *, disposition: str | None) -> Difference:
    """The difference of a call that the ledger does not hold."""
    return Difference(system=system, call_key=call_key, column=CALL, expected="", found=disposition or "open")


def _same(expected: Any, found: Any) -> bool:
    if isinstance(found, datetime) and isinstance(expected, str):
        return datetime.fromisoformat(expected) == found
    return bool(expected == found)


def _person(person: Person) -> str:
    return f"{person.role} {person.agent_id or '?'} {person.outcome}"


def _spoken(value: Any) -> str:
    if value is None:
        return "null"
    return value.isoformat() if isinstance(value, datetime) else str(value)
