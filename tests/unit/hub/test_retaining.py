"""Which clock retention believes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from cdrhub.hub.retaining import Clock

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)


def days(count: float) -> timedelta:
    return timedelta(days=count)


@pytest.mark.parametrize("after", [HOUR, -HOUR, days(7), days(-7)])
def test_a_time_near_the_one_before_is_believed(after: timedelta) -> None:
    assert Clock(believed=NOW).at(NOW + after) == Clock(believed=NOW + after)


@pytest.mark.parametrize("away", [days(8), days(3650), days(-9000)])
def test_one_far_from_it_is_believed_when_it_went_on_for_days(away: timedelta) -> None:
    clock, now = Clock(believed=NOW), NOW + away
    looks = 0
    while (clock := clock.at(now)).doubted is not None:
        assert clock == Clock(believed=NOW, doubted=NOW + away)
        looks, now = looks + 1, now + HOUR
    assert (looks, clock) == (72, Clock(believed=NOW + away + days(3)))


def test_a_clock_that_is_set_right_meanwhile_is_believed_at_once() -> None:
    doubting = Clock(believed=NOW).at(NOW + days(3650))
    assert doubting.at(NOW + 5 * HOUR) == Clock(believed=NOW + 5 * HOUR)


@pytest.mark.parametrize("further", [days(400), -HOUR])
def test_a_second_jump_is_doubted_anew(further: timedelta) -> None:
    there = NOW + days(3650)
    assert Clock(believed=NOW).at(there).at(there + further) == Clock(believed=NOW, doubted=there + further)


@pytest.mark.parametrize("clock", [Clock(believed=NOW), Clock(believed=NOW, doubted=NOW + days(3650))])
def test_it_is_written_and_read(clock: Clock) -> None:
    assert Clock.read(clock.written()) == clock
