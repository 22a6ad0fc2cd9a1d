"""Which facts a written call leaves."""

from __future__ import annotations

from datetime import timedelta

import orjson
import pytest

from cdrhub.model.call import Call
from cdrhub.model.disposition import State
from cdrhub.store.outbox import ANSWERED, SETTLED, STARTED, facts
from support.ledger import at, ended, item

NOW = at(1000)


def told(state: str, *, before: str | None, final: bool = False) -> list[tuple[str, float, bool]]:
    """The facts in short: type, seconds until due, whether they carry the call."""
    call = Call(call_key="k", direction="inbound", state=state, final=final, started_at=at(1.5), caller_name="Ada")
    rows = facts(call, call_id="id", item=item(ended("k")), revision=2, before=before, now=NOW, settle_seconds=3.0)
    assert all(row[:2] == ("id", "lagos") and row[3] == 2 for row in rows)
    return [(row[2], (row[4] - NOW) / timedelta(seconds=1), row[5] is not None) for row in rows]


@pytest.mark.parametrize(
    ("before", "state", "expected"),
    [
        (None, State.QUEUED, [STARTED]),
        (None, State.RINGING, [STARTED]),
        (None, State.ANSWERED, [STARTED, ANSWERED]),
        (State.QUEUED, State.RINGING, []),
        (State.QUEUED, State.ANSWERED, [ANSWERED]),
        (State.RINGING, State.ANSWERED, [ANSWERED]),
        (State.ANSWERED, State.ANSWERED, []),
    ],
)
def test_living_calls(before: str | None, state: str, expected: list[str]) -> None:
    assert told(state, before=before) == [(kind, 0.0, True) for kind in expected]


@pytest.mark.parametrize("before", [None, *State])
def test_ended_calls(before: str | None) -> None:
    assert told(State.ENDED, before=before) == [(SETTLED, 3.0, False)]
    assert told(State.ENDED, before=before, final=True) == [(SETTLED, 0.0, False)]


def test_the_snapshot_has_the_public_columns() -> None:
    call = Call(call_key="k", direction="inbound", state=State.RINGING, started_at=at(1.5), attributes={"x": [1]})
    (row,) = facts(call, call_id="id", item=item(ended("k")), revision=1, before=None, now=NOW, settle_seconds=0)
    said = orjson.loads(row[5])
    assert said["started_at"] == at(1.5).isoformat()
    assert (said["id"], said["source"], said["system"], said["tenant"]) == ("id", "lagos", "ledger", "")
    assert (said["attributes"], said["flags"], said["answered_at"]) == ({"x": [1]}, [], None)
    assert "final" not in said
    assert "legs" not in said
