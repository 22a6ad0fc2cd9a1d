"""One switch on the event loop: events in bounded groups, commands as coroutines; behind it one thread with gevent.

The thread frames and hands over raw bytes; it neither decodes nor decides. It has a gevent hub of its own, and every
gevent object is made inside it. It ends when the link is lost or the bridge is stopped; reconnecting is for the
runner, with a new bridge.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from datetime import timedelta
from typing import TYPE_CHECKING

from cdrhub.errors import NotConnected
from cdrhub.sources.freeswitch.esl.commands import COMMAND_SECONDS, api_line, bgapi_line, successful
from cdrhub.sources.freeswitch.esl.errors import NotSent
from cdrhub.sources.freeswitch.esl.handoff import MAX_EVENTS, Handoff, Heard

if TYPE_CHECKING:
    from cdrhub.sources.freeswitch.esl.link import Link

START_SECONDS = 60.0  #: for everything until the subscription stands; each step has a shorter limit of its own
STOP_SECONDS = 5.0  #: that the thread has to end; it needs one second if the switch is silent
TURN_SECONDS = 10.0  #: until a command must have been sent; one that was not by then is taken back
JOIN_SECONDS = 1.0  #: for a thread that has done its last act
WATCHDOG_SECONDS = 25.0  #: beyond the idle time after which the thread itself would have given up


class Bridge:
    """One link to the Event Socket at `host`:`port`. Use: `start`, then `take` and `api`, then `stop`; not again.

    `subscription` is the whole command, e.g. `event plain HEARTBEAT`. `idle_seconds` is the time without a byte after
    which the switch counts as dead; only time spent reading counts, so it may be held back for longer.
    """

    def __init__(
        self,
        *,
        host: str,
        port: int,
        password: str,
        subscription: str,
        idle_seconds: float,
        max_events: int = MAX_EVENTS,
        watchdog_seconds: float = WATCHDOG_SECONDS,
    ) -> None:
        self._host = host
        self._port = port
        self._password = password
        self._subscription = subscription
        self._idle_seconds = idle_seconds
        self._watchdog_seconds = watchdog_seconds
        self._loop = asyncio.get_running_loop()
        self._handoff = Handoff(self._loop, on_space=self._has_space, max_events=max_events)
        self._heard = Heard()
        self._subscribed = asyncio.Event()
        self._finished = asyncio.Event()
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()  # of what follows
        self._link: Link | None = None
        self._stopping = False
        self._waiting: set[Future[str]] = set()

    # -- life --------------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Connect, authenticate and subscribe. Raises NotConnected, or Refused."""
        loop = self._loop
        try:
            found = await loop.getaddrinfo(self._host, self._port, type=socket.SOCK_STREAM)
        except OSError as error:
            raise NotConnected(f"{self._host} cannot be resolved: {error.strerror or error}") from error
        addresses = [(family, address) for family, _, _, _, address in found]
        self._thread = threading.Thread(target=self._work, args=(addresses,), name=f"esl {self._host}", daemon=True)
        self._thread.start()
        standing = asyncio.create_task(self._subscribed.wait())
        ended = asyncio.create_task(self._finished.wait())
        try:
            await asyncio.wait({standing, ended}, timeout=START_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        finally:
            standing.cancel()
            ended.cancel()
        if not self._subscribed.is_set():
            self._handoff.end(NotConnected(f"no subscription within {START_SECONDS:g} s"))
            await self._handoff.take(limit=1)  # raises what ended it

    async def stop(self) -> bool:
        """End the link and the thread; what was handed over can still be taken. Idempotent, in every state.

        False if the thread did not end in time; it is left behind.
        """
        with self._lock:
            self._stopping = True
            if self._link is not None:
                self._link.post(self._link.stop)
        if self._thread is None:
            self._handoff.end(NotConnected("stopped"))
            return True
        try:
            async with asyncio.timeout(STOP_SECONDS):
                await self._finished.wait()
        except TimeoutError:
            self._handoff.end(NotConnected("stopped"))
            return False
        self._thread.join(JOIN_SECONDS)
        return not self._thread.is_alive()

    # -- events ------------------------------------------------------------------------------------------------------

    async def take(self, *, limit: int) -> Sequence[bytes]:
        """The bodies of plain events, at least one and at most `limit`, in the order in which the switch sent them.

        After the last one it raises what ended the link: NotConnected, WentSilent, Refused. It also raises
        NotConnected when the thread says nothing for longer than it may itself wait for the switch.
        """
        for seconds in (self._idle_seconds, self._watchdog_seconds):  # who was suspended finds the first one over
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    return await self._handoff.take(limit=limit)
        raise NotConnected("the thread of the Event Socket does not work")

    @property
    def buffered(self) -> int:
        """Events that were read and not taken."""
        return self._handoff.buffered

    @property
    def pauses(self) -> int:
        """How often reading was held back because events were not taken fast enough."""
        return self._handoff.pauses

    @property
    def unheard(self) -> timedelta:
        """How long ago the switch was heard last."""
        return timedelta(seconds=time.monotonic() - self._heard.at)

    @property
    def foreign(self) -> int:
        """Frames of kinds that were not asked for."""
        return self._heard.foreign

    # -- commands ----------------------------------------------------------------------------------------------------

    async def api(self, command: str, *, timeout: float = COMMAND_SECONDS) -> str:  # noqa: ASYNC109 - of the answer alone, not of its turn
        """The answer to `api <command>`, e.g. `show channels as json`; one command at a time is under way.
        `timeout` (seconds) begins when it is sent.

        Raises CommandRefused for a command with a line break, CommandFailed for an answer `-ERR …`, NotSent where
        it could not be sent, NotConnected when it was sent and not answered: then the switch may have
        carried it out all the same. It is never sent twice.
        """
        return successful(await self._ask(api_line(command), timeout))

    async def bgapi(self, command: str, *, job_uuid: str) -> None:
        """Have the switch carry out `command` in the background; its result is an event BACKGROUND_JOB with this
        Job-UUID. Raises as `api` does."""
        successful(await self._ask(bgapi_line(command, job_uuid=job_uuid), COMMAND_SECONDS))

    async def _ask(self, line: str, timeout: float) -> str:  # noqa: ASYNC109 - see `api`
        answer: Future[str] = Future()
        with self._lock:
            if self._link is None or self._stopping:
                raise NotSent("there is no link to the switch")
            self._waiting.add(answer)
            self._link.post(self._link.command, line, timeout, answer)
        waiting = asyncio.wrap_future(answer)
        try:
            await asyncio.wait({waiting}, timeout=TURN_SECONDS)
            if answer.cancel():
                raise NotSent(f"the switch was not ready for a command within {TURN_SECONDS:g} s")
            return await waiting
        finally:
            waiting.cancel()
            with self._lock:
                self._waiting.discard(answer)

    # -- the thread --------------------------------------------------------------------------------------------------

    def _work(self, addresses: Sequence[tuple[int, object]]) -> None:
        try:
            from cdrhub.sources.freeswitch.esl.link import Link  # noqa: PLC0415 - gevent, for this thread alone

            link = Link(
                addresses=addresses,
                password=self._password,
                subscription=self._subscription,
                idle_seconds=self._idle_seconds,
                handoff=self._handoff,
                heard=self._heard,
                on_subscribed=lambda: self._tell(self._subscribed.set),
            )
            with self._lock:
                stopping = self._stopping
                self._link = link
            try:
                if not stopping:
                    link.run()
            finally:
                with self._lock:
                    self._stopping = True
                    waiting = list(self._waiting)
                    self._link = None
                link.close()
                for answer in waiting:
                    if not answer.done() and answer.set_running_or_notify_cancel():
                        answer.set_exception(NotConnected("stopped"))
        except Exception as error:  # noqa: BLE001 - told by `take`
            self._handoff.end(error)
        finally:
            self._handoff.end(NotConnected("stopped"))
            self._tell(self._finished.set)

    def _has_space(self) -> None:
        with self._lock:
            if self._link is not None:
                self._link.post(self._link.has_space)

    def _tell(self, what: Callable[[], object]) -> None:
        try:
            self._loop.call_soon_threadsafe(what)
        except RuntimeError:  # the event loop is closed: nobody waits any more
            return
