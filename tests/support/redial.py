"""Cases, attempts and surroundings for tests of redial, with everything that a test does not name filled in."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from cdrhub.model.disposition import Direction, Disposition
from cdrhub.redial.decision import EndedCall
from cdrhub.redial.model import Attempt, AttemptState, Case, CaseState, Number
from cdrhub.redial.policy import Surroundings

NOON = datetime(2026, 11, 18, 12, 0, tzinfo=UTC)  # a Wednesday

FIRST, SECOND, THIRD = "+2348039100001", "+2348039100002", "+2348039100003"


def number(key: str = FIRST, *, position: int = 1, do_not_call: bool = False) -> Number:
    """A number of a case."""
    return Number(
        position=position,
        number=key,
        key=key,
        e164=key if key.startswith("+") else None,
        do_not_call=do_not_call,
    )


def case(*keys: str, **values: Any) -> Case:
    """A case with these numbers that is being dialled in its first round."""
    known: dict[str, Any] = {
        "id": "0199aaaa-0000-7000-8000-000000000001",
        "tenant": "",
        "code": "C-1",
        "source": "lagos",
        "agent": "101",
        "state": CaseState.DIALLING,
        "round": 1,
        "numbers": [number(key, position=place) for place, key in enumerate(keys or (FIRST, SECOND), start=1)],
    }
    return Case(**known | values)


def attempt(key: str = FIRST, **values: Any) -> Attempt:
    """An attempt that was accepted a minute before NOON."""
    known: dict[str, Any] = {
        "id": f"0199bbbb-0000-7000-8000-{abs(hash((key, repr(values)))) % 10**12:012d}",
        "round": 1,
        "key": key,
        "state": AttemptState.ACCEPTED,
        "source": "lagos",
        "agent": "101",
        "requested_at": NOON - timedelta(minutes=1),
    }
    return Attempt(**known | values)


def over(key: str = FIRST, outcome: Disposition = Disposition.NO_ANSWER, **values: Any) -> Attempt:
    """An attempt whose call ended at NOON."""
    return attempt(key, **{"state": AttemptState.ENDED, "outcome": outcome, "ended_at": NOON} | values)


def ended(disposition: Disposition = Disposition.NO_ANSWER, **values: Any) -> EndedCall:
    """An outbound call that ended five seconds before NOON and was told at once."""
    known: dict[str, Any] = {
        "disposition": disposition,
        "direction": Direction.OUTBOUND,
        "ended_at": NOON - timedelta(seconds=5),
        "received_at": NOON - timedelta(seconds=4),
    }
    return EndedCall(**known | values)


def around(**values: Any) -> Surroundings:
    """Nothing in the way, at NOON."""
    known: dict[str, Any] = {"now": NOON}
    return Surroundings(**known | values)
