"""Redial over a bench of the redial tests: its loops, with diallers that answer as a test tells them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from cdrhub.metrics import Metrics
from cdrhub.model.dialling import Accepted, Answer, DialOrder, Standing
from cdrhub.redial.dialler_handle import DiallerHandle
from cdrhub.redial.pace import Pace
from cdrhub.redial.service import Redial
from cdrhub.sources.dialler import DiallerConfig
from support.phone_systems import Systems


@dataclass
class Switch:
    """A dialler that answers as it is told, and notes what it was asked."""

    answer: Answer = field(default_factory=Accepted)
    stands: Standing = field(default_factory=Standing)
    idempotent: bool = False
    hangs: asyncio.Event | None = None  #: nothing is answered before
    dialled: list[DialOrder] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    thinks: asyncio.Event | None = None  #: no question is answered before
    hung_up: list[str] = field(default_factory=list)
    closed: bool = False

    async def dial(self, order: DialOrder) -> Answer:
        """Place one call."""
        self.dialled.append(order)
        if self.closed:
            raise RuntimeError("it is closed")
        if self.hangs is not None:
            await self.hangs.wait()
        return self.answer

    async def ask(self, *, attempt_id: str, vendor_ref: str) -> Standing:  # noqa: ARG002 - of the protocol
        """What became of it."""
        self.asked.append(attempt_id)
        if self.thinks is not None:
            await self.thinks.wait()
        return self.stands

    async def hang_up(self, *, attempt_id: str, vendor_ref: str) -> None:  # noqa: ARG002 - of the protocol
        """Drop it."""
        self.hung_up.append(attempt_id)

    async def close(self) -> None:
        """Let go."""
        self.closed = True


def handle(switch: Switch, *, max_live: int = 10, max_per_second: float = 100.0) -> DiallerHandle:
    """The way to a switch."""
    config = DiallerConfig(type="scripted", max_live=max_live, max_per_second=max_per_second)
    return DiallerHandle("crm", config=config, dialler=switch, pace=Pace(per_second=max_per_second))


@dataclass
class Working:
    """Redial at work, and what it told its metrics."""

    redial: Redial
    metrics: Metrics

    def total(self, name: str, **labels: str) -> float:
        """The value of one series."""
        return self.metrics.registry.get_sample_value(name, labels) or 0.0


@asynccontextmanager
async def working(
    bench: Any,
    handles: Mapping[str, DiallerHandle],
    *,
    systems: Systems | None = None,
    depth: Callable[[], int] = lambda: 0,
    oldest: Callable[[], datetime | None] = lambda: None,
    sighted: Callable[[], bool] = lambda: True,
) -> AsyncGenerator[Working]:
    """Redial over the bench's database and clock, stopped at the end."""
    metrics = Metrics()
    redial = Redial(
        database=bench.store.database,
        systems=systems or Systems(),
        metrics=metrics,
        settings=bench.settings,
        handles=handles,
        depth=depth,
        oldest=oldest,
        told=lambda: None,
        clock=lambda: bench.clock.now,
    )
    redial.begin(sighted=sighted)
    try:
        yield Working(redial, metrics)
    finally:
        await redial.stop(seconds=5)


async def ordered(bench: Any, working: Working, code: str = "C-1", *numbers: str, **values: Any) -> str:
    """A case that is ordered to be dialled."""
    case_id: str = await bench.case(code, *numbers, round=0, **values)
    await working.redial.orders().dial(tenant="", code=code, reference="media-7")
    working.redial.ordered()
    return case_id


async def become(bench: Any, case_id: str, *wanted: tuple[str, str, str | None]) -> None:
    """Wait until the case's attempts are these."""
    async with asyncio.timeout(20):
        while (found := await bench.attempts(case_id)) != list(wanted):  # noqa: ASYNC110 - the loops work beside
            await asyncio.sleep(0.02)
    assert found == list(wanted)
