"""A lane: one thread that does one thing after the other, for an event loop.

SQLite blocks, and a connection belongs to one thread; so everything that touches one connection is a job of one lane.
A lane takes all that waits, up to a weight, and hands it to `work` together: that is the group commit. `setup` and
`teardown` run in the thread too; `teardown` always runs if `setup` succeeded.
"""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import Any, Final, Generic, TypeVar

SWITCH_SECONDS = 0.0001
"""The interpreter's switch interval while there are lanes, for the whole process.

A busy event loop gives up the interpreter lock at each select() and takes it back before another thread has woken;
and as long as that happens more often than the interval, the other thread never gets to demand it. With the default
of 5 ms and a loop busy in steps of 1.5 ms an append waited up to 46 s; with this one 4 ms (p99), for 1 to 2 % of the
loop's work (https://docs.python.org/3/library/sys.html#sys.setswitchinterval).
"""

Job = TypeVar("Job")


class _Stop:
    """The sentinel behind the last job."""


_STOP: Final = _Stop()


class Lane(Generic[Job]):
    """One thread and its queue. `work` must not raise: it answers each job by `post`."""

    def __init__(
        self,
        name: str,
        *,
        setup: Callable[[], None],
        work: Callable[[list[Job]], None],
        teardown: Callable[[], None],
        weigh: Callable[[Job], int],
        limit: int,
    ) -> None:
        self._setup = setup
        self._work = work
        self._teardown = teardown
        self._weigh = weigh
        self._limit = limit
        self._queue: SimpleQueue[Job | _Stop] = SimpleQueue()
        self._loop = asyncio.get_running_loop()
        self._ready: asyncio.Future[None] = self._loop.create_future()
        self._ended: asyncio.Future[None] = self._loop.create_future()
        # A daemon: a process that dies of an error must not be kept alive by a thread that waits for jobs.
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    async def start(self) -> None:
        """Begin; returns when `setup` succeeded, raises what it raised. If cancelled, the thread ends by itself."""
        sys.setswitchinterval(min(sys.getswitchinterval(), SWITCH_SECONDS))
        self._thread.start()
        try:
            await asyncio.shield(self._ready)
        except asyncio.CancelledError:
            self._queue.put(_STOP)
            raise
        except Exception:
            self._thread.join()
            raise

    def submit(self, job: Job) -> None:
        """Queue a job. Jobs are done in the order of their submission."""
        self._queue.put(job)

    def post(self, callback: Callable[..., None], *args: Any) -> None:
        """Call back on the event loop, from the thread. Nobody waits any more when the loop is closed."""
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(callback, *args)

    async def stop(self) -> None:
        """Do what was submitted, then end; returns when the thread is gone."""
        self._queue.put(_STOP)
        await asyncio.shield(self._ended)
        self._thread.join()

    def _run(self) -> None:
        try:
            self._setup()
        except Exception as error:  # noqa: BLE001 - whatever it is belongs to the one who starts the lane
            self.post(self._answer_start, error)
            return
        self.post(self._answer_start, None)
        try:
            stopping = False
            while not stopping:
                jobs, stopping = self._take()
                if jobs:
                    self._work(jobs)
        finally:
            self._teardown()
            self.post(self._answer_end)

    def _answer_start(self, error: Exception | None) -> None:
        if error is None:
            self._ready.set_result(None)
        else:
            self._ready.set_exception(error)
            self._ready.exception()  # seen, also when the one who starts was cancelled
            self._answer_end()

    def _answer_end(self) -> None:
        if not self._ended.done():
            self._ended.set_result(None)

    def _take(self) -> tuple[list[Job], bool]:
        """Wait for a job, then take what else is there, up to the limit; and whether the sentinel was met."""
        jobs: list[Job] = []
        weight = 0
        try:
            while weight < self._limit:
                job = self._queue.get(block=not jobs)
                if isinstance(job, _Stop):
                    return jobs, True
                jobs.append(job)
                weight += self._weigh(job)
        except Empty:
            pass  # everything that waited is taken
        return jobs, False
