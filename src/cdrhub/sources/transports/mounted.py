"""A source that is a path of the hub's HTTP server: the phone system comes to it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from cdrhub.sources.base import HttpHandler, Intake


class MountedSource:
    """What one phone system pushes to `path`. There is no connection that could be up: between two pushes the source is
    idle. `handler` makes what takes the requests of one session."""

    def __init__(self, path: str, handler: Callable[[Intake], HttpHandler]) -> None:
        self._path = path
        self._handler = handler

    async def session(self, intake: Intake) -> None:
        """Serve the path until cancelled. Requests that are being answered then are answered still."""
        with intake.mount(self._path, self._handler(intake)):
            await asyncio.Event().wait()
