"""Durations and opening hours as people write them."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdrhub.sources.spans import read_duration, read_hours, write_duration


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("15m", 900), ("2h30m", 9000), ("1d", 86_400), (" 1H 5s ", 3605), ("500ms", 0.5), (90, 90), (1.5, 1.5), ("0s", 0)],
)
def test_durations(text: object, seconds: float) -> None:
    assert read_duration(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize(
    "text", ["", "15", "m", "1x", "30m2h", "-1h", -1, True, None, 10**400, float("nan"), "9999d", "1" * 50 + "s"]
)
def test_what_is_no_duration(text: object) -> None:
    with pytest.raises(ValueError, match="duration"):
        read_duration(text)


@given(st.timedeltas(timedelta(0), timedelta(days=3000)))
def test_a_written_duration_reads_back(span: timedelta) -> None:
    assert abs(read_duration(write_duration(span)) - span) <= timedelta(milliseconds=1)


# 2026-03-02 is a Monday.
@pytest.mark.parametrize(
    ("hours", "inside", "outside"),
    [
        ("mon-fri 08:00-18:00", ["02 08:00", "06 17:59"], ["02 07:59", "02 18:00", "07 12:00"]),
        ("sun-thu 8:00-18:00; fri 08:00-13:00", ["01 09:00", "05 17:00", "06 12:00"], ["06 14:00", "07 09:00"]),
        ("mon,wed 22:00-06:00", ["02 23:00", "03 05:59", "05 01:00"], ["02 05:00", "03 06:00", "03 22:30"]),
        ("mon-sun 00:00-24:00", ["02 00:00", "08 23:59"], []),
    ],
)
def test_hours(hours: str, inside: list[str], outside: list[str]) -> None:
    opening = read_hours(hours)
    for moments, expected in ((inside, True), (outside, False)):
        for moment in moments:
            assert opening.contain(datetime.fromisoformat(f"2026-03-{moment}")) is expected


@pytest.mark.parametrize(
    "text", ["", "mon", "mon 8-18", "mon 25:00-26:00", "mond 08:00-18:00", "mon-xyz 08:00-18:00", 5]
)
def test_what_are_no_hours(text: object) -> None:
    with pytest.raises(ValueError, match=r"mon-fri 08:00-18:00|no weekday|no time of day"):
        read_hours(text)
