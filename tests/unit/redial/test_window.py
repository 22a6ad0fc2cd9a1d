"""The calling window: its next opening, in every zone and on the days on which clocks are turned."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cdrhub.redial.window import AHEAD, Hours, Window

MINUTE = timedelta(minutes=1)
ZONES = (
    "UTC",
    "Europe/Berlin",
    "America/St_Johns",  # half an hour beside the others
    "Asia/Kathmandu",  # a quarter
    "Pacific/Chatham",  # a quarter, and clocks that are turned
    "Australia/Lord_Howe",  # turned by half an hour
    "Antarctica/Troll",  # turned by two hours
    "Africa/Casablanca",  # turned around Ramadan
)
TURNS = ("2026-02-15", "2026-03-08", "2026-03-22", "2026-03-29", "2026-04-04", "2026-10-03", "2026-10-25", "2026-11-01")

moments = st.builds(
    lambda day, since: datetime.fromisoformat(day).replace(tzinfo=UTC) + since - timedelta(days=1),
    st.sampled_from(TURNS),
    st.timedeltas(min_value=timedelta(), max_value=timedelta(days=2)),
)
hours = st.builds(
    lambda start, minutes, days: Hours(
        start=_of_the_day(start), end=_of_the_day(min(start + minutes, 1439)), first=days[0], last=days[1]
    ),
    st.integers(0, 1438),
    st.one_of(st.integers(1, 20), st.integers(1, 1439)),
    st.one_of(st.just((0, 6)), st.tuples(st.integers(0, 6), st.integers(0, 6))),
)
windows = st.builds(lambda some: Window(hours=tuple(some)), st.lists(hours, min_size=1, max_size=2))


def _of_the_day(minute: int) -> time:
    return time(minute // 60, minute % 60)


def daily(start: time, end: time) -> Window:
    return Window(hours=(Hours(start=start, end=end),))


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


def inside(window: Window, zones: list[ZoneInfo], moment: datetime) -> bool:
    return all(window.contains(moment.astimezone(zone)) for zone in zones)


@settings(max_examples=60, deadline=None)
@given(window=windows, names=st.lists(st.sampled_from(ZONES), min_size=1, max_size=2, unique=True), now=moments)
def test_no_moment_before_the_next_one_is_inside(window: Window, names: list[str], now: datetime) -> None:
    zones = [ZoneInfo(name) for name in names]
    found = window.next_inside(zones, now)
    # Windows open, and clocks are turned, at whole minutes: to look at each of those is to look everywhere.
    minute = now.replace(second=0, microsecond=0) + MINUTE
    looked = [now, *(minute + MINUTE * n for n in range((AHEAD - MINUTE) // MINUTE))]
    assert found == next((moment for moment in looked if inside(window, zones, moment)), None)


@pytest.mark.parametrize(
    ("now", "opens"),
    [
        ("2026-03-28T12:00+01:00", "2026-03-29T03:00+02:00"),  # 02:30 is left out
        ("2026-03-28T12:00:00.500000+01:00", "2026-03-29T03:00+02:00"),
        ("2026-10-24T12:00+02:00", "2026-10-25T02:30+02:00"),
        ("2026-10-25T02:50+02:00", "2026-10-25T02:30+01:00"),  # the hour comes twice
        ("2026-10-25T02:50+01:00", "2026-10-26T02:30+01:00"),
    ],
)
def test_the_hour_that_is_left_out_and_the_one_that_comes_twice(now: str, opens: str) -> None:
    window = daily(time(2, 30), time(2, 45) if "-10-" in now else time(3, 30))
    assert window.next_inside([ZoneInfo("Europe/Berlin")], at(now)) == at(opens)


def test_the_end_is_outside_and_the_start_is_inside() -> None:
    window, zones = daily(time(8), time(21)), [ZoneInfo("Europe/Berlin")]
    last = at("2026-06-01T20:59:59.999999+02:00")
    assert window.next_inside(zones, last) == last
    assert window.next_inside(zones, at("2026-06-01T21:00+02:00")) == at("2026-06-02T08:00+02:00")
    assert window.next_inside(zones, at("2026-06-02T08:00+02:00")) == at("2026-06-02T08:00+02:00")


def test_zones_that_are_never_inside_together() -> None:
    window = daily(time(9), time(10))
    assert window.next_inside([ZoneInfo("Europe/Berlin"), ZoneInfo("Asia/Tokyo")], at("2026-06-01T00:00Z")) is None


def test_days_of_the_week_are_those_of_the_zone() -> None:
    window = Window(
        hours=(Hours(start=time(8), end=time(20), last=4), Hours(start=time(9), end=time(13), first=5, last=5))
    )
    tokyo = [ZoneInfo("Asia/Tokyo")]
    sunday = at("2026-05-31T23:30Z")  # Monday there, half past eight
    assert window.next_inside(tokyo, sunday) == sunday
    assert window.next_inside(tokyo, at("2026-06-05T20:00+09:00")) == at("2026-06-06T09:00+09:00")
    assert window.next_inside(tokyo, at("2026-06-06T13:00+09:00")) == at("2026-06-08T08:00+09:00")
    assert str(window) == "Mon-Fri 08:00-20:00, Sat 09:00-13:00"


def test_days_may_lie_around_the_end_of_the_week() -> None:
    window = Window(hours=(Hours(start=time(9), end=time(18), first=6, last=3),))  # from Sunday to Thursday
    jerusalem = [ZoneInfo("Asia/Jerusalem")]
    assert window.next_inside(jerusalem, at("2026-06-04T18:00+03:00")) == at("2026-06-07T09:00+03:00")
