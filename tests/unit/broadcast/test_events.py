"""Which events somebody gets, and what an event stays in order with."""

from __future__ import annotations

from typing import Any

import pytest

from cdrhub.broadcast.events import Selection
from support.broadcast import call_id, event


@pytest.mark.parametrize(
    ("wanted", "has"),
    [
        ({}, True),
        ({"types": ("call.*",)}, True),
        ({"types": ("case.*", "call.ended")}, True),
        ({"types": ("case.*",)}, False),
        ({"types": ("CALL.*",)}, False),
        ({"sources": ("lagos",)}, True),
        ({"sources": ("ibadan",)}, False),
        ({"queues": ("800", "801")}, True),
        ({"queues": ("801",)}, False),
        ({"tenants": ("",)}, True),
        ({"tenants": ("acme",)}, False),
        ({"types": ("call.*",), "sources": ("lagos",), "queues": ("801",)}, False),
    ],
)
def test_a_selection(wanted: dict[str, Any], has: bool) -> None:
    assert (event() in Selection(**wanted)) is has


def test_what_has_no_queue_is_of_none() -> None:
    fact = event(type="case.contacted", snapshot={"tenant": "acme"})
    assert fact in Selection(tenants=("acme",))
    assert fact not in Selection(queues=("800",))


def test_an_event_is_in_line_with_its_call_and_its_case_else_with_its_source() -> None:
    assert event(1).lines == {call_id(1)}
    assert event(1, case_id="case").lines == {call_id(1), "case"}
    assert event(1, call_id=None).lines == event(2, call_id=None).lines == {"source lagos"}
