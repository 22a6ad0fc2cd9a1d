"""What the tests of the simulated FreeSWITCH share: calls as events, events as calls, and a client of its socket."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from itertools import islice
from math import inf
from typing import Literal

from cdrhub.model.call import Call
from cdrhub.model.fold import fold
from cdrhub.model.update import CallUpdate
from cdrhub.sources.freeswitch.simulate import Setup, SimulatedSwitch, listening
from cdrhub.sources.freeswitch.simulate.calls import Calls
from cdrhub.sources.freeswitch.simulate.events import Core, Event, Happening
from cdrhub.sources.freeswitch.simulate.switch import Switch, staffed
from cdrhub.sources.simulation.centre import Centre, calls, staff
from cdrhub.sources.simulation.comparison import Difference, Found, compared, extra, missing, people_of
from cdrhub.sources.simulation.ledger import Entry, Ledger
from cdrhub.sources.simulation.pace import Pace
from cdrhub.sources.simulation.planned import Course, PlannedCall
from cdrhub.sources.simulation.simulation import Due, Schedule, Simulation
from support.freeswitch import decoded

START = datetime(2026, 3, 2, 8, tzinfo=UTC)
CROWDED = Centre(seed=2, start=START, calls_per_hour=600, agents=6, mix={Course.QUEUE: 1.0})
"""Far more callers than agents: they are tried one after another, give up, or are given up."""

CORE = "3f0a1b52-58c6-4f6d-9d39-0c7f2e1a9b44"
SECONDS = 20.0  #: after which a test that waits for a peer gives up

Mode = Literal["queue", "all"]


def switch_of(centre: Centre) -> Switch:
    """A switch with the queues and agents of `centre`."""
    switch = Switch(core=Core(CORE, zone=UTC))
    staffed(switch, queues=centre.queues, agents=staff(centre), at=centre.start)
    return switch


def played(
    centre: Centre,
    *,
    count: int,
    mode: Mode = "all",
    planned: Iterable[PlannedCall] | None = None,
    look: Callable[[Switch], None] = lambda _switch: None,
) -> tuple[list[Event], list[bytes], dict[str, Entry]]:
    """The events and CDR documents of `count` calls, and the ledger. `look` is shown the switch after each event."""
    switch, events, documents = switch_of(centre), list[Event](), list[bytes]()
    switch.heard.append(events.append)
    switch.documents.append(documents.append)
    ledger: dict[str, Entry] = {}
    rendering = Calls(centre, calls=mode)
    due: Due[Happening]
    for due in Schedule(islice(calls(centre) if planned is None else planned, count), rendering.render):
        switch.fire(due.what)
        look(switch)
        if due.entry is not None:
            ledger[due.entry.call_key] = due.entry
    return events, documents, ledger


def body(frame: bytes) -> bytes:
    """What stands in a frame of the Event Socket."""
    return frame.partition(b"\n\n")[2]


def folded(bodies: Iterable[bytes], *, mode: Mode = "all") -> dict[str, Call]:
    """The calls that these records make, by key."""
    updates: defaultdict[str, list[CallUpdate]] = defaultdict(list)
    for record in bodies:
        update = decoded(record, calls=mode, region="FR")
        if isinstance(update, CallUpdate):
            updates[update.call_key].append(update)
    return {key: fold(found) for key, found in updates.items()}


def differences(ledger: Mapping[str, Entry], found: Mapping[str, Call]) -> list[Difference]:
    """What the ledger and the calls tell differently."""
    told: list[Difference] = []
    for key, entry in ledger.items():
        if key not in found:
            told.append(missing(entry))
            continue
        columns = asdict(found[key])
        told += compared(entry, Found(columns=columns, people=people_of(columns["legs"])))
    told += [extra("freeswitch", key, disposition=found[key].disposition) for key in found.keys() - ledger.keys()]
    return told


class Client:
    """A client of the Event Socket: sends commands, takes frames apart."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self.writer = writer

    async def frame(self) -> tuple[dict[str, str], bytes]:
        """The next frame: its headers and its body. IncompleteReadError at the end."""
        async with asyncio.timeout(SECONDS):
            head = (await self._reader.readuntil(b"\n\n")).decode()
            headers = dict(line.split(": ", 1) for line in head.strip().split("\n"))
            return headers, await self._reader.readexactly(int(headers.get("Content-Length", "0")))

    async def frames(self) -> AsyncIterator[tuple[dict[str, str], bytes]]:
        """All frames up to the end."""
        while True:
            try:
                frame = await self.frame()
            except asyncio.IncompleteReadError as error:
                if error.partial:
                    raise
                return
            yield frame

    async def ask(self, command: str) -> tuple[dict[str, str], str]:
        """The reply to a command. Events may not come between."""
        self.writer.write(f"{command}\n\n".encode())
        headers, said = await self.frame()
        return headers, said.decode()

    async def reply(self, command: str) -> str:
        """The Reply-Text to a command."""
        headers, _ = await self.ask(command)
        return headers["Reply-Text"]

    async def api(self, command: str) -> str:
        """The answer to an API command."""
        headers, said = await self.ask(f"api {command}")
        assert headers["Content-Type"] == "api/response"
        return said


@asynccontextmanager
async def client_of(switch: SimulatedSwitch, *, password: str | None = "ClueCon") -> AsyncIterator[Client]:
    """A client of `switch`, authenticated if there is a password."""
    reader, writer = await asyncio.open_connection(*switch.address)
    client = Client(reader, writer)
    try:
        headers, _ = await client.frame()
        assert headers == {"Content-Type": "auth/request"}
        if password is not None:
            assert await client.reply(f"auth {password}") == "+OK accepted"
        yield client
    finally:
        writer.close()


@asynccontextmanager
async def simulated(
    setup: Setup, *, count: int = 10, ledger: Ledger | None = None
) -> AsyncIterator[tuple[SimulatedSwitch, Simulation]]:
    """A listening switch on a free port of loopback. A count of 0: nobody calls."""
    centre = Centre(seed=1, start=START)
    simulation = Simulation(
        centre=centre, pace=Pace(start=START, speed=inf), count=count or 1, ledger=ledger or Ledger()
    )
    if count == 0:
        simulation.pace.finish()
    async with listening(simulation, setup) as switch:
        yield switch, simulation
