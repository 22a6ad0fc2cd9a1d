"""The sources at work in one hub: how each is started, exchanged and stopped, and how it is.

A source that is pushed to is exchanged without a gap: its successor is at its path before it stops. Any other stops
first, for the two would want the same connection.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from zoneinfo import ZoneInfo

import structlog

from cdrhub.config import Config
from cdrhub.errors import ConfigError
from cdrhub.hub.intake import OpenCalls, SourceIntake
from cdrhub.hub.reloading import pushed_to
from cdrhub.journal import Journal
from cdrhub.listeners import Listeners
from cdrhub.metrics import Metrics
from cdrhub.routes import Routes
from cdrhub.sources.base import Source, SourceConfig
from cdrhub.sources.registry import system
from cdrhub.sources.runner import Runner

log = structlog.get_logger(__name__)

SERVES_SECONDS = 2.0  #: that a source may take until it is at its path


@dataclass(slots=True)
class Running:
    """One source at work."""

    config: SourceConfig
    runner: Runner
    intake: SourceIntake
    task: asyncio.Task[None]


class SourcesAtWork:
    """The sources of one hub by their names, each with its runner."""

    def __init__(
        self,
        *,
        journal: Journal,
        metrics: Metrics,
        listeners: Listeners,
        routes: Routes,
        open_calls: OpenCalls,
    ) -> None:
        self._journal = journal
        self._metrics = metrics
        self._listeners = listeners
        self._routes = routes
        self._open_calls = open_calls
        self._running: dict[str, Running] = {}
        self._failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    # -- how they are ----------------------------------------------------------------------------------------------

    @property
    def names(self) -> AbstractSet[str]:
        """Those that are at work at the moment."""
        return self._running.keys()

    @property
    def problems(self) -> list[str]:
        """What a person should look at."""
        said = {name: running.runner.problem for name, running in self._running.items()}
        return [f"source {name}: {problem}" for name, problem in said.items() if problem is not None]

    def get(self, name: str) -> Running | None:
        """The source of that name, if it is at work."""
        return self._running.get(name)

    def sees(self, name: str) -> bool:
        """Whether it is at work and not blind."""
        running = self._running.get(name)
        return running is not None and running.runner.sees

    # -- starting, exchanging, stopping ----------------------------------------------------------------------------

    async def start(self, built: Mapping[str, Source], config: Config) -> None:
        """Start these sources; those that are pushed to are at their paths then."""
        for name, source in built.items():
            self._start(name, source, config)
        await asyncio.gather(*(self._serves(name, config, handlers=1) for name in built))

    async def exchange(
        self, built: Mapping[str, Source], *, before: Config, config: Config, stays: AbstractSet[str]
    ) -> None:
        """Stop all but those that stay, and start these instead."""
        new = dict(built)
        gone = {name: self._running.pop(name) for name in self._running.keys() - stays}
        for name in [name for name in gone if pushed_to(name, before) == pushed_to(name, config) is not None]:
            self._start(name, new.pop(name), config, before=gone[name])
            await self._serves(name, config, handlers=2)  # so that no push meets a closed door between the two
        await asyncio.gather(*(_stop(running) for running in gone.values()))
        for name, source in new.items():
            self._start(name, source, config, before=gone.get(name))
        for name in gone.keys() - config.sources.keys():
            self._metrics.forget_source(name)

    async def stop(self) -> None:
        """Stop all of them."""
        await asyncio.gather(*(_stop(running) for running in self._running.values()))
        self._running.clear()

    def _start(self, name: str, source: Source, config: Config, *, before: Running | None = None) -> None:
        """`before` is the source that a reload replaces: stopped already or, where it is pushed to, still at work."""
        intake = SourceIntake(
            name,
            hub=config.hub.name,
            revision=config.revision(name),
            journal=self._journal,
            metrics=self._metrics,
            listeners=self._listeners,
            routes=self._routes,
            open_calls=self._open_calls,
        )
        at_work = None
        if before is not None:
            intake.last_record_at = before.intake.last_record_at
            at_work = None if before.task.done() else before.runner
        its = config.sources[name]
        for caution in its.cautions():
            log.warning(caution, action="caution", source=name)
        runner = Runner(source=source, config=its, intake=intake, successor_of=at_work)
        task = asyncio.create_task(runner.run(), name=f"source {name}")
        task.add_done_callback(self._ended)
        self._running[name] = Running(config=its, runner=runner, intake=intake, task=task)

    def _ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None and not self._failed.done():
            self._failed.set_exception(error)

    async def failed(self) -> None:
        """Never returns; raises the error of a runner that failed: a bug of ours, for it survives what a source
        raises."""
        await asyncio.shield(self._failed)

    async def _serves(self, name: str, config: Config, *, handlers: int) -> None:
        """Wait until a source that is pushed to is at its path, with this many handlers."""
        path = config.sources[name].ingest_path
        if path is None:
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(SERVES_SECONDS):
                while self._routes.handlers(path) < handlers:  # noqa: ASYNC110 - a few turns of the loop
                    await asyncio.sleep(0.001)


def built(config: Config) -> dict[str, Source]:
    """Every source of this configuration. Raises ConfigError that names the source; what the code of a plug-in raises
    is raised here, before a source is started."""
    made = {}
    for name, table in config.sources.items():
        try:
            made[name] = system(table.type).source(table)
            ZoneInfo(table.hours_zone)
            table.cautions()
        except ConfigError as error:
            raise ConfigError(f"sources.{name}: {error}") from error
    return made


async def _stop(running: Running) -> None:
    await running.runner.stop()
    await asyncio.wait({running.task})
