"""The two connections to one switch, inside the thread of the bridge: one for events, one for commands.

Commands have a connection of their own, for while events are held back an answer on the same connection would stand
behind them. It is made for the first command, and again for the first one after it was lost; a command is never sent
twice, and losing that connection does not touch the events.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import ExitStack

import gevent
from gevent.event import Event
from gevent.lock import BoundedSemaphore
from gevent.pool import Group

from cdrhub.errors import NotConnected
from cdrhub.sources.freeswitch.esl.client import Address, EventSocketClient
from cdrhub.sources.freeswitch.esl.errors import NotSent
from cdrhub.sources.freeswitch.esl.frames import MAX_ANSWER_BYTES
from cdrhub.sources.freeswitch.esl.handoff import Handoff, Heard
from cdrhub.sources.freeswitch.headers import MAX_EVENT_BYTES

LOOK_SECONDS = 5.0  #: between two looks of the thread, so that its hub always has a timer
SPACE_SECONDS = 0.5  #: the same of a reader that waits for space
KILL_SECONDS = 1.0  #: that a greenlet has to end
DESCRIPTORS = 16  #: that must be free for a new hub, which takes three: others may take some in the same moment


class Link:
    """Lives in the thread that constructs it. `post` alone may be called from another one, until `close`."""

    def __init__(
        self,
        *,
        addresses: Sequence[Address],
        password: str,
        subscription: str,
        idle_seconds: float,
        handoff: Handoff,
        heard: Heard,
        on_subscribed: Callable[[], None],
    ) -> None:
        _look_for_descriptors()
        self._hub = gevent.get_hub()
        self._addresses = addresses
        self._password = password
        self._subscription = subscription
        self._handoff = handoff
        self._on_subscribed = on_subscribed
        self._stopping = Event()
        self._space = Event()
        self._turn = BoundedSemaphore(1)
        self._jobs = Group()
        self._commands: EventSocketClient | None = None
        self._events = EventSocketClient(
            addresses,
            password=password,
            deliver=self._deliver,
            idle_seconds=idle_seconds,
            max_body=MAX_EVENT_BYTES,
            heard=heard,
        )

    # -- from other threads ------------------------------------------------------------------------------------------

    def post(self, call: Callable[..., object], *arguments: object) -> None:
        """Have the hub of this thread call one of the methods below, soon."""
        self._hub.loop.run_callback_threadsafe(call, *arguments)

    # -- posted: called by the hub, must not block -------------------------------------------------------------------

    def stop(self) -> None:
        """Let `run` return."""
        self._stopping.set()

    def has_space(self) -> None:
        """The reader may go on."""
        self._space.set()

    def command(self, line: str, timeout: float, answer: Future[str]) -> None:
        """Send a command and give its answer, or the error, to `answer`."""
        self._jobs.spawn(self._answer, line, timeout, answer)

    # -- the thread --------------------------------------------------------------------------------------------------

    def run(self) -> None:
        """Listen to events until the link is lost or `stop`; then the handoff has been ended with the reason."""
        listening = gevent.spawn(self._listen)
        while not listening.ready() and not self._stopping.is_set():
            gevent.wait([listening, self._stopping], timeout=LOOK_SECONDS, count=1)
        self._events.stop()
        listening.kill(timeout=KILL_SECONDS)
        self._jobs.kill(timeout=KILL_SECONDS)
        if self._commands is not None:
            self._commands.close()
        self._handoff.end(NotConnected("stopped"))

    def close(self) -> None:
        """Give back the hub's descriptors, and all that it holds. Nothing of the link may be used after it."""
        self._hub.destroy(destroy_loop=True)
        if not self._hub.dead:
            # It stands where it told that its loop is over, and would stand there for ever, with all that its stack
            # holds: the thread ends and nobody unwinds it (gevent 26.9).
            self._hub.throw()

    def _listen(self) -> None:
        try:
            self._events.connect()
            reply = self._events.send(self._subscription)
            if not reply.data.startswith("+OK"):
                raise NotConnected(f"it refuses the subscription: {reply.data!r}")
            self._on_subscribed()
            self._events.closed.wait()
            self._handoff.end(self._events.error or NotConnected("the connection is closed"))
        except Exception as error:  # noqa: BLE001 - told on the other side of the thread, where it ends the session
            self._handoff.end(error)

    def _deliver(self, bodies: Sequence[bytes]) -> None:
        self._space.clear()
        if not self._handoff.put(bodies):
            return
        while self._handoff.full:
            self._space.wait(SPACE_SECONDS)

    def _answer(self, line: str, timeout: float, answer: Future[str]) -> None:
        try:
            with self._turn:
                if not answer.set_running_or_notify_cancel():
                    return  # whoever asked has gone before it was sent
                reply = self._commanding().send(line, timeout=timeout)
        except Exception as error:  # noqa: BLE001 - it belongs to whoever asked
            answer.set_exception(error)
        except BaseException:  # the greenlet is being killed
            if answer.running() or answer.set_running_or_notify_cancel():
                answer.set_exception(NotConnected("stopped"))
            raise
        else:
            answer.set_result(reply.data)

    def _commanding(self) -> EventSocketClient:
        """The connection for commands, made anew if it is gone. Raises NotSent, or Refused."""
        if self._commands is None or not self._commands.connected:
            commands = EventSocketClient(
                self._addresses,
                password=self._password,
                deliver=_no_events,
                idle_seconds=None,  # nothing is subscribed there: silence is its ordinary state
                max_body=MAX_ANSWER_BYTES,
                heard=Heard(),
            )
            self._commands = commands
            try:
                commands.connect()
            except NotConnected as error:
                raise NotSent(str(error)) from error
        return self._commands


def _look_for_descriptors() -> None:
    """Raise NotConnected where the process has none left for the hub of a thread: libev, which does not find them, ends
    the whole process (http://cvs.schmorp.de/libev/ev.c, evpipe_init)."""
    with ExitStack() as found:
        try:
            for _ in range(DESCRIPTORS):
                found.callback(os.close, os.open(os.devnull, os.O_RDONLY))
        except OSError as error:
            raise NotConnected(f"there is no link to the switch for want of a descriptor: {error.strerror}") from error


def _no_events(bodies: Sequence[bytes]) -> None:
    """Nothing was subscribed on the connection for commands; what comes all the same belongs to the other one."""
