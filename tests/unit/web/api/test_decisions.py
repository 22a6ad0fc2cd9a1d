"""How a decision that was kept is answered."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from cdrhub.web.api.shapes import DecisionKept

KEPT: dict[str, Any] = {
    "id": 1,
    "at": datetime(2026, 3, 9, 10, 0, tzinfo=UTC),
    "cause": "call",
    "result": "scheduled",
    "rule": "cool_down",
    "detail": "",
    "mode": "on",
    "inputs": {
        "disposition": "busy",
        "ended_at": None,
        "received_at": "2026-03-09T09:59:59.250000+00:00",
        "due_at": "2026-03-09T10:05:00+00:00",
    },
    "attempt_id": None,
    "number": None,
    "call_id": None,
    "call_revision": None,
}


def test_the_times_that_it_went_by_are_written_as_all_others() -> None:
    shown = DecisionKept.of(KEPT).model_dump(mode="json")
    assert shown["at"] == "2026-03-09T10:00:00Z"
    assert shown["inputs"] == {
        "disposition": "busy",
        "ended_at": None,
        "received_at": "2026-03-09T09:59:59.250000Z",
        "due_at": "2026-03-09T10:05:00Z",
    }
