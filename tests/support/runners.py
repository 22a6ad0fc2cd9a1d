"""Runners of sources whose sessions are scripted."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime

from cdrhub.sources.base import Intake, SourceConfig
from cdrhub.sources.runner import Runner
from support.intake import RecordingIntake

Session = Callable[[Intake], Awaitable[None]]
NOON = datetime(2024, 7, 3, 12, 0, tzinfo=UTC)  # a Wednesday


class ScriptedSource:
    """A source whose sessions are these coroutines, one after the other; the last one for ever."""

    def __init__(self, *sessions: Session) -> None:
        self._sessions = list(sessions)
        self.begun = 0

    async def session(self, intake: Intake) -> None:
        self.begun += 1
        await (self._sessions.pop(0) if len(self._sessions) > 1 else self._sessions[0])(intake)


def raising(error: Exception) -> Session:
    async def session(intake: Intake) -> None:
        raise error

    return session


async def listening(intake: Intake) -> None:
    intake.link_up("pbx")
    try:
        await asyncio.Event().wait()
    finally:
        intake.link_down("pbx", "stopped")


def runner_of(source: ScriptedSource, intake: RecordingIntake, *, stop_seconds: float = 10.0) -> Runner:
    config = SourceConfig.model_validate({"type": "test"})
    return Runner(source=source, config=config, intake=intake, stop_seconds=stop_seconds)


@asynccontextmanager
async def running(runner: Runner) -> AsyncGenerator[asyncio.Task[None]]:
    work = asyncio.create_task(runner.run())
    yield work
    await runner.stop()
    await work


def states(intake: RecordingIntake) -> list[str]:
    """The coverage states begun, in order."""
    return [said["state"] for said in intake.inferences if said["until"] is None]
