"""The simulated dialler tells the truth: the CDRs it pushes make the calls that its ledger says."""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime
from math import inf
from pathlib import Path

import orjson
import pytest

from cdrhub.errors import DecodeError
from cdrhub.model.fold import fold
from cdrhub.model.update import Ignored
from cdrhub.sources.enigma.simulate import CAMPAIGNS, CLICK2DIAL_CDRS, Dialler, Packet, simulate
from cdrhub.sources.simulation.centre import Centre, calls
from cdrhub.sources.simulation.ledger import Ledger, Person, read
from cdrhub.sources.simulation.pace import Pace
from cdrhub.sources.simulation.simulation import Due, Schedule, Simulation
from support.enigma import decoded, updated
from support.intake import until
from support.redis import RedisServer, running

CENTRE = Centre(seed=7, start=datetime(2026, 3, 9, 8, tzinfo=UTC), calls_per_hour=900, region="ZA")
WRONG = {"conflict", "unmapped_word", "value_dropped", "number_unparsed", "text_repaired"}


def pushed(amount: int, *, centre: Centre = CENTRE, broken: float = 0.0) -> list[Due[Packet]]:
    return list(Schedule(calls(centre), Dialler(centre, broken=broken).render, limit=amount))


def test_every_call_is_what_the_ledger_says() -> None:
    entries = []
    for due in pushed(800):
        if due.entry is None:
            continue
        entries.append(due.entry)
        call = fold([updated(due.what.body, region="ZA")])
        assert call.call_key == due.entry.call_key
        assert {name: getattr(call, name) for name in due.entry.columns} == dict(due.entry.columns)
        people = tuple(Person(role=leg.role, agent_id=leg.agent_id, outcome=leg.outcome) for leg in call.legs)
        assert people == due.entry.people
        assert not WRONG & set(call.flags), call.flags
    assert len({entry.call_key for entry in entries}) == len(entries) == 800
    dispositions = Counter(entry.columns["disposition"] for entry in entries)
    assert set(dispositions) == {
        "answered",
        "abandoned",
        "voicemail",
        "busy",
        "rejected",
        "no_answer",
        "failed",
        "cancelled",
    }
    assert {entry.columns["ended_by"] for entry in entries} >= {"agent", "callee"}


def test_a_contact_is_tried_number_by_number_until_it_is_reached() -> None:
    tried = defaultdict(list)
    for due in pushed(800):
        if due.entry is not None and due.entry.columns["campaign"] is not None:
            tried[due.entry.columns["contact_ref"]].append(due.entry.columns)
    several = [attempts for attempts in tried.values() if len(attempts) > 1]
    assert len(several) > 20
    for attempts in several:
        attempts.sort(key=lambda columns: str(columns["started_at"]))
        assert len({columns["callee_number"] for columns in attempts}) == len(attempts)
        assert all(columns["disposition"] != "answered" for columns in attempts[:-1])


def test_repeated_other_and_broken_messages_are_what_they_say() -> None:
    stream = pushed(800, broken=0.05)
    seen: set[bytes] = set()
    for what in (due.what for due in stream):
        assert what.repeated == (what.body in seen) or what.silent
        seen.add(what.body)
        if what.broken:
            with pytest.raises(DecodeError):
                decoded(what.body)
        elif what.silent:
            assert isinstance(decoded(what.body), Ignored)
    kinds = Counter((due.what.repeated, due.what.silent, due.what.broken) for due in stream)
    assert len(kinds) == 4
    assert {due.what.key for due in stream} == {CAMPAIGNS, CLICK2DIAL_CDRS}


def test_the_same_seed_gives_the_same_bytes_and_another_run_other_calls() -> None:
    assert pushed(50) == pushed(50)
    other = Centre(seed=8, start=CENTRE.start, calls_per_hour=900, region="ZA")
    keys = [{due.entry.call_key for due in stream if due.entry} for stream in (pushed(50), pushed(50, centre=other))]
    assert not keys[0] & keys[1]


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    with running() as server:
        yield server


async def test_it_pushes_onto_a_real_list_and_writes_the_ledger(server: RedisServer, tmp_path: Path) -> None:
    file = tmp_path / "ledger"
    with Ledger(file) as ledger, server.client() as client:
        simulation = Simulation(centre=CENTRE, pace=Pace(start=CENTRE.start, speed=inf), ledger=ledger, count=200)
        await simulate(simulation, url=server.url)
        entries = [entry for key in (CAMPAIGNS, CLICK2DIAL_CDRS) for entry in client.lrange(key, 0, -1)]
    assert len(entries) == simulation.sent.records == simulation.sent.acknowledged
    refs = {str(orjson.loads(entry)["payload"].get("call_ref")) for entry in entries} - {"None"}
    assert {("enigma", ref) for ref in refs} == set(read(file))
    assert simulation.sent.calls == len(refs) == 200


async def test_a_redis_that_is_away_is_waited_for() -> None:
    with running() as away:
        away.stop()
        simulation = Simulation(centre=CENTRE, pace=Pace(start=CENTRE.start, speed=inf), count=1)
        said: list[str] = []
        pushing = asyncio.create_task(simulate(simulation, url=away.url, trouble=said.append))
        await until(lambda: said)
        assert simulation.sent.last_error in said
        assert simulation.sent.calls == 0
        away.start()
        await pushing
    assert simulation.sent.calls == 1


async def test_what_cannot_be_pushed_before_the_end_is_counted_and_not_in_the_ledger() -> None:
    with running() as away:
        away.stop()
        simulation = Simulation(centre=CENTRE, pace=Pace(start=CENTRE.start, speed=inf), count=3)
        pushing = asyncio.create_task(simulate(simulation, url=away.url))
        await until(lambda: simulation.sent.last_error)
        simulation.pace.finish()
        await pushing
    assert simulation.sent.given_up == simulation.sent.records >= 1
    assert simulation.sent.calls == simulation.ledger.count == 0
