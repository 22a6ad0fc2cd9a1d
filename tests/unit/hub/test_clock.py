"""A source whose records end steadily a multiple of 15 minutes away has a wrong clock or zone."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdrhub.hub.clock import NEEDED, SLACK, WINDOW, Clocks, ClockWatch, spoken_offset
from cdrhub.model.record import RawRecord, digest_of
from cdrhub.model.update import CallUpdate

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


def told(clocks: Clocks, revision: str, offset: timedelta, *, live: bool = True) -> None:
    """As many records, of a call that ended so long ago, as an offset is seen in."""
    body = b"-"
    for _ in range(WINDOW):
        record = RawRecord(
            source="pbx",
            received_at=NOW,
            content_type="text/plain",
            body=body,
            digest=digest_of(body),
            config_revision=revision,
            attributes={"live": live},
        )
        clocks.observe(record, CallUpdate(call_key="k", kind="cdr", digest=b"", values={"ended_at": NOW - offset}))
    clocks.look()


def test_a_reload_forgets_what_came_under_another_zone_and_nothing_else() -> None:
    clocks, hour = Clocks(), timedelta(hours=1)
    clocks.watch([("pbx", "old")])
    told(clocks, "old", hour)
    clocks.watch([("pbx", "old")])  # another source was changed
    clocks.look()
    assert clocks.suspect == {"pbx": hour}
    clocks.watch([("pbx", "new")])
    told(clocks, "old", hour)  # what waited in the journal
    assert clocks.suspect == {}


def test_what_did_not_come_live_tells_nothing_of_a_clock() -> None:
    clocks = Clocks()
    clocks.watch([("pbx", "r")])
    told(clocks, "r", timedelta(hours=1), live=False)
    assert clocks.suspect == {}


def test_offsets_are_spoken() -> None:
    assert spoken_offset(timedelta(hours=2)) == "2 h behind"
    assert spoken_offset(timedelta(hours=-5, minutes=-30)) == "5 h 30 min ahead"
