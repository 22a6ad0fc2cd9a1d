"""The door to one dialler: who is waiting for an answer of it, and that it is not closed before they have it.

A reload puts another dialler in the place of one whose table changed. What was asked of the one before, an order to
dial or what became of one, has left, and is answered by that one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Generator, Mapping
from contextlib import contextmanager

from cdrhub.redial.diallers import dialler_type
from cdrhub.redial.pace import Pace
from cdrhub.sources.dialler import Dialler, DiallerConfig


class Door:
    """One dialler at work."""

    def __init__(self, *, config: DiallerConfig, dialler: Dialler, pace: Pace) -> None:
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
        await self.dialler.close()


def open_doors(diallers: Mapping[str, DiallerConfig], *, present: Mapping[str, Door] | None = None) -> dict[str, Door]:
    """A door for each dialler, the present one where its table is the same. Raises ConfigError."""
    doors = {}
    for name, config in diallers.items():
        there = (present or {}).get(name)
        if there is not None and there.config == config:
            doors[name] = there
        else:
            dialler = dialler_type(config.type).build(name, config)
            doors[name] = Door(config=config, dialler=dialler, pace=Pace(per_second=config.max_per_second))
    return doors
