"""A source whose records end steadily a multiple of 15 minutes away has a wrong clock or zone."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdrhub.clock import NEEDED, SLACK, WINDOW, ClockWatch, spoken_offset

NOW = datetime(2026, 3, 9, 12, 0, tzinfo=UTC)


def watched(offsets: list[timedelta]) -> timedelta | None:
    watch = ClockWatch()
    for offset in offsets:
        watch.saw(ended_at=NOW - offset, received_at=NOW)
    return watch.offset


def test_records_on_time_are_not_suspect() -> None:
    assert watched([timedelta(seconds=1)] * WINDOW) is None


@pytest.mark.parametrize("hours", [-3, -1, 2, 5.5, 5.75])
def test_a_steady_offset_of_whole_quarters_is_named(hours: float) -> None:
    assert watched([timedelta(hours=hours, seconds=1)] * WINDOW) == timedelta(hours=hours)


def test_late_records_at_odd_distances_are_not_a_clock() -> None:
    assert watched([timedelta(minutes=7 * n + 5) for n in range(WINDOW)]) is None


def test_a_few_strays_do_not_hide_it_and_few_records_do_not_prove_it() -> None:
    strays = [timedelta(minutes=7)] * (WINDOW - NEEDED)
    assert watched(strays + [timedelta(hours=2)] * NEEDED) == timedelta(hours=2)
    assert watched([timedelta(hours=2)] * (WINDOW - 1)) is None


def test_it_recovers_once_the_zone_is_mended() -> None:
    assert watched([timedelta(hours=2)] * WINDOW + [timedelta(0)] * WINDOW) is None


@given(st.integers(-50, 50).filter(bool), st.integers(-int(SLACK.total_seconds()), int(SLACK.total_seconds())))
def test_any_offset_in_use_is_found_whatever_the_delay(quarters: int, delay: int) -> None:
    offset = timedelta(minutes=15 * quarters)
    assert watched([offset + timedelta(seconds=delay)] * WINDOW) == offset


def test_offsets_are_spoken() -> None:
    assert spoken_offset(timedelta(hours=2)) == "2 h behind"
    assert spoken_offset(timedelta(hours=-5, minutes=-30)) == "5 h 30 min ahead"
