"""Moments as people type them."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from cdrhub.cli.moments import read_moment, read_zone
from cdrhub.cli.options import span
from cdrhub.errors import UsageError

LAGOS = ZoneInfo("Africa/Lagos")  # UTC+1, no daylight saving
NOW = datetime(2026, 3, 2, 23, 30, tzinfo=UTC)  # 00:30 of the 3rd in Lagos


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-03-01", datetime(2026, 2, 28, 23, 0, tzinfo=UTC)),
        ("2026-03-01T08:30", datetime(2026, 3, 1, 7, 30, tzinfo=UTC)),
        ("2026-03-01 08:30:05", datetime(2026, 3, 1, 7, 30, 5, tzinfo=UTC)),
        ("2026-03-01T08:30:00+05:30", datetime(2026, 3, 1, 3, 0, tzinfo=UTC)),
        ("2026-03-01T08:30:00Z", datetime(2026, 3, 1, 8, 30, tzinfo=UTC)),
        ("now", NOW),
        ("Today", datetime(2026, 3, 2, 23, 0, tzinfo=UTC)),
        ("yesterday", datetime(2026, 3, 1, 23, 0, tzinfo=UTC)),
        ("-2h", datetime(2026, 3, 2, 21, 30, tzinfo=UTC)),
        ("-1d12h", datetime(2026, 3, 1, 11, 30, tzinfo=UTC)),
    ],
)
def test_a_moment_in_the_zone_asked_for(text: str, moment: datetime) -> None:
    assert read_moment(text, zone=LAGOS, now=NOW) == moment


@pytest.mark.parametrize("text", ["", "tomorow", "2h", "-2x", "01.03.2026", "2026-02-30", "0001-01-01", "-99999999d"])
def test_anything_else_says_what_may_be_written(text: str) -> None:
    with pytest.raises(UsageError, match="write 2026-03-01"):
        read_moment(text, zone=LAGOS, now=NOW)


@pytest.mark.parametrize(
    ("text", "zone", "said"),
    [
        (
            "2026-03-29T02:30",
            "Europe/Berlin",
            "2026-03-29T02:30:00 is left out by the clocks of Europe/Berlin: "
            "write 2026-03-29T01:30:00+01:00 or 2026-03-29T03:30:00+02:00",
        ),
        (
            "2026-10-25 02:30",
            "Europe/Berlin",
            "2026-10-25T02:30:00 is there twice in Europe/Berlin: "
            "write 2026-10-25T02:30:00+01:00 or 2026-10-25T02:30:00+02:00",
        ),
        ("2026-04-24T00:15", "Africa/Cairo", "is left out"),
    ],
)
def test_a_time_at_which_clocks_are_turned_is_no_moment(text: str, zone: str, said: str) -> None:
    """Which of two was meant was guessed without a word."""
    with pytest.raises(UsageError, match=re.escape(said)):
        read_moment(text, zone=ZoneInfo(zone), now=NOW)


@pytest.mark.parametrize(
    ("text", "zone", "moment"),
    [
        ("2026-03-29T02:30+01:00", "Europe/Berlin", datetime(2026, 3, 29, 1, 30, tzinfo=UTC)),
        ("2026-03-29T03:00", "Europe/Berlin", datetime(2026, 3, 29, 1, 0, tzinfo=UTC)),
        ("2026-10-25T03:00", "Europe/Berlin", datetime(2026, 10, 25, 2, 0, tzinfo=UTC)),
        ("2026-04-24", "Africa/Cairo", datetime(2026, 4, 23, 22, 0, tzinfo=UTC)),  # begins at 01:00
        ("2026-11-01", "America/Havana", datetime(2026, 11, 1, 4, 0, tzinfo=UTC)),  # midnight is twice: the first
    ],
)
def test_a_day_on_which_clocks_are_turned_has_one_beginning(text: str, zone: str, moment: datetime) -> None:
    assert read_moment(text, zone=ZoneInfo(zone), now=NOW) == moment


@pytest.mark.parametrize("text", ["9999-12-31T23:00Z", "9001-01-01"])
def test_a_moment_that_is_none_in_other_zones_is_refused(text: str) -> None:
    """A list with one of them could be shown in no zone east of it."""
    with pytest.raises(UsageError, match="is behind the year 9000"):
        read_moment(text, zone=LAGOS, now=NOW)


def test_a_zone_is_suggested() -> None:
    with pytest.raises(UsageError, match="did you mean 'Africa/Lagos'"):
        read_zone("Afrika/Lagos")


def test_a_span_that_ends_before_it_begins_is_refused() -> None:
    with pytest.raises(UsageError, match="is not after --since"):
        span("2026-03-02", "2026-03-01", LAGOS)
    assert span("2026-03-01", None, LAGOS).until is None
