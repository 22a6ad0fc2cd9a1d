"""What is told of a call, given what was told of it before."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest

from cdrhub.redial.announcing import PUBLIC, Announcement, announcement


def columns(**values: Any) -> dict[str, Any]:
    """A call that ended."""
    return dict.fromkeys(PUBLIC) | {"state": "ended", "disposition": "answered"} | values


def said(announced: Any = None, *, goes_on: bool = False, **values: Any) -> Announcement:
    """What is told, which must be something."""
    found = announcement(columns(**values), announced=announced, goes_on=goes_on)
    assert found is not None
    return found


def test_the_end_is_told_once_as_one_of_two() -> None:
    first = said(goes_on=True)
    assert (first.type, first.changed) == ("call.hangup", ())
    assert announcement(columns(), announced=first.announced, goes_on=False) is None
    assert said(first.announced, queue="sales").type == "call.corrected"


@pytest.mark.parametrize(
    ("name", "before", "after"),
    [
        ("queue", "sales", "support"),
        ("queue", None, ""),
        ("talk_seconds", 7, 8),
        ("started_at", datetime(2026, 3, 1, tzinfo=UTC), datetime(2026, 3, 1, 0, 0, 0, 1, tzinfo=UTC)),
        ("cost", Decimal("0.9"), Decimal("0.91")),
    ],
)
def test_a_change_of_any_kind_of_value_is_told(name: str, before: Any, after: Any) -> None:
    told = said(**{name: before}).announced
    assert announcement(columns(**{name: before}), announced=told, goes_on=False) is None
    assert said(told, **{name: after}).changed == (name,)


def test_the_same_moment_in_another_zone_is_no_change() -> None:
    noon = datetime(2026, 3, 1, 12, tzinfo=UTC)
    told = said(started_at=noon).announced
    elsewhere = noon.astimezone(timezone(timedelta(hours=5, minutes=45)))
    assert announcement(columns(started_at=elsewhere), announced=told, goes_on=False) is None


def test_a_withdrawn_call_is_told_once_and_only_if_its_end_was() -> None:
    gone = columns(state="withdrawn")
    assert announcement(gone, announced=None, goes_on=False) is None
    told = said(said().announced, state="withdrawn")
    assert told.type == "call.withdrawn"
    assert announcement(gone, announced=told.announced, goes_on=False) is None


def test_one_that_comes_back_is_corrected_in_its_state_once() -> None:
    gone = said(said().announced, state="withdrawn")
    back = said(gone.announced, queue="sales")
    assert (back.type, back.changed) == ("call.corrected", ("state", "queue"))
    assert announcement(columns(queue="sales"), announced=back.announced, goes_on=False) is None
    assert said(back.announced, state="withdrawn").type == "call.withdrawn"


def test_a_call_that_a_version_of_schema_0003_told_is_corrected_in_what_changed() -> None:
    prints = f"AAAA1z/YS8c1{'A' * 64}7z5uAAAAAAAAP+rQ{'A' * 16}+Hd6AAAAAAAAzEXvAAAA"
    told = {"end": "call.hangup", "print": prints}
    then: dict[str, Any] = {
        "queue": "sales",
        "talk_seconds": 7,
        "started_at": datetime(2026, 3, 1, 12, tzinfo=UTC),
        "cost": Decimal("0.9"),
    }
    now = then | {"queue": "support", "callee_name": ""}
    assert announcement(columns(**then), announced=told, goes_on=False) is None
    elsewhere = then | {"started_at": then["started_at"].astimezone(timezone(timedelta(hours=9)))}
    assert announcement(columns(**elsewhere), announced=told, goes_on=False) is None
    corrected = said(told, **now)
    assert corrected.changed == ("callee_name", "queue")
    assert announcement(columns(**now), announced=corrected.announced, goes_on=False) is None
