"""Calls that a simulated phone system is asked to place: where orders arrive, what becomes of them, and when.

They happen in real time, whatever the speed of the simulated centre is: whoever ordered a call waits for it, and takes
what is told of another day for old news. Once the simulation is to finish, calls under way are brought to their end at
once.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import count
from types import MappingProxyType
from typing import Any, Final, Generic, TypeVar

from aiohttp import web

from cdrhub.errors import AddressUnavailable
from cdrhub.model.disposition import Direction, Disposition
from cdrhub.model.numbers import NumberPlan, read_number
from cdrhub.os_errors import in_words
from cdrhub.sources.simulation.numbers import Number, lines
from cdrhub.sources.simulation.planned import Agent, Course, PlannedCall, Side
from cdrhub.sources.simulation.simulation import Due, Render, Simulation

MOST_UNDER_WAY: Final = 1_000
MAX_ORDER_BYTES: Final = 65_536
FIRST_NUMBER: Final = 1 << 31  #: of an ordered call, for the centre counts its own from 1

CHANCES: Final[Mapping[Disposition, float]] = MappingProxyType(
    {
        Disposition.ANSWERED: 0.5,
        Disposition.NO_ANSWER: 0.25,
        Disposition.BUSY: 0.15,
        Disposition.FAILED: 0.05,
        Disposition.NOT_DIALLED: 0.05,
    }
)
"""What becomes of an ordered call, and how often. NOT_DIALLED: the agent's telephone was not picked up."""

Fate = Callable[[str], Disposition]
"""What becomes of a call to this number (E.164)."""

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True, slots=True)
class Timing:
    """How long things take, in whole seconds."""

    picked_up: int = 4  #: a telephone that is answered rings so long
    given_up: int = 12  #: one that is not
    talk: tuple[int, int] = (10, 60)  #: at least, at most


@dataclass(frozen=True, kw_only=True, slots=True)
class Ordering:
    """Where orders are taken and what comes of them. `ready` is told the address once it is listened at."""

    host: str
    port: int
    fate: Fate | None = None  #: None: by CHANCES
    timing: Timing = Timing()
    ready: Callable[[str], None] = lambda _address: None


class Ordered(Generic[T]):
    """The calls that were ordered of one simulated system. `render` makes of each what the system tells of it, `send`
    sends one such thing."""

    def __init__(
        self,
        simulation: Simulation,
        ordering: Ordering,
        *,
        render: Render[T],
        send: Callable[[Due[T]], Awaitable[object]],
    ) -> None:
        centre = simulation.centre
        self._simulation = simulation
        self.ordering = ordering
        self._timing = ordering.timing
        self._chance = random.Random(f"{centre.seed} ordered")  # noqa: S311 - a simulation, no secret
        self._fate = ordering.fate or self._drawn
        self._render = render
        self._send = send
        self._plan = NumberPlan(region=centre.region, unassigned=True)
        self._line = lines(centre.region)[0]
        self._numbers = count(FIRST_NUMBER)
        self._under_way = 0
        self.tasks: asyncio.TaskGroup | None = None  #: while orders are taken

    def number(self, dialled: str) -> Number | None:
        """`dialled` as a number of the world outside; None for one that is none."""
        e164 = read_number(dialled, self._plan).e164
        return None if e164 is None else Number(e164=e164, dialled=dialled)

    def place(self, *, extension: str, customer: Number, back: Mapping[str, str]) -> PlannedCall | None:
        """Begin a call of the agent at `extension` now, whose records give `back` what the order gave along; None where
        too many are under way, or the simulation is to finish."""
        if self.tasks is None or self._under_way >= MOST_UNDER_WAY or self._simulation.pace.finishing:
            return None
        team = self._simulation.centre.queues[0].name
        agent = Agent(extension=extension, name=f"Agent {extension}", team=team)
        call = self._planned(agent=agent, customer=customer, back=back)
        self.tasks.create_task(self._play(call), name=f"ordered call {call.number}")
        return call

    async def _play(self, call: PlannedCall) -> None:
        self._under_way += 1
        for due in sorted(self._render(call), key=lambda due: due.at):
            await self._simulation.pace.rest((due.at - datetime.now(UTC)).total_seconds())
            await self._send(due)
        self._under_way -= 1

    def _drawn(self, _number: str) -> Disposition:
        return self._chance.choices(tuple(CHANCES), tuple(CHANCES.values()))[0]

    def _planned(self, *, agent: Agent, customer: Number, back: Mapping[str, str]) -> PlannedCall:
        """The call, agent first: a telephone that is picked up is so after a second."""
        fate, timing = self._fate(customer.e164), self._timing
        begun = datetime.now(UTC).replace(microsecond=0)
        rings = begun + timedelta(seconds=1)
        answered, side = None, Side.SYSTEM
        if fate is Disposition.ANSWERED:
            answered = rings + timedelta(seconds=timing.picked_up)
            ended, side = answered + timedelta(seconds=self._chance.randint(*timing.talk)), Side.CALLEE
        elif fate is Disposition.NOT_DIALLED:
            ended, side = rings + timedelta(seconds=timing.given_up), Side.CALLER
        elif fate is Disposition.NO_ANSWER:
            ended = rings + timedelta(seconds=timing.given_up)
        else:
            ended = rings + timedelta(seconds=1)
        return PlannedCall(
            number=next(self._numbers),
            course=Course.OUTBOUND,
            direction=Direction.OUTBOUND,
            # An agent who does not pick up gives the call up, and the customer is not dialled.
            disposition=Disposition.CANCELLED if fate is Disposition.NOT_DIALLED else fate,
            started_at=begun,
            ended_at=ended,
            hung_up=side,
            customer=customer,
            line=self._line,
            caller=agent,
            connected_at=answered,
            ringing_at=rings if fate in (Disposition.ANSWERED, Disposition.NO_ANSWER) else None,
            answered_at=answered,
            ordered=back,
        )


Handler = Callable[[web.Request], Coroutine[Any, Any, web.StreamResponse]]


@asynccontextmanager
async def taking_orders(ordered: Ordered[T], path: str, handler: Handler) -> AsyncIterator[None]:
    """Answer requests to `path` for as long as the block lasts; after it the calls under way come to their end.
    AddressUnavailable if the address is taken."""
    app = web.Application(client_max_size=MAX_ORDER_BYTES)
    app.router.add_route("*", path, handler)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
    try:
        await runner.setup()
        ordering = ordered.ordering
        try:
            await web.TCPSite(runner, ordering.host, ordering.port).start()
        except OSError as error:
            where = f"{ordering.host}:{ordering.port}"
            raise AddressUnavailable(f"cannot take orders on {where}: {in_words(error)}") from error
        host, port = runner.addresses[0][:2]
        ordering.ready(f"http://{host}:{port}{path}")
        async with asyncio.TaskGroup() as ordered.tasks:
            yield
            await runner.cleanup()
    finally:
        ordered.tasks = None
        await runner.cleanup()


@asynccontextmanager
async def also_taking_orders(
    simulation: Simulation,
    ordering: Ordering | None,
    *,
    path: str,
    handler: Callable[[Ordered[T]], Handler],
    render: Render[T],
    send: Callable[[Due[T]], Awaitable[object]],
) -> AsyncIterator[None]:
    """Take orders beside the simulated centre's own calls, where they are to be taken: see `taking_orders`."""
    if ordering is None:
        yield
        return
    ordered = Ordered(simulation, ordering, render=render, send=send)
    async with taking_orders(ordered, path, handler(ordered)):
        yield
