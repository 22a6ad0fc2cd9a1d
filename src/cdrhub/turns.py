"""Long work without holding up the event loop: in turns, or in a thread.

A batch that is worked through without a pause delays every answer, the one to a phone system among them.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import ParamSpec, TypeVar

TURN_SECONDS = 0.0001  #: some three records of one line each, or a call of a few events
INLINE_BYTES = 131_072  #: up to which work is done in the event loop itself

P = ParamSpec("P")
T = TypeVar("T")


async def in_thread_if_large(size: int, work: Callable[P, T], *given: P.args, **named: P.kwargs) -> T:
    """The result of `work` on `size` bytes. Where they are many it runs in a thread, for it would hold up the event
    loop."""
    if size > INLINE_BYTES:
        return await asyncio.to_thread(work, *given, **named)
    return work(*given, **named)


class Turn:
    """The turn of one task in the event loop; it begins when it is made."""

    def __init__(self) -> None:
        self._until = time.monotonic() + TURN_SECONDS

    async def give_way(self) -> None:
        """Let other tasks run, if this turn has lasted long enough."""
        if time.monotonic() >= self._until:
            await asyncio.sleep(0)
            self._until = time.monotonic() + TURN_SECONDS
