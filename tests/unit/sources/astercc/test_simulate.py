"""The simulated asterCC tells the truth: what it pushes makes the calls that its ledger says."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from itertools import pairwise
from math import inf
from pathlib import Path

import pytest

from cdrhub.errors import DecodeError
from cdrhub.model.agent import AgentState
from cdrhub.model.fold import fold
from cdrhub.model.update import CallUpdate
from cdrhub.sources.astercc.simulate import Team, simulate
from cdrhub.sources.simulation.centre import Centre, calls
from cdrhub.sources.simulation.comparison import Found, compared, people_of
from cdrhub.sources.simulation.ledger import Entry, Ledger, read
from cdrhub.sources.simulation.pace import Pace
from cdrhub.sources.simulation.pushing import Push
from cdrhub.sources.simulation.simulation import Due, Schedule, Simulation
from support.astercc import decoded, served
from support.intake import RecordingIntake

START = datetime(2026, 3, 9, 8, tzinfo=UTC)
CENTRE = Centre(seed=5, start=START, calls_per_hour=900, region="CN")
ZONE = "Asia/Shanghai"
WRONG = {"conflict", "unmapped_word", "value_dropped", "number_unparsed", "text_repaired", "time_ambiguous"}


def pushed(amount: int, *, centre: Centre = CENTRE, broken: float = 0.0) -> list[Due[Push]]:
    """What is pushed of so many calls."""
    return list(Schedule(calls(centre), Team(centre, timezone=ZONE, broken=broken).render, limit=amount))


def by_call(stream: Sequence[Due[Push]]) -> dict[str, list[CallUpdate]]:
    """What the decoder reads, call by call; in the order of arrival."""
    updates: dict[str, list[CallUpdate]] = {}
    for due in stream:
        if not due.what.broken and not due.what.silent:
            update = decoded(due.what.body, region="CN", agent_phones={})
            assert isinstance(update, CallUpdate)
            updates.setdefault(update.call_key, []).append(update)
    return updates


def assert_true(entry: Entry, updates: Sequence[CallUpdate]) -> None:
    call = fold(updates)
    assert call.opened
    people = people_of(asdict(leg) for leg in call.legs)
    shown = Found(columns={name: getattr(call, name) for name in entry.columns}, people=people)
    assert compared(entry, shown) == []
    assert not WRONG & set(call.flags), call.flags


def test_every_call_is_what_the_ledger_says() -> None:
    stream = pushed(600)
    updates = by_call(stream)
    entries = [due.entry for due in stream if due.entry is not None]
    assert {entry.call_key for entry in entries} == set(updates)
    assert len(entries) == 600
    for entry in entries:
        assert_true(entry, updates[entry.call_key])
    dispositions = Counter((entry.columns["direction"], entry.columns["disposition"]) for entry in entries)
    assert set(dispositions) == {
        ("inbound", "answered"),
        ("inbound", "abandoned"),
        ("outbound", "answered"),
        ("outbound", "no_answer"),
        ("outbound", "failed"),
    }
    assert any(person.role == "consult" for entry in entries for person in entry.people or ())
    assert any(entry.columns["contact_ref"] for entry in entries)


def test_an_agent_who_is_rung_twice_was_rung_twice() -> None:
    """In a small team a call comes back to the same phone: two channels, and two legs."""
    stream = pushed(100, centre=replace(CENTRE, seed=1, calls_per_hour=20))
    updates = by_call(stream)
    entries = [due.entry for due in stream if due.entry is not None]
    agents = [[person.agent_id for person in entry.people or () if person.role == "agent"] for entry in entries]
    assert any(len(set(some)) < len(some) for some in agents)
    for entry in entries:
        assert_true(entry, updates[entry.call_key])


def test_an_entry_comes_with_the_last_event_of_its_call() -> None:
    told: set[str] = set()
    for due in pushed(100):
        if not due.what.silent:
            update = decoded(due.what.body, region="CN")
            assert isinstance(update, CallUpdate)
            assert update.call_key not in told
        if due.entry is not None:
            told.add(due.entry.call_key)
    assert len(told) == 100


def test_events_come_late_and_twice_in_the_vendors_spelling() -> None:
    bodies = [due.what.body for due in pushed(200) if not due.what.silent]
    numbers = [int(body.partition(b"eventid=")[2].partition(b"&")[0]) for body in bodies]
    assert numbers != sorted(numbers)
    assert len(set(bodies)) < len(bodies)
    assert sum(due.what.repeated for due in pushed(200)) == len(bodies) - len(set(bodies))
    assert all(body.endswith(b"&") and b"%" not in body and b";1&" in b"".join(bodies) for body in bodies)
    assert any(b"calleridnum= 86" in body for body in bodies)
    assert any(b"calleridnum=+86" in body for body in bodies)


def test_agents_log_in_once_and_work_after_their_calls() -> None:
    states = [decoded(due.what.body) for due in pushed(200) if due.what.silent]
    assert all(isinstance(state, AgentState) for state in states)
    words = Counter((state.agent_id, state.state_raw) for state in states if isinstance(state, AgentState))
    assert {word for _, word in words} >= {"login", "hangupacw", "acwstop", "paused", "nopaused"}
    assert all(amount == 1 for (_, word), amount in words.items() if word == "login")


def test_no_agent_is_in_two_calls() -> None:
    busy: dict[str, list[tuple[datetime, datetime]]] = {}
    for entry in (due.entry for due in pushed(400) if due.entry is not None):
        answered, ended = entry.columns["answered_at"], entry.columns["ended_at"]
        agent = entry.columns["agent_id"]
        if isinstance(agent, str) and isinstance(answered, datetime) and isinstance(ended, datetime):
            busy.setdefault(agent, []).append((answered, ended))
    assert max(map(len, busy.values())) > 1
    for spans in busy.values():
        spans.sort()
        assert all(before[1] <= after[0] for before, after in pairwise(spans))


def test_one_seed_is_one_stream() -> None:
    assert pushed(50) == pushed(50)
    other = Centre(seed=6, start=START, region="CN")
    assert not {due.what.body for due in pushed(50)} & {due.what.body for due in pushed(50, centre=other)}


def test_broken_ones_cannot_be_read() -> None:
    broken = [due for due in pushed(50, broken=0.5) if due.what.broken]
    assert broken
    for due in broken:
        with pytest.raises(DecodeError):
            decoded(due.what.body)


async def test_a_simulated_team_loses_nothing(tmp_path: Path) -> None:
    intake = RecordingIntake()
    path = tmp_path / "ledger"
    with Ledger(path) as ledger:
        simulation = Simulation(centre=CENTRE, pace=Pace(start=START, speed=inf), ledger=ledger, count=60)
        async with served(intake) as url:
            await simulate(simulation, url=url, timezone=ZONE, broken=0.1)
    sent = simulation.sent
    assert sent.acknowledged == sent.records == len(intake.bodies)
    assert (sent.given_up, sent.calls, len(read(path))) == (0, 60, 60)
    assert sent.broken > 0
    assert sent.repeated == len(intake.bodies) - len(set(intake.bodies)) > 0
    assert sent.silent > 0


async def test_it_says_why_nothing_was_taken() -> None:
    async with served(RecordingIntake()) as url:
        simulation = Simulation(centre=CENTRE, pace=Pace(start=START, speed=inf), count=1)
        told: list[str] = []
        await simulate(simulation, url=url + "x", timezone=ZONE, trouble=told.append)
    assert told == [simulation.sent.last_error] * simulation.sent.records
    assert simulation.sent.given_up == simulation.sent.records > 0
    assert simulation.sent.last_error == "HTTP 404: no source has this path; is the secret right?"
    await simulate(simulation, url=url, timezone=ZONE)
    assert simulation.sent.last_error.endswith(": does the hub run, and listen there?")


async def test_calls_under_way_are_brought_to_their_end() -> None:
    """When it is to finish, nothing of what was begun is left out."""
    pace = Pace(start=START, speed=10_000.0)
    simulation = Simulation(centre=CENTRE, pace=pace)
    stream: list[Due[Push]] = []
    async for due in simulation.play(Team(CENTRE, timezone=ZONE).render):
        stream.append(due)
        if len(stream) == 40:
            pace.finish()
    seen = by_call(stream)
    entries = {due.entry.call_key: due.entry for due in stream if due.entry is not None}
    assert set(seen) == set(entries)
    for key, entry in entries.items():
        assert_true(entry, seen[key])
