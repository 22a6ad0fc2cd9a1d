"""Turns: whoever works through many things in the event loop lets others have theirs in between.

What is done for a whole batch at once keeps every answer waiting, and those of a phone system first.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import ParamSpec, TypeVar

TURN_SECONDS = 0.0001  #: some three records of one line each, or a call of a few events
INLINE_BYTES = 131_072  #: up to which they are gone through without leaving the event loop

P = ParamSpec("P")
T = TypeVar("T")


async def gone_through(size: int, work: Callable[P, T], *given: P.args, **named: P.kwargs) -> T:
    """What `work` makes of so many bytes: of many beside the event loop, for it goes through them without a pause."""
    if size > INLINE_BYTES:
        return await asyncio.to_thread(work, *given, **named)
    return work(*given, **named)


class Turn:
    """The turn of one task, which begins where it is made."""

    def __init__(self) -> None:
        self._until = time.monotonic() + TURN_SECONDS

    async def give_way(self) -> None:
        """Let other tasks have their turn, if this one has lasted long enough."""
        if time.monotonic() >= self._until:
            await asyncio.sleep(0)
            self._until = time.monotonic() + TURN_SECONDS
