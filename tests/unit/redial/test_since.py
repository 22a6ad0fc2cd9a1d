"""Since when a hub dials, and what is old news to it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from cdrhub.redial.since import Since

BEGAN = datetime(2026, 3, 9, 12, tzinfo=UTC)
MAX_AGE = timedelta(seconds=300)


def after(seconds: float) -> datetime:
    return BEGAN + timedelta(seconds=seconds)


@pytest.mark.parametrize(("due", "late"), [(-301, True), (-300, False), (0, False), (60, False)])
def test_what_was_due_long_before_it_began_is_old_news(due: float, late: bool) -> None:
    since = Since(BEGAN, max_age=MAX_AGE)
    assert since.too_late(after(due), now=after(86_400)) is late


def test_to_a_hub_that_never_began_nothing_is_old_news() -> None:
    since = Since(None, max_age=MAX_AGE)
    since.looked(after(0))
    assert since.at(after(1)) is None
    assert not since.too_late(after(-86_400), now=after(1))


@pytest.mark.parametrize(("seconds", "began"), [(300, 0), (301, 301)])
def test_who_could_not_look_for_long_has_just_begun(seconds: float, began: float) -> None:
    since = Since(BEGAN, max_age=MAX_AGE)
    since.looked(after(0))
    since.looked(after(seconds))
    assert since.at(after(seconds + 60)) == after(began)


def test_the_first_look_may_come_late() -> None:
    since = Since(BEGAN, max_age=MAX_AGE)
    since.looked(after(86_400))
    assert since.at(after(86_400)) == BEGAN


def test_a_clock_that_was_set_back_has_a_new_beginning_from_the_next_look_on() -> None:
    since = Since(BEGAN, max_age=MAX_AGE)
    assert since.at(after(-3_600)) == after(-3_600)
    assert not since.too_late(after(-3_900), now=after(-3_600))
    assert since.at(after(60)) == BEGAN  # nobody looked meanwhile
    since.looked(after(-3_600))
    assert since.at(after(-3_300)) == after(-3_600)


def test_a_clock_may_have_been_set_back_before_the_first_look_too() -> None:
    since = Since(BEGAN, max_age=MAX_AGE)
    assert since.set_back(after(0))
    since.looked(after(0))
    assert [since.set_back(after(seconds)) for seconds in (-1, 0, 1)] == [True, False, False]


def test_asking_changes_nothing() -> None:
    since = Since(BEGAN, max_age=MAX_AGE)
    since.at(after(-3_600))
    since.too_late(after(-3_600), now=after(-3_600))
    assert since.at(after(60)) == BEGAN


@pytest.mark.parametrize(("seconds", "began"), [(300, 0), (301, 301)])
def test_a_reload_during_an_outage_makes_nothing_new_that_was_due_in_it(seconds: float, began: float) -> None:
    before = Since(BEGAN, max_age=timedelta(days=1))
    before.looked(after(0))
    since = before.under(MAX_AGE)
    assert since.set_back(after(seconds)), "what waits is looked at anew under the new configuration"
    since.looked(after(seconds))
    assert not since.set_back(after(seconds))
    assert since.at(after(seconds + 60)) == after(began)


@pytest.mark.parametrize(("seconds", "late"), [(300, False), (301, True)])
def test_who_asks_first_after_an_outage_is_told_of_it_too(seconds: float, late: bool) -> None:
    since = Since(BEGAN, max_age=MAX_AGE)
    since.looked(after(0))
    assert since.too_late(after(-1), now=after(seconds)) is late
