"""What is sent when: in the order of time, to the end of each call, and nothing that was not begun."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import islice, pairwise
from math import inf

import pytest

from cdrhub.sources.simulation.centre import Centre, calls
from cdrhub.sources.simulation.ledger import Entry
from cdrhub.sources.simulation.pace import LONGEST_CALL, Pace, seconds_for, start_for
from cdrhub.sources.simulation.planned import PlannedCall
from cdrhub.sources.simulation.simulation import YIELD_EVERY, Due, Schedule, Simulation

START = datetime(2026, 3, 2, 8, 0, tzinfo=UTC)
CENTRE = Centre(start=START)


def both_ends(call: PlannedCall) -> Iterable[Due[tuple[str, int]]]:
    """A system that tells of the start and of the end of each call."""
    entry = Entry(system="test", call_key=str(call.number), columns={})
    return [
        Due(at=call.started_at, what=("start", call.number)),
        Due(at=call.ended_at, what=("end", call.number), entry=entry),
    ]


def the_end(call: PlannedCall) -> Iterable[Due[tuple[str, int]]]:
    """A system that tells of the end only."""
    return list(both_ends(call))[1:]


def test_things_come_in_the_order_of_time() -> None:
    due = list(islice(Schedule(calls(CENTRE), both_ends), 1_000))
    assert all(before.at <= after.at for before, after in pairwise(due))
    assert [item.what[1] for item in due if item.what[0] == "start"] == list(
        range(1, 1 + sum(item.what[0] == "start" for item in due))
    )


def test_a_limit_of_calls_ends_with_the_last_of_them() -> None:
    due = list(Schedule(calls(CENTRE), both_ends, limit=50))
    assert Counter(item.what for item in due) == Counter(
        (what, number) for what in ("start", "end") for number in range(1, 51)
    )


def test_what_began_earlier_is_left_out_whole() -> None:
    since = START + timedelta(hours=1)
    due = list(islice(Schedule(calls(CENTRE), both_ends, since=since, limit=20), 40))
    assert min(item.at for item in due) >= since
    assert set(Counter(item.what[1] for item in due).values()) == {2}
    told = list(Schedule(calls(CENTRE), the_end, since=since, limit=20))
    started = {call.number: call.started_at for call in islice(calls(CENTRE), 1_000)}
    assert any(started[item.what[1]] < since <= item.at for item in told)


def test_a_schedule_that_is_finished_brings_what_has_begun_to_its_end() -> None:
    schedule = Schedule(calls(CENTRE), both_ends)
    sent = [item.what for item in islice(schedule, 100)]
    schedule.finish()
    sent += [item.what for item in schedule]
    assert set(Counter(number for _, number in sent).values()) == {2}
    assert schedule.next_at() is None


async def test_a_simulation_finishes_what_it_began_and_nothing_else() -> None:
    simulation = Simulation(centre=CENTRE, pace=Pace(start=START, speed=20_000))
    sent: list[tuple[str, int]] = []
    async for due in simulation.play(both_ends):
        sent.append(due.what)
        simulation.settle(due)
        if len(sent) == 200:
            asyncio.get_running_loop().call_soon(simulation.pace.finish)
            await asyncio.sleep(0)
    assert 200 <= len(sent) < 400
    assert set(Counter(number for _, number in sent).values()) == {2}
    assert simulation.sent.calls == simulation.ledger.count == len(sent) // 2


async def test_without_a_pace_a_number_of_calls_is_played_at_once() -> None:
    simulation = Simulation(centre=CENTRE, pace=Pace(start=START, speed=inf), count=500)
    inbound = [due.what async for due in simulation.play(the_end, among=lambda call: call.caller is None)]
    assert len(inbound) == 500
    assert simulation.pace.now() > START + timedelta(minutes=30)


def warming() -> Simulation:
    """One whose centre starts an hour before its clock."""
    return Simulation(
        centre=replace(CENTRE, start=START - timedelta(hours=1)), pace=Pace(start=START, speed=inf), count=1
    )


async def test_whoever_asks_while_calls_are_planned_has_a_turn() -> None:
    warm = warming()
    turns = 0

    async def asks() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    asking = asyncio.create_task(asks())
    assert len([due async for due in warm.play(the_end)]) == 1
    asking.cancel()
    earlier = sum(call.started_at < START for call in islice(calls(warm.centre), 10_000))
    assert turns >= earlier // YIELD_EVERY > 1


async def test_planning_ends_when_it_is_to_finish() -> None:
    warm = warming()
    asyncio.get_running_loop().call_soon(warm.pace.finish)
    rendered: list[PlannedCall] = []

    def render(call: PlannedCall) -> Iterable[Due[tuple[str, int]]]:
        rendered.append(call)
        return the_end(call)

    assert [due async for due in warm.play(render)] == []
    assert len(rendered) == YIELD_EVERY


async def test_how_long_planning_took_is_told() -> None:
    warm = warming()
    assert warm.planning_seconds == 0
    assert len([due async for due in warm.play(the_end)]) == 1
    assert warm.planning_seconds > 0


async def test_the_clock_runs_at_its_speed_and_never_back() -> None:
    pace = Pace(start=START, speed=36_000)
    await pace.until(START + timedelta(minutes=10))
    assert pace.now() >= START + timedelta(minutes=10)
    waiting = asyncio.create_task(pace.until(START + timedelta(days=30)))
    await asyncio.sleep(0)
    pace.finish()
    await waiting
    assert pace.now() >= START + timedelta(days=30)
    with pytest.raises(ValueError, match="a speed of 0 is none"):
        Pace(start=START, speed=0)


def test_no_call_of_a_fast_simulation_ends_in_the_future() -> None:
    assert start_for(now=START, speed=1, seconds=60) == START
    assert start_for(now=START, speed=11, seconds=60) == START - timedelta(minutes=10) - LONGEST_CALL
    assert start_for(now=START, speed=61, seconds=None) < START - timedelta(days=7)
    assert start_for(now=START, speed=inf, seconds=None) < START - LONGEST_CALL


def test_a_few_calls_of_a_fast_simulation_lie_hours_back_and_not_days() -> None:
    assert start_for(now=START, speed=60, seconds=seconds_for(count=150, rate=10)) > START - timedelta(hours=2)
    for count in (1, 10, 150):
        for seed in range(50):
            chance = random.Random(seed)
            begun = sum(chance.expovariate(10) for _ in range(count))
            assert begun < seconds_for(count=count, rate=10)
