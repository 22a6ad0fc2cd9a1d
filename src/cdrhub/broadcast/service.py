"""The broadcast at work inside a hub: the sequencer, the log, a worker for each webhook, until it is stopped.

None of them ends for an error: a part that fails is logged, counted and begun again. They share nothing but the
database with ingestion, so that receivers, however many or slow, hold up no record.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import structlog

from cdrhub.broadcast.endpoint import Endpoint
from cdrhub.broadcast.health import EndpointState
from cdrhub.broadcast.log import EventLog
from cdrhub.broadcast.sequencer import Sequencer
from cdrhub.broadcast.webhooks import Pace, Worker
from cdrhub.errors import StoreUnavailable
from cdrhub.metrics import Metrics
from cdrhub.store.engine import Database

log = structlog.get_logger(__name__)

RESTART_SECONDS = 5.0  #: until a part that failed is begun again
HAND_OVER_SECONDS = 2.0  #: for telling the others, through the database, that this hub numbers no more
SOON_SECONDS = 0.05


@dataclass(frozen=True, kw_only=True, slots=True)
class _Running:
    """A worker, and the task that it runs in."""

    worker: Worker
    task: asyncio.Task[None]


class Broadcast:
    """The broadcast of one hub. `begin` and `stop` are called once, `take_over` on every reload."""

    def __init__(
        self,
        *,
        database: Database,
        metrics: Metrics,
        holder: str,
        endpoints: Sequence[Endpoint],
        pace: Pace | None = None,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """`holder` names this hub in leases: another one for every process that runs at the same time."""
        self._database = database
        self._metrics = metrics
        self._holder = holder
        self._endpoints = list(endpoints)
        self._pace = pace or Pace()
        self._clock = clock
        self.events = EventLog(database)
        self._sequencer = Sequencer(
            database, holder=holder, metrics=metrics, clock=clock, numbered=self.events.numbered
        )
        self._tasks: list[asyncio.Task[None]] = []
        self._running: dict[str, _Running] = {}
        self._leaving: set[asyncio.Task[None]] = set()
        self._soon: asyncio.TimerHandle | None = None

    def wake(self) -> None:
        """Somebody committed facts."""
        self._sequencer.committed.ring()

    def wake_soon(self) -> None:
        """Facts were committed in the course of ingestion. They are looked at in a moment, together with those
        committed until then, for a look costs as much as a batch of records."""
        if self._soon is None:
            self._soon = asyncio.get_running_loop().call_later(SOON_SECONDS, self._is_soon)

    def _is_soon(self) -> None:
        self._soon = None
        self.wake()

    @property
    def problems(self) -> list[str]:
        """Which receivers a person should look at."""
        found = []
        for name, running in self._running.items():
            health = running.worker.health
            if health.state is EndpointState.FAILING and health.failing_since is not None:
                found.append(f"webhook {name}: fails since {health.failing_since:%Y-%m-%d %H:%M} UTC")
            elif health.state is EndpointState.DISABLED:
                found.append(f"webhook {name}: is disabled; repair its receiver, then cdrhub deliveries retry {name}")
        return found

    def begin(self) -> None:
        """Start to work; the database was reached."""
        self._tasks = [
            self._keep("sequencer", self._sequencer.run),
            self._keep("log", self.events.follow),
        ]
        for endpoint in self._endpoints:
            self._start(endpoint)

    async def stop(self, *, seconds: float) -> None:
        """Send nothing more; requests under way get their answer for so long, or come again."""
        if self._soon is not None:
            self._soon.cancel()
        for running in self._running.values():
            running.worker.stop()
        workers = [running.task for running in self._running.values()] + list(self._leaving)
        self._running.clear()
        if workers:
            await asyncio.wait(workers, timeout=seconds)
        for task in (*workers, *self._tasks):
            task.cancel()
        await asyncio.gather(*workers, *self._tasks, return_exceptions=True)
        try:
            async with asyncio.timeout(HAND_OVER_SECONDS):
                await self._sequencer.stop()
        except (StoreUnavailable, TimeoutError) as error:
            log.info(
                "another hub numbers events after a while",
                action="lease_not_released",
                error=str(error) or "no answer in time",
            )

    def take_over(self, endpoints: Sequence[Endpoint]) -> None:
        """Deliver to these from now on. Workers whose endpoint is the same go on."""
        self._endpoints = list(endpoints)
        if not self._tasks:
            return  # not begun yet
        wanted = {endpoint.name: endpoint for endpoint in endpoints}
        for name, running in list(self._running.items()):
            if wanted.get(name) != running.worker.endpoint:
                running.worker.stop()
                self._leaving.add(running.task)
                running.task.add_done_callback(self._leaving.discard)
                del self._running[name]
        for endpoint in endpoints:
            if endpoint.name not in self._running:
                self._start(endpoint)

    def _start(self, endpoint: Endpoint) -> None:
        part = f"webhook {endpoint.name}"
        # Two workers of one hub hold the same lease: one that was told to stop, by this reload or an earlier one, ends.
        before = [task for task in self._leaving if task.get_name() == part]
        worker = Worker(
            endpoint,
            database=self._database,
            event_log=self.events,
            holder=self._holder,
            clock=self._clock,
            metrics=self._metrics,
            pace=self._pace,
        )

        async def run() -> None:
            if before:
                await asyncio.wait(before)
            await worker.run()

        self._running[endpoint.name] = _Running(worker=worker, task=self._keep(part, run))

    def _keep(self, part: str, run: Callable[[], Awaitable[None]]) -> asyncio.Task[None]:
        """Run a part, again where it fails; it ends when it says so."""

        async def kept() -> None:
            while True:
                try:
                    return await run()
                except Exception:
                    self._metrics.broadcast_failures.labels(part.partition(" ")[0]).inc()
                    log.exception("a part of the broadcast failed", action="broadcast_failed", part=part)
                await asyncio.sleep(RESTART_SECONDS)

        return asyncio.create_task(kept(), name=part)
