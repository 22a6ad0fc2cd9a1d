"""Every rule by its name: when it objects, until when, and when it does not."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, time, timedelta
from typing import Any

import pytest

from cdrhub.model.dialling import Refusal
from cdrhub.model.disposition import Disposition
from cdrhub.redial.model import Attempt, AttemptState, Case, CaseState
from cdrhub.redial.policy import (
    CAUTIOUS,
    HARD_STOP_REQUESTS,
    PLAIN,
    RULES,
    Policy,
    Surroundings,
    objection,
    zones_of,
)
from cdrhub.redial.window import Hours, Window
from support.redial import FIRST, NOON, SECOND, around, attempt, case, number, over

HOUR = timedelta(hours=1)
DAY_WINDOW = Policy(window=Window(hours=(Hours(start=time(8), end=time(21)),)))


def asked(
    of: Case, *, policy: Policy = PLAIN, key: str = FIRST, **surroundings: Any
) -> tuple[str, datetime | None] | None:
    found = objection(of, number(key), policy, around(**surroundings))
    return (found.rule, found.until) if found is not None else None


def test_nothing_in_the_way_is_no_objection() -> None:
    assert asked(case()) is None


def test_the_order_of_the_rules_is_the_documented_one() -> None:
    assert [rule.__name__ for rule in RULES] == [
        "case_closed",
        "do_not_call",
        "hard_stop",
        "number_cap",
        "case_cap",
        "period_cap",
        "cool_down",
        "calling_window",
        "number_in_call",
        "shared_number",
        "number_requested",
        "agent_busy",
        "source_unhealthy",
        "redial_paused",
    ]


@pytest.mark.parametrize("state", [CaseState.CONTACTED, CaseState.EXHAUSTED, CaseState.CANCELLED])
def test_a_closed_case_is_not_dialled(state: CaseState) -> None:
    assert asked(case(state=state)) == ("case_closed", None)


def test_a_number_marked_in_its_case_is_never_dialled() -> None:
    found = objection(case(), number(do_not_call=True), PLAIN, around())
    assert found is not None
    assert (found.rule, found.until) == ("do_not_call", None)


def test_a_entry_for_ever_holds_for_ever() -> None:
    assert asked(case(), do_not_call={FIRST: None}) == ("do_not_call", None)


def test_a_entry_holds_until_its_date() -> None:
    assert asked(case(), do_not_call={FIRST: NOON + HOUR}) == ("do_not_call", NOON + HOUR)
    assert asked(case(), do_not_call={FIRST: NOON}) is None


def test_the_hard_stop_frees_when_the_oldest_of_five_is_a_day_old() -> None:
    requests = {FIRST: [NOON - timedelta(hours=h) for h in (1, 2, 3, 4, 20)]}
    assert asked(case(), requests=requests) == ("hard_stop", NOON + 4 * HOUR)


def test_the_hard_stop_forgets_what_is_a_day_old_and_other_numbers() -> None:
    four = [NOON - timedelta(hours=h) for h in (1, 2, 3, 4)]
    assert asked(case(), requests={FIRST: [*four, NOON - timedelta(hours=24)]}) is None
    assert asked(case(), requests={SECOND: [NOON - HOUR] * HARD_STOP_REQUESTS}) is None


def test_a_cap_per_number_counts_every_round() -> None:
    of = case(attempts=[over(round=1), over(round=2)], round=2)
    assert asked(of, policy=Policy(number_cap=2)) == ("number_cap", None)
    assert asked(of, policy=Policy(number_cap=3)) is None
    assert asked(of, policy=Policy(number_cap=2), key=SECOND) is None


def test_a_cap_per_case_counts_all_its_numbers() -> None:
    of = case(attempts=[over(FIRST), over(SECOND)])
    assert asked(of, policy=Policy(case_cap=2)) == ("case_cap", None)


@pytest.mark.parametrize(
    "not_tried",
    [
        over(outcome=Disposition.NOT_DIALLED),
        attempt(state=AttemptState.REFUSED, refusal=Refusal.AGENT),
        attempt(state=AttemptState.REFUSED, refusal=Refusal.NETWORK),
        attempt(state=AttemptState.CANCELLED),
    ],
    ids=["not_dialled", "agent", "network", "cancelled"],
)
def test_caps_do_not_count_what_never_reached_the_number(not_tried: Attempt) -> None:
    assert asked(case(attempts=[not_tried]), policy=Policy(number_cap=1, case_cap=1, period_cap=1)) is None


def test_a_cap_per_period_frees_when_the_oldest_leaves_the_period() -> None:
    made = [over(requested_at=NOON - timedelta(days=days)) for days in (6, 3, 1)]
    policy = Policy(period_cap=3, period=timedelta(days=7))
    assert asked(case(attempts=made), policy=policy) == ("period_cap", NOON + timedelta(days=1))


def test_a_cool_down_belongs_to_the_number_and_its_result() -> None:
    policy = Policy(cool_down={Disposition.BUSY: 2 * HOUR})
    of = case(attempts=[over(FIRST, Disposition.BUSY, ended_at=NOON - HOUR)])
    assert asked(of, policy=policy) == ("cool_down", NOON + HOUR)
    assert asked(of, policy=policy, key=SECOND) is None
    assert asked(of, policy=policy, now=NOON + HOUR) is None


def test_time_between_numbers_holds_the_whole_case() -> None:
    policy = Policy(between_numbers=HOUR)
    assert asked(case(attempts=[over(FIRST)]), policy=policy, key=SECOND) == ("cool_down", NOON + HOUR)


@pytest.mark.parametrize("not_tried", [over(outcome=Disposition.NOT_DIALLED), attempt(state=AttemptState.CANCELLED)])
def test_nobody_rests_from_what_never_reached_them(not_tried: Attempt) -> None:
    policy = Policy(between_numbers=HOUR, cool_down={Disposition.NOT_DIALLED: HOUR})
    assert asked(case(attempts=[not_tried]), policy=policy) is None


def test_a_conversation_holds_the_whole_case() -> None:
    of = case(attempts=[over(FIRST, Disposition.ANSWERED)])
    assert asked(of, policy=CAUTIOUS, key=SECOND) == ("cool_down", NOON + timedelta(days=7))


def test_only_a_conversation_holds_as_one_and_only_where_the_policy_says_so() -> None:
    talk, none = over(FIRST, Disposition.ANSWERED), over(FIRST, Disposition.NO_ANSWER)
    assert asked(case(attempts=[none]), policy=Policy(contacted_cool_down=HOUR), key=SECOND) is None
    assert asked(case(attempts=[talk]), policy=Policy(between_numbers=HOUR), key=SECOND) == ("cool_down", NOON + HOUR)
    assert asked(case(attempts=[talk]), policy=PLAIN, key=SECOND) is None


@pytest.mark.parametrize(("asked_back", "rests"), [(None, True), (NOON - HOUR, True), (NOON, False)])
def test_a_conversation_of_no_attempt_is_one(asked_back: datetime | None, rests: bool) -> None:
    found = asked(case(), policy=CAUTIOUS, talked_at=NOON - HOUR / 2, asked_back=asked_back)
    assert found == (("cool_down", NOON - HOUR / 2 + timedelta(days=7)) if rests else None)
    assert asked(case(), policy=PLAIN, talked_at=NOON) is None


@pytest.mark.parametrize(("minutes", "rests"), [(0, False), (2, True)])
def test_a_person_who_asked_to_be_called_back_is_called_back(minutes: int, rests: bool) -> None:
    """A conversation that was asked for a minute before NOON, and a wish of so many minutes before."""
    of = case(attempts=[over(FIRST, Disposition.ANSWERED)])
    found = asked(of, policy=CAUTIOUS, now=NOON + 3 * HOUR, asked_back=NOON - timedelta(minutes=minutes))
    assert found == (("cool_down", NOON + timedelta(days=7)) if rests else None)


def test_the_window_is_in_the_zone_of_the_number() -> None:
    # 20:30 UTC is 21:30 in Lagos: the next moment inside is 8:00 there, 7:00 UTC of the next day
    late = NOON.replace(hour=20, minute=30)
    assert asked(case(), policy=DAY_WINDOW, now=late) == ("calling_window", NOON.replace(day=19, hour=7))
    assert asked(case(), policy=DAY_WINDOW, now=NOON) is None


def test_a_window_of_minutes_is_waited_for() -> None:
    policy = Policy(window=Window(hours=(Hours(start=time(14, 5), end=time(14, 10)),)))  # Lagos is an hour ahead of UTC
    assert asked(case(), policy=policy) == ("calling_window", NOON.replace(hour=13, minute=5))


def test_the_zone_of_the_case_stands_above_that_of_the_number() -> None:
    of = case(timezone="America/Los_Angeles")  # 04:00 there
    assert asked(of, policy=DAY_WINDOW) == ("calling_window", NOON.replace(hour=16))


def test_a_number_that_was_given_without_its_country_has_the_zone_of_that() -> None:
    assert objection(case(), replace(number(FIRST), number="08039100001"), DAY_WINDOW, around()) is None


def test_a_number_of_many_zones_waits_until_all_are_inside() -> None:
    toll_free = "+18005550199"
    zones = zones_of("", toll_free)
    assert len(zones) > 1
    found = objection(case(toll_free), number(toll_free), DAY_WINDOW, around(now=NOON))
    assert found is not None
    assert found.rule == "calling_window"
    assert found.until is None or all(8 <= found.until.astimezone(zone).hour < 21 for zone in zones)


@pytest.mark.parametrize("number", ["08039100001", "+881612345678", "no number"])
def test_a_number_whose_zone_nobody_knows_is_not_called_by_the_clock_of_another_place(number: str) -> None:
    assert asked(case(number), key=number) is None
    assert asked(case(number), policy=DAY_WINDOW, key=number) == ("calling_window", None)
    assert asked(case(number, timezone="Africa/Lagos"), policy=DAY_WINDOW, key=number) is None
    assert asked(case(number, timezone="Nowhere/Land"), policy=DAY_WINDOW, key=number) == ("calling_window", None)


def test_a_number_that_is_not_known_in_its_country_is_called_while_all_of_it_is_inside() -> None:
    written = replace(number("2347000000"), number="+234 7000000")
    late = NOON.replace(hour=20, minute=30)  # 21:30 in Lagos
    assert objection(case(), written, DAY_WINDOW, around()) is None
    found = objection(case(), written, DAY_WINDOW, around(now=late))
    assert found is not None
    assert found.until == NOON.replace(day=19, hour=7)


@pytest.mark.parametrize(("minute", "second", "allowed"), [(57, 59, True), (58, 0, False), (59, 59, False)])
def test_the_persons_telephone_rings_before_the_window_ends(minute: int, second: int, allowed: bool) -> None:
    late = NOON.replace(hour=19, minute=minute, second=second)  # until 21:00 in Lagos, and the agent is rung first
    refused = ("calling_window", NOON.replace(day=19, hour=7))
    assert asked(case(), policy=DAY_WINDOW, now=late) == (None if allowed else refused)


@pytest.mark.parametrize(
    ("rule", "seconds", "surroundings"),
    [
        ("number_in_call", 15, {"in_call": frozenset({FIRST})}),
        ("shared_number", 3600, {"held": {FIRST: NOON + HOUR}}),
        ("number_requested", 15, {"requested": frozenset({FIRST})}),
        ("agent_busy", 15, {"agent_busy": True}),
        ("source_unhealthy", 30, {"source_healthy": False}),
        ("redial_paused", 30, {"paused_by": "campaign spring"}),
    ],
)
def test_what_passes_by_itself_is_looked_at_again(rule: str, seconds: int, surroundings: dict[str, Any]) -> None:
    assert asked(case(), **surroundings) == (rule, NOON + timedelta(seconds=seconds))


@pytest.mark.parametrize(
    ("values", "rings"),
    [
        ({"deadline_at": NOON + HOUR}, True),
        ({"deadline_at": NOON + HOUR, "state": AttemptState.SUPERSEDED}, True),
        ({"deadline_at": NOON}, False),
        ({"deadline_at": NOON + HOUR, "call_id": "0199cccc-0000-7000-8000-000000000001"}, False),
        ({"deadline_at": NOON + HOUR, "state": AttemptState.REFUSED}, False),
    ],
    ids=["accepted", "superseded", "overdue", "its call was seen", "refused"],
)
def test_a_person_whose_telephone_may_ring_is_left_alone(values: dict[str, Any], rings: bool) -> None:
    found = asked(case(attempts=[attempt(**values)]), key=SECOND)
    assert found == (("number_requested", NOON + timedelta(seconds=15)) if rings else None)


def test_a_person_requested_by_another_of_their_numbers_is_left_alone() -> None:
    found = asked(case(FIRST, SECOND), requested=frozenset({SECOND}))
    assert found == ("number_requested", NOON + timedelta(seconds=15))


def test_a_person_in_a_call_by_another_of_their_numbers_is_left_alone() -> None:
    found = objection(case(FIRST, SECOND), number(FIRST), PLAIN, around(in_call=frozenset({SECOND})))
    assert found is not None
    assert found.rule == "number_in_call"


def test_a_hold_of_another_case_ends() -> None:
    assert asked(case(), held={FIRST: NOON}) is None


def test_the_first_rule_that_objects_decides() -> None:
    everything = Surroundings(now=NOON, do_not_call={FIRST: None}, agent_busy=True, source_healthy=False)
    found = objection(case(state=CaseState.EXHAUSTED), number(), PLAIN, everything)
    assert found is not None
    assert found.rule == "case_closed"
