"""What a real FreeSWITCH said, said again to the real hub: journal, pipeline and database give the expected calls."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from cdrhub.hub.hub import Hub
from cdrhub.sources.freeswitch.esl.frames import EVENT_PLAIN, Framer
from cdrhub.sources.freeswitch.headers import MAX_EVENT_BYTES
from cdrhub.store import Store
from cdrhub.store.calls import CallFilter, legs_of, listed
from cdrhub.store.coverage import stretches
from support.esl import PASSWORD, EventSocketServer, event
from support.freeswitch import CAPTURES
from support.freeswitch_expected import EXPECTED, LIVES_ON, check_click_to_call, check_queue_call
from support.hubs import configured
from support.intake import until

STREAMS = [
    pytest.param(scenario, f"{scenario}.{kind}.esl", id=f"{scenario}.{kind}")
    for scenario in EXPECTED
    for kind in ("plain", "channels")
    if (CAPTURES / f"{scenario}.{kind}.esl").exists()
]


def recorded_events(name: str) -> list[bytes]:
    """The events of a recorded connection as they were on the wire; the replies belong to its own commands."""
    stream = (CAPTURES / name).read_bytes()
    frames = list(Framer(max_body=MAX_EVENT_BYTES).feed(stream))
    found = [event(frame.body) for frame in frames if frame.content_type == EVENT_PLAIN]
    assert all(wire in stream for wire in found)
    return found


async def heard(folder: Path, *streams: list[bytes], url: str = "") -> list[Any]:
    """The calls, with their legs, that a hub has stored which heard these streams, each on a connection of its own."""
    database = url or f"sqlite:///{folder / 'hub.db'}"
    async with EventSocketServer() as switch:
        source = f'[sources.callcentre]\ntype = "freeswitch"\nport = {switch.port}\npassword = "{PASSWORD}"\n'
        config = configured(folder, source, database=database)
        for stream in streams:
            switch.commands.clear()
            hub = await Hub.start(config)
            try:
                await until(lambda: any(command.startswith("api ") for command in switch.commands))  # it listens
                await switch.send(*stream)
            finally:
                await hub.stop()  # hands over what was said before, and stores it
    store = Store.open(database)
    try:
        page = await listed(store, CallFilter(), limit=1_000)
        calls = []
        for row in page.rows:
            legs = [SimpleNamespace(**leg) for leg in await legs_of(store, row["id"])]
            calls.append(SimpleNamespace(**{**row, "legs": legs}))
        assert {stretch.state for stretch in await stretches(store)} == {"connected", "blind"}
    finally:
        await store.close()
    return calls


def check(scenario: str, calls: list[Any], *, ended: bool) -> None:
    expected = EXPECTED[scenario]
    if "jobs" in expected:
        (job,) = expected["jobs"]
        (call,) = calls
        check_click_to_call(call, job)
        return
    by_key = {call["member_session_uuid"]: call for call in expected["calls"]}
    assert {call.call_key for call in calls} == set(by_key)
    for call in calls:
        check_queue_call(call, by_key[call.call_key], ended=ended)


@pytest.mark.parametrize(("scenario", "name"), STREAMS)
async def test_a_recorded_connection(tmp_path: Path, scenario: str, name: str) -> None:
    calls = await heard(tmp_path, recorded_events(name))
    check(scenario, calls, ended=scenario not in LIVES_ON or "channels" in name)


async def test_connections_one_after_the_other_in_any_order_and_twice(tmp_path: Path) -> None:
    stream = recorded_events("06-no-answer-then-second-agent.plain.esl")
    half = len(stream) // 2
    calls = await heard(tmp_path, stream[half:], stream, stream[:half][::-1])
    check("06-no-answer-then-second-agent", calls, ended=True)


async def test_into_postgresql(tmp_path: Path, postgres_url: str) -> None:
    calls = await heard(tmp_path, recorded_events("11-three-callers-one-agent.plain.esl"), url=postgres_url)
    check("11-three-callers-one-agent", calls, ended=True)
