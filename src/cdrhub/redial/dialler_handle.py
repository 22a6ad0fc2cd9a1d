"""One dialler and who waits for its answers: it is not closed before they have them.

A reload replaces a dialler whose table changed. Requests that the old one has sent are still answered by the old one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Generator, Mapping
from contextlib import contextmanager

import structlog

from cdrhub.redial.diallers import dialler_type
from cdrhub.redial.pace import Pace
from cdrhub.sources.dialler import Dialler, DiallerConfig

log = structlog.get_logger(__name__)

CLOSE_SECONDS = 5.0  #: that a dialler may take to close


class DiallerHandle:
    """One configured dialler, its pace, and how many requests hold it open."""

    def __init__(self, name: str, *, config: DiallerConfig, dialler: Dialler, pace: Pace) -> None:
        self.name = name
        self.config = config
        self.dialler = dialler
        self.pace = pace
        self._waiting = 0
        self._unused = asyncio.Event()
        self._unused.set()

    def hold(self) -> None:
        """Somebody asks, or is about to: the dialler stays open until `release`."""
        self._waiting += 1
        self._unused.clear()

    def release(self) -> None:
        """The answer is there, or nobody waits for it any more."""
        self._waiting -= 1
        if not self._waiting:
            self._unused.set()

    @contextmanager
    def held(self) -> Generator[None]:
        """Held while the context is open."""
        self.hold()
        try:
            yield
        finally:
            self.release()

    async def close(self) -> None:
        """Close the dialler, as soon as nobody waits for an answer of it."""
        while self._waiting:
            await self._unused.wait()
        await self.close_now()

    async def close_now(self, *, within: float = CLOSE_SECONDS) -> None:
        """Close the dialler. One that fails at that, or takes more than `within` seconds, is logged and left: it may be
        a plug-in, and must not hold up a stop."""
        try:
            async with asyncio.timeout(within):
                await self.dialler.close()
        except Exception:
            log.exception("a dialler could not be closed", action="dialler_failed", dialler=self.name)


def dialler_handles(
    diallers: Mapping[str, DiallerConfig], *, present: Mapping[str, DiallerHandle] | None = None
) -> dict[str, DiallerHandle]:
    """A handle for each dialler, the present one where its table is the same. Raises ConfigError."""
    handles = {}
    for name, config in diallers.items():
        there = (present or {}).get(name)
        if there is not None and there.config == config:
            handles[name] = there
        else:
            dialler = dialler_type(config.type).build(name, config)
            handles[name] = DiallerHandle(
                name, config=config, dialler=dialler, pace=Pace(per_second=config.max_per_second)
            )
    return handles
