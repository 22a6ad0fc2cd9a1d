"""The bounded buffer between the thread that reads the Event Socket and the event loop.

One thread puts, one coroutine takes. Nothing is dropped: when the buffer is full, `full` tells the thread not to read
on, and TCP holds the switch back. The event loop is woken only when it sleeps, the thread only when it waits for
space: under a flood neither costs a system call per event.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

MAX_EVENTS = 2_000  #: that wait for the event loop
MAX_BYTES = 8 * 1024 * 1024  #: of them


@dataclass(slots=True)
class Heard:
    """What a connection has received; written by its thread, read by anybody."""

    at: float = field(default_factory=time.monotonic)  #: of the last bytes, seconds of a monotonic clock
    foreign: int = 0  #: frames of kinds that were not asked for, left out


class Handoff:
    """Bodies on their way from the thread to the event loop `loop`, in order.

    `put` may overshoot the bounds by what one read of the socket held. `on_space` is called on the event loop when
    the buffer is half empty after the thread was told that it is full.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        *,
        on_space: Callable[[], None],
        max_events: int,
        max_bytes: int = MAX_BYTES,
    ) -> None:
        self._loop = loop
        self._on_space = on_space
        self._max_events = max_events
        self._max_bytes = max_bytes
        self._lock = threading.Lock()
        self._bodies: deque[bytes] = deque()
        self._bytes = 0
        self._sleeping = False
        self._waiting_for_space = False
        self._pauses = 0
        self._error: Exception | None = None
        self._arrived = asyncio.Event()

    # -- the thread's side -------------------------------------------------------------------------------------------

    def put(self, bodies: Sequence[bytes]) -> bool:
        """Append bodies; returns whether the buffer is full now, and `on_space` will be called."""
        with self._lock:
            self._bodies.extend(bodies)
            self._bytes += sum(map(len, bodies))
            self._wake()
            self._waiting_for_space = self._is_full()
            self._pauses += self._waiting_for_space
            return self._waiting_for_space

    @property
    def full(self) -> bool:
        """Whether the buffer is still full; asked again by a thread that waits, should a call have been missed."""
        with self._lock:
            self._waiting_for_space = self._is_full()
            return self._waiting_for_space

    def end(self, error: Exception) -> None:
        """Nothing more will be put. `take` hands out what is there and then raises `error`. The first one counts."""
        with self._lock:
            if self._error is None:
                self._error = error
            self._wake()

    def _is_full(self) -> bool:
        return len(self._bodies) >= self._max_events or self._bytes >= self._max_bytes

    def _wake(self) -> None:
        if self._sleeping:
            self._sleeping = False
            try:
                self._loop.call_soon_threadsafe(self._arrived.set)
            except RuntimeError:  # the event loop is closed: nobody waits any more
                return

    # -- the event loop's side ---------------------------------------------------------------------------------------

    async def take(self, *, limit: int) -> Sequence[bytes]:
        """What has arrived, at least one and at most `limit`; waits for it. Raises the error of `end` after the last.

        Cancelled, it has taken nothing.
        """
        while True:
            with self._lock:
                if self._bodies:
                    break
                if self._error is not None:
                    raise self._error
                self._sleeping = True
                self._arrived.clear()
            await self._arrived.wait()
        return self.take_now(limit=limit)

    def take_now(self, *, limit: int) -> Sequence[bytes]:
        """What has arrived, `limit` at most; nothing is waited for."""
        with self._lock:
            taken = [self._bodies.popleft() for _ in range(min(limit, len(self._bodies)))]
            self._bytes -= sum(map(len, taken))
            room = len(self._bodies) <= self._max_events // 2 and self._bytes <= self._max_bytes // 2
            wanted = self._waiting_for_space and room
            if wanted:
                self._waiting_for_space = False
        if wanted:
            self._on_space()
        return taken

    @property
    def pauses(self) -> int:
        """How often `put` said that the buffer is full."""
        with self._lock:
            return self._pauses

    @property
    def buffered(self) -> int:
        """Bodies that wait to be taken."""
        with self._lock:
            return len(self._bodies)
