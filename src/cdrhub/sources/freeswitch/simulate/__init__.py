"""A simulated FreeSWITCH with mod_callcenter: an Event Socket that one can connect to, and a contact centre behind it.

The calls of the simulated contact centre (cdrhub.sources.simulation) are told in the events that a real switch was
recorded to send for such calls, and what the hub must show of them goes into the ledger. It begins when the first
client listens, so that the ledger holds nothing that nobody could hear.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, tzinfo
from math import isinf
from typing import Final, Literal
from uuid import uuid4

from cdrhub.sources.freeswitch.simulate.api import Commands
from cdrhub.sources.freeswitch.simulate.calls import Calls
from cdrhub.sources.freeswitch.simulate.events import Core, Event
from cdrhub.sources.freeswitch.simulate.originate import Fate
from cdrhub.sources.freeswitch.simulate.posting import Posting
from cdrhub.sources.freeswitch.simulate.server import EventSocket, Limits
from cdrhub.sources.freeswitch.simulate.switch import Switch, staffed
from cdrhub.sources.freeswitch.words import NOT_OF_A_CALL
from cdrhub.sources.simulation.centre import staff
from cdrhub.sources.simulation.simulation import Simulation

FINISH_LOOK_SECONDS: Final = 0.2  #: between two looks whether to go on waiting for a client
HEARTBEAT_SECONDS: Final = 20.0  #: of real time, `event-heartbeat-interval` of switch.conf


@dataclass(frozen=True, kw_only=True, slots=True)
class Setup:
    """How the simulated switch is reached and what it tells. `calls` as the setting of that name of the source that
    listens; `cdr_to`: a URL for the documents of mod_json_cdr; `fate`: see originate.py."""

    host: str = "127.0.0.1"
    port: int = 8021
    password: str = "ClueCon"  # noqa: S105 - the default of every FreeSWITCH; loopback only
    calls: Literal["queue", "all"] = "queue"
    cdr_to: str | None = None
    zone: tzinfo = UTC
    heartbeat_seconds: float = HEARTBEAT_SECONDS
    fate: Fate | None = None
    limits: Limits = field(default_factory=Limits)


class SimulatedSwitch:
    """A switch that listens. `address` is where, `play` lets the contact centre work."""

    def __init__(
        self, simulation: Simulation, setup: Setup, switch: Switch, socket: EventSocket, commands: Commands
    ) -> None:
        self._simulation = simulation
        self._setup = setup
        self._commands = commands
        self._posting: Posting | None = None
        self._began = False  #: the clock starts with the first question to it
        self.switch = switch
        self.socket = socket
        self.address: tuple[str, int] = (setup.host, setup.port)

    async def play(self) -> None:
        """Wait for a client that listens, then fire what happens until the simulation is over and every client was
        written to. A simulation that is to finish before anybody listened does nothing."""
        simulation, switch = self._simulation, self.switch
        while not await self.socket.listened_to(within=FINISH_LOOK_SECONDS):
            if simulation.pace.finishing:
                return
        centre = simulation.centre
        self._began = True
        for happening in staffed(switch, queues=centre.queues, agents=staff(centre), at=simulation.pace.now()):
            switch.fire(happening)
        render = Calls(centre, zone=self._setup.zone, calls=self._setup.calls).render
        async for due in simulation.play(render):
            switch.fire(due.what)
            simulation.settle(due)
            if simulation.pace.finishing or isinf(simulation.pace.speed):
                await self.socket.room()  # a clock that does not wait for time waits for those who listen
        await self._commands.finished()
        await self.socket.drained()
        if self._posting is not None:
            await self._posting.posted()

    async def beat(self) -> None:
        """HEARTBEATs, until cancelled."""
        pace = self._simulation.pace
        while True:
            await asyncio.sleep(self._setup.heartbeat_seconds)
            self.switch.heartbeat(pace.now() if self._began else pace.start, began_at=pace.start)

    def count(self, event: Event) -> None:
        """Count what was fired."""
        self._simulation.sent.records += 1
        if event.get("Event-Name") in ("HEARTBEAT", "BACKGROUND_JOB") or event.get("CC-Action") in NOT_OF_A_CALL:
            self._simulation.sent.silent += 1

    def posts(self, posting: Posting) -> None:
        """Post CDR documents by `posting`."""
        self._posting = posting
        self.switch.documents.append(posting.post)


@asynccontextmanager
async def listening(
    simulation: Simulation, setup: Setup, *, trouble: Callable[[str], None] = lambda _why: None
) -> AsyncIterator[SimulatedSwitch]:
    """A switch that listens for as long as the block lasts, its heart beating. AddressUnavailable if it cannot.
    `trouble` is told each time that a document is not taken."""
    switch = Switch(core=Core(str(uuid4()), zone=setup.zone))
    commands = Commands(switch, simulation, zone=setup.zone, fate=setup.fate)
    socket = EventSocket(
        switch, password=setup.password, api=commands.api, background=commands.background, limits=setup.limits
    )
    simulated = SimulatedSwitch(simulation, setup, switch, socket, commands)
    switch.heard.append(simulated.count)
    async with AsyncExitStack() as stack:
        if setup.cdr_to is not None:
            simulated.posts(await stack.enter_async_context(Posting(setup.cdr_to, simulation, trouble=trouble)))
        simulated.address = await socket.start(setup.host, setup.port)
        stack.push_async_callback(socket.stop)
        stack.push_async_callback(commands.stop)
        heart = asyncio.create_task(simulated.beat(), name="heartbeats")
        stack.push_async_callback(_stopped, heart)
        yield simulated


async def simulate(
    simulation: Simulation,
    setup: Setup,
    *,
    ready: Callable[[str], None] = lambda _address: None,
    trouble: Callable[[str], None] = lambda _why: None,
) -> None:
    """Listen, play the whole simulation, close. `ready` is told the address, `trouble` as by `listening`.
    AddressUnavailable if it is taken."""
    async with listening(simulation, setup, trouble=trouble) as simulated:
        host, port = simulated.address
        ready(f"{host}:{port}")
        await simulated.play()


async def _stopped(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
