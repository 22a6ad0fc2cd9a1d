"""Jumps of historyid: told after a grace, not for what came late, not for a new numbering."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdrhub.sources.threecx.config import ThreeCXSettings
from cdrhub.sources.threecx.gaps import GRACE, MAX_OPEN, MAX_REMEMBERED, GapWatch, history_id_reader

T0 = datetime(2026, 3, 2, 8, 0, tzinfo=UTC)


def _feed(watch: GapWatch, numbers: Sequence[int]) -> datetime:
    moment = T0
    for number in numbers:
        moment += timedelta(seconds=1)
        watch.feed(number, moment)
    return moment


def _ranges(watch: GapWatch, now: datetime) -> list[tuple[int, int]]:
    return [(missing.first, missing.last) for missing in watch.due(now)]


def test_a_jump_is_told_once_and_after_its_grace() -> None:
    watch = GapWatch()
    last = _feed(watch, [100, 101, 105])
    assert watch.due(last + GRACE - timedelta(seconds=1)) == []
    (missing,) = watch.due(last + GRACE)
    assert (missing.first, missing.last, missing.count) == (102, 104, 3)
    assert (missing.since, missing.until) == (T0 + timedelta(seconds=2), T0 + timedelta(seconds=3))
    assert watch.due(last + 2 * GRACE) == []


@pytest.mark.parametrize(
    ("numbers", "expected"),
    [
        ([100, 102, 101], []),
        ([100, 105, 103], [(101, 102), (104, 104)]),
        ([100, 105, 101, 104], [(102, 103)]),
        ([100, 100, 99, 101], []),
        ([100, 101, 1, 2, 3], []),
        ([100, 103, 1, 2], []),
        ([100, 200_000, 200_001], []),
        ([100, 102, 104], [(101, 101), (103, 103)]),
    ],
)
def test_what_is_missing(numbers: Sequence[int], expected: list[tuple[int, int]]) -> None:
    watch = GapWatch()
    assert _ranges(watch, _feed(watch, numbers) + GRACE) == expected


def test_the_first_number_is_compared_only_to_a_remembered_one() -> None:
    fresh = GapWatch()
    assert _ranges(fresh, _feed(fresh, [500]) + GRACE) == []
    remembering = GapWatch(497, T0 - timedelta(hours=1))
    now = _feed(remembering, [500]) + GRACE
    (missing,) = remembering.due(now)
    assert (missing.first, missing.last, missing.since) == (498, 499, T0 - timedelta(hours=1))
    assert remembering.account == (500, [])


def test_more_gaps_than_are_held_are_told_early() -> None:
    watch = GapWatch()
    now = _feed(watch, [2 * n + 1 for n in range(MAX_OPEN + 4)])
    told = watch.due(now - timedelta(seconds=30))
    assert len(told) >= 3


@given(st.permutations(range(50, 70)), st.sets(st.integers(51, 68)))
def test_in_any_order_exactly_what_never_came_is_missing(order: list[int], lost: set[int]) -> None:
    came = [number for number in order if number not in lost]
    watch = GapWatch(49, T0)
    now = _feed(watch, came) + GRACE
    told = {n for missing in watch.due(now) for n in range(missing.first, missing.last + 1)}
    assert told == {number for number in lost if number < max(came)}


@given(st.lists(st.integers(0, 30_000)), st.lists(st.integers(0, 30_000)))
def test_what_is_remembered_goes_on_as_if_nothing_had_been(before: list[int], then: list[int]) -> None:
    watch = GapWatch()
    _feed(watch, before)
    account = watch.account
    ahead = watch.after(then, T0)
    assert watch.account == account
    again = GapWatch.remembered(watch.memory())
    for number in then:
        again.feed(number, T0)
    assert ahead.account == again.account


def test_of_many_gaps_the_newest_are_remembered() -> None:
    watch = GapWatch()
    _feed(watch, [2 * n + 1 for n in range(MAX_REMEMBERED + 5)])
    _, ranges = GapWatch.remembered(watch.memory()).account
    assert ranges == watch.account[1][-MAX_REMEMBERED:]


def test_a_clock_that_is_set_back_hides_no_gap() -> None:
    watch = GapWatch()
    _feed(watch, [100, 105])
    assert _ranges(watch, T0 - timedelta(hours=1)) == [(101, 104)]


def test_at_the_end_all_is_told() -> None:
    watch = GapWatch()
    _feed(watch, [100, 105])
    assert [(missing.first, missing.last) for missing in watch.all()] == [(101, 104)]
    assert watch.all() == []


def test_the_historyid_of_a_line() -> None:
    standard = history_id_reader(ThreeCXSettings())
    assert standard(b"Call 23193" + b"," * 19, cut=False) == 23193
    assert standard(b"23193" + b"," * 26, cut=True) == 23193
    assert standard(b"Call 23193" + b"," * 18, cut=False) is None
    assert standard(b"Call x" + b"," * 19, cut=False) is None
    assert standard(b"Call " + b"9" * 30 + b"," * 19, cut=False) is None
    own = history_id_reader(ThreeCXSettings(fields=("time-start", "historyid")))
    assert own(b"Call 2026/03/02 08:00:00,88781", cut=False) == 88781
    assert history_id_reader(ThreeCXSettings(fields=("time-start", "dial-no")))(b"Call a,7", cut=False) is None


IDS = b"23193,00000172FF10D141_4445"


@pytest.mark.parametrize(
    ("fields", "line", "number"),
    [
        (None, b"Call " + IDS + b"," * 26, 23193),  # a comma in a name
        (None, b"Call " + IDS + b"," * 7, 23193),  # the set of fields was changed on the PBX
        (None, b"Call 23193,another" + b"," * 26, None),
        (None, b"Call " + IDS[6:] + b",23193" + b"," * 25, None),
        (("dial-no", "callid", "historyid", "to-dispname"), b"Call 7," + IDS[6:] + b",88781,Doe, Ada", 88781),
        (("dial-no", "callid", "historyid", "to-dispname"), b"Call " + IDS + b"," * 18, 23193),
        (("dial-no", "callid", "to-dispname"), b"Call " + IDS + b"," * 18, None),
    ],
)
def test_the_historyid_of_a_line_of_another_number_of_fields_stands_with_the_callid(
    fields: tuple[str, ...] | None, line: bytes, number: int | None
) -> None:
    history_id_of = history_id_reader(ThreeCXSettings(fields=fields))
    assert history_id_of(line, cut=False) == number
    assert history_id_of(line, cut=True) is None  # the rest of it is lost
