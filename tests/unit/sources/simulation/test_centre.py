"""The simulated contact centre: possible calls, all kinds of them, the same for the same seed."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import islice, pairwise

import phonenumbers
import pytest

from cdrhub.model.disposition import Disposition, Outcome
from cdrhub.model.numbers import NumberPlan, read_number
from cdrhub.sources.simulation.centre import OFFICE_DAY, QUEUES, Centre, calls, staff
from cdrhub.sources.simulation.numbers import customers, lines
from cdrhub.sources.simulation.planned import Course, PlannedCall, Side, TransferKind

START = datetime(2026, 3, 2, 8, 0, tzinfo=UTC)
CENTRE = Centre(start=START)
SAMPLE = tuple(islice(calls(CENTRE), 4_000))


def test_calls_come_in_the_order_of_their_start_and_are_counted() -> None:
    assert [call.number for call in SAMPLE] == list(range(1, len(SAMPLE) + 1))
    assert all(before.started_at <= after.started_at for before, after in pairwise(SAMPLE))
    assert SAMPLE[0].started_at >= START


def test_a_seed_gives_the_same_calls() -> None:
    assert SAMPLE[:100] == tuple(islice(calls(CENTRE), 100))
    assert SAMPLE[:100] != tuple(islice(calls(replace(CENTRE, seed=2)), 100))


def test_all_kinds_of_calls_happen() -> None:
    courses = Counter((call.course, call.disposition) for call in SAMPLE)
    assert {course for course, _ in courses} == set(Course)
    assert {disposition for _, disposition in courses} == set(Disposition) - {
        Disposition.NOT_DIALLED,
        Disposition.UNKNOWN,
    }
    outcomes = Counter(attempt.outcome for call in SAMPLE for attempt in call.attempts)
    assert set(outcomes) == {
        Outcome.ANSWERED,
        Outcome.NO_ANSWER,
        Outcome.REJECTED,
        Outcome.BUSY,
        Outcome.CANCELLED,
        Outcome.LOST_RACE,
    }
    assert {call.transfer.kind for call in SAMPLE if call.transfer is not None} == set(TransferKind)
    assert {call.hung_up for call in SAMPLE} == set(Side)


def test_callers_wait_and_give_up() -> None:
    queued = [call for call in SAMPLE if call.course is Course.QUEUE]
    abandoned = [call for call in queued if call.disposition is Disposition.ABANDONED]
    assert 0.08 < len(abandoned) / len(queued) < 0.25
    assert any(not call.attempts for call in abandoned)
    assert any(call.attempts and call.attempts[-1].outcome is Outcome.CANCELLED for call in abandoned)
    second = [call for call in queued if len({attempt.offered_at for attempt in call.attempts}) > 1]
    assert any(call.disposition is Disposition.ANSWERED for call in second)
    crowded = replace(CENTRE, agents=6, calls_per_hour=600.0)
    left = Counter(call.left_queue for call in islice(calls(crowded), 1_000))
    assert left[Outcome.TIMEOUT] > 0
    assert left[Outcome.ABANDONED] > left[Outcome.TIMEOUT]


@pytest.mark.parametrize("centre", [CENTRE, replace(CENTRE, agents=6, calls_per_hour=900.0, seed=5)])
def test_an_agent_is_never_in_two_calls(centre: Centre) -> None:
    taken: dict[str, list[tuple[datetime, datetime, int]]] = defaultdict(list)
    for call in islice(calls(centre), 3_000):
        handed_over = call.ended_at
        if call.transfer is not None:
            blind = call.transfer.kind is TransferKind.BLIND
            handed_over = call.transfer.at if blind else call.transfer.joined_at
            taken[call.transfer.to.extension].append((call.transfer.at, call.ended_at, call.number))
        if call.caller is not None:
            taken[call.caller.extension].append((call.started_at, call.ended_at, call.number))
        for attempt in call.attempts:
            if attempt.outcome is not Outcome.BUSY:
                until = handed_over if attempt.outcome is Outcome.ANSWERED else attempt.until
                taken[attempt.agent.extension].append((attempt.offered_at, until, call.number))
    assert max(map(len, taken.values())) > 1
    for extension, spans in taken.items():
        spans.sort()
        for (_, until, one), (since, _, other) in pairwise(spans):
            assert until <= since, f"{extension} is in call {one} and {other}"


def moments(call: PlannedCall) -> list[datetime]:
    transfer = call.transfer
    between = () if transfer is None else (transfer.at, transfer.answered_at, transfer.joined_at)
    some = (call.started_at, call.queued_at, call.answered_at, *between, call.ended_at)
    return [at for at in some if at is not None]


def test_the_times_of_a_call_are_in_order_and_whole_seconds_apart() -> None:
    for call in SAMPLE:
        times = moments(call)
        assert times == sorted(times), call
        others = [at for attempt in call.attempts for at in (attempt.offered_at, attempt.until)]
        others += [at for at in (call.connected_at, call.ringing_at, call.wrapped_up_at) if at is not None]
        for at in times + others:
            assert (at - call.started_at) % timedelta(seconds=1) == timedelta(), call
        for attempt in call.attempts:
            assert call.started_at <= attempt.offered_at <= attempt.until <= call.ended_at
        assert (call.answered_at is not None) == (call.disposition is Disposition.ANSWERED)
        assert call.talk_seconds > 0 or call.answered_at is None
        assert call.duration_seconds >= call.talk_seconds
        assert call.ended_at - call.started_at < timedelta(hours=1)
        assert (call.queue is None) == (call.wait_seconds is None)
        assert (call.agent is None) == (call.answered_at is None)


def test_a_contact_is_tried_on_one_number_after_another_until_it_is_reached() -> None:
    tried: dict[str, list[PlannedCall]] = defaultdict(list)
    for call in SAMPLE:
        assert (call.contact is not None) == (call.course is Course.CAMPAIGN)
        if call.contact is not None:
            tried[call.contact.ref].append(call)
    assert max(map(len, tried.values())) == 3
    for dialled in tried.values():
        contact = dialled[0].contact
        assert contact is not None
        assert [call.position for call in dialled] == list(range(len(dialled)))
        assert [call.customer for call in dialled] == list(contact.numbers[: len(dialled)])
        assert all(call.answered_at is None for call in dialled[:-1])
        assert all(after.started_at > before.ended_at for before, after in pairwise(dialled))


def test_the_rate_follows_the_day() -> None:
    centre = replace(CENTRE, day=OFFICE_DAY, calls_per_hour=200.0)
    by_hour = Counter(
        call.started_at.hour
        for call in islice(calls(centre), 3_000)
        if call.started_at < START + timedelta(days=2) and call.position == 0
    )
    assert min(by_hour) == 8
    assert max(by_hour) == 17
    assert by_hour[10] > by_hour[8]
    assert by_hour[10] > by_hour[12]
    assert 300 < by_hour[10] < 500  # two days
    with pytest.raises(ValueError, match="a day has 24 hours, and calls in one of them"):
        next(calls(replace(CENTRE, day=(0.0,) * 24)))


def test_a_centre_has_as_many_agents_as_its_calls_need() -> None:
    assert len(staff(replace(CENTRE, calls_per_hour=3_000.0))) > 3 * len(staff(CENTRE))
    assert [agent.extension for agent in staff(replace(CENTRE, agents=6))] == ["101", "102", "103", "104", "105", "106"]
    many = staff(replace(CENTRE, calls_per_hour=36_000.0))
    assert len({agent.extension for agent in many}) == len(many)
    assert {len(agent.extension) for agent in many} == {4}
    assert {agent.team for agent in many} == {queue.name for queue in QUEUES}


@pytest.mark.parametrize("region", ["FR", "NG", "US", "IL", "DE", "CN"])
def test_numbers_are_valid_in_their_country(region: str) -> None:
    plan = NumberPlan(region=region)
    for number in (*customers(region), *lines(region)):
        assert read_number(number.dialled, plan).e164 == number.e164
        assert read_number(f"+{number.international}", plan).e164 == number.e164
    assert len(customers(region)) > 100
    assert (
        not {number.e164 for number in customers(region)} & {number.e164 for number in lines(region)} or region == "US"
    )


def test_every_country_has_numbers() -> None:
    for region in [*sorted(phonenumbers.SUPPORTED_REGIONS)[::25], "AR", "TA"]:
        assert customers(region)
        assert lines(region)
    with pytest.raises(ValueError, match="'XX' has no numbers: write a two-letter country such as 'NG'"):
        customers("XX")
