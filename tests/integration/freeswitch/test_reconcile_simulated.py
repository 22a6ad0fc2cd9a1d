"""A hub that was away while a simulated contact centre went on: what it asks the switch afterwards makes it good.

The hub and its database are real, and so is the Event Socket between them; the switch lists what its events told.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cdrhub.hub.hub import Hub
from cdrhub.model.update import CallUpdate
from cdrhub.sources.freeswitch.simulate import Setup, SimulatedSwitch, listening
from cdrhub.sources.freeswitch.simulate.events import Event, Happening
from cdrhub.sources.simulation.centre import Centre
from cdrhub.sources.simulation.comparison import Found, compared, people_of
from cdrhub.sources.simulation.ledger import Ledger, read
from cdrhub.sources.simulation.pace import LONGEST_CALL, Pace, start_for
from cdrhub.sources.simulation.planned import Course
from cdrhub.sources.simulation.simulation import Simulation
from cdrhub.store import Store
from cdrhub.store.agents import AgentStateFilter, each_state
from cdrhub.store.calls import CallFilter, each_with_legs
from support.broadcasting import until
from support.freeswitch import decoded
from support.hubs import configured
from support.simulated_switch import body

SPEED = 40.0
CALLS_PER_SECOND = 6.0
AWAY_SECONDS = 3.0
PATIENCE_SECONDS = 60.0
WHOLE = 20  #: calls at least that are heard from their beginning to their end


@dataclass
class Told:
    """Of each call, by its key, whether what the switch told was heard."""

    heard: bool = True
    calls: defaultdict[str, list[bool]] = field(default_factory=lambda: defaultdict(list))

    def note(self, event: Event) -> None:
        said = decoded(body(event.plain))
        if isinstance(said, CallUpdate):
            self.calls[said.call_key].append(self.heard)

    def whole(self) -> set[str]:
        """The calls of which all was heard so far."""
        return {key for key, heard in self.calls.items() if all(heard)}


def source_of(switch: SimulatedSwitch, *, password: str) -> str:
    return f"""
[sources.callcentre]
type = "freeswitch"
port = {switch.address[1]}
password = "{password}"
region = "FR"
reconcile_every = "1s"
"""


async def calls_in(store: Store) -> dict[str, tuple[Mapping[str, Any], Found]]:
    """Every call by its key."""
    found = {}
    async for row, legs in each_with_legs(store, CallFilter()):
        found[row["call_key"]] = (row, Found(columns=row, people=people_of(legs)))
    return found


async def statuses_of(store: Store, agent: str) -> list[tuple[str, datetime, list[str]]]:
    """Each status of an agent, when it began, and its flags; the oldest first."""
    rows = [row async for row in each_state(store, AgentStateFilter(agent=agent, kind="status"))]
    return [(row["state_raw"], row["at"], row["flags"]) for row in reversed(rows)]


async def made_good(store: Store, *, agent: str) -> None:
    """Wait until no call is open, and the second status of `agent` is there."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while (  # noqa: ASYNC110 - it happens in a database
            any(row["state"] != "ended" for row, _ in (await calls_in(store)).values())
            or len(await statuses_of(store, agent)) < 2
        ):
            await asyncio.sleep(0.2)


async def test_calls_and_agents_of_a_time_without_a_hub(tmp_path: Path) -> None:
    start = start_for(now=datetime.now(UTC), speed=SPEED, seconds=60)
    centre = Centre(
        seed=7,
        start=start - LONGEST_CALL,
        calls_per_hour=CALLS_PER_SECOND / SPEED * 3600,
        mix={Course.QUEUE: 1.0},
    )
    setup, told = Setup(port=0, password="s3cret"), Told()
    with Ledger(tmp_path / "ledger.jsonl") as ledger:
        simulation = Simulation(centre=centre, pace=Pace(start=start, speed=SPEED), ledger=ledger)
        async with listening(simulation, setup) as switch:
            switch.switch.heard.append(told.note)
            config = configured(tmp_path, source_of(switch, password=setup.password))
            hub = await Hub.start(config)
            playing = asyncio.create_task(switch.play())
            await until(lambda: len(told.calls) >= 2 * WHOLE)
            await switch.socket.drained()
            told.heard = False
            await hub.stop()
            resting = next(iter(switch.switch.agents))
            rested_at = simulation.pace.now().replace(microsecond=0)
            switch.switch.fire(
                Happening(at=rested_at, shape="agent.status", fields={"agent.id": resting, "agent.status": "On Break"})
            )
            await asyncio.sleep(AWAY_SECONDS)
            hub = await Hub.start(config)
            assert await switch.socket.listened_to(within=PATIENCE_SECONDS)
            told.heard = True
            await asyncio.sleep(AWAY_SECONDS)
            await until(lambda: len(told.whole()) >= WHOLE)
            simulation.pace.finish()
            await playing
            store = Store.open(config.database.url.get_secret_value())
            try:
                await made_good(store, agent=resting)
                await hub.stop()
                found, statuses = await calls_in(store), await statuses_of(store, resting)
            finally:
                await store.close()
    entries = {key: entry for (_, key), entry in read(tmp_path / "ledger.jsonl").items()}
    assert entries.keys() >= found.keys() >= {key for key, heard in told.calls.items() if any(heard)}
    whole = told.whole()
    assert len(whole) >= WHOLE
    assert [difference for key in whole for difference in compared(entries[key], found[key][1])] == []
    flags = {key: row["flags"] for key, (row, _) in found.items()}
    assert [key for key in whole if "reconciled" in flags[key]] == []
    in_part = found.keys() - whole
    assert any("reconciled" in flags[key] for key in in_part)
    ended_unseen = [found[key][0] for key in in_part if "end_inferred" in flags[key]]
    assert ended_unseen
    assert {row["disposition"] for row in ended_unseen} <= {"answered", "unknown", "abandoned"}
    assert [status for status, _, _ in statuses] == ["Available", "On Break"]
    assert statuses[-1][1:] == (rested_at, ["reconciled"])
