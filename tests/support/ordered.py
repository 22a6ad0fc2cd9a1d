"""A simulated system that takes orders to dial, and what it then tells of the calls."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Generic, TypeVar

from cdrhub.model.disposition import Disposition
from cdrhub.sources.simulation.centre import Centre
from cdrhub.sources.simulation.dialled import Handler, Ordered, Ordering, Timing, taking_orders
from cdrhub.sources.simulation.ledger import Entry
from cdrhub.sources.simulation.pace import Pace
from cdrhub.sources.simulation.simulation import Due, Render, Simulation

T = TypeVar("T")


@dataclass(kw_only=True)
class System(Generic[T]):
    """What was told, once the block of `ordering` is over; and where orders are taken."""

    url: str = ""
    told: list[Due[T]] = field(default_factory=list)

    @property
    def entries(self) -> list[Entry]:
        """What the hub must show."""
        return [due.entry for due in self.told if due.entry is not None]


def simulation_in(region: str) -> Simulation:
    """A simulation whose centre makes no calls, for nobody plays it."""
    now = datetime.now(UTC)
    return Simulation(centre=Centre(seed=3, start=now, region=region), pace=Pace(start=now))


@asynccontextmanager
async def ordering(
    simulation: Simulation,
    render: Render[T],
    handler: Callable[[Ordered[T]], Handler],
    path: str,
    *,
    fate: Disposition = Disposition.ANSWERED,
) -> AsyncIterator[System[T]]:
    """Take orders at `path`; every call ends in `fate`, at once when the block is over."""
    system = System[T]()

    async def send(due: Due[T]) -> None:
        system.told.append(due)

    def ready(url: str) -> None:
        system.url = url

    setup = Ordering(host="127.0.0.1", port=0, fate=lambda _number: fate, timing=Timing(talk=(7, 7)), ready=ready)
    ordered = Ordered(simulation, setup, render=render, send=send)
    async with taking_orders(ordered, path, handler(ordered)):
        yield system
        simulation.pace.finish()
