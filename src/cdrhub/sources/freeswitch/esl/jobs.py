"""Background jobs of one switch and their results, over a bridge of their own.

`bgapi` is answered at once with no more than that the job has begun; what became of it comes as an event BACKGROUND_JOB
with the Job-UUID that was sent along. So this bridge listens to those and to nothing of a call. It is made for the
first job and again for the first one after it was lost; a job is never given twice.
https://developer.signalwire.com/freeswitch/FreeSWITCH-Explained/Modules/mod_event_socket_1048924/#bgapi
"""

from __future__ import annotations

import asyncio

import structlog

from cdrhub.errors import CdrhubError, NotConnected
from cdrhub.sources.freeswitch.esl.bridge import Bridge
from cdrhub.sources.freeswitch.esl.errors import NotSent
from cdrhub.sources.freeswitch.headers import PlainHeaders

log = structlog.get_logger(__name__)

SUBSCRIPTION = "event plain HEARTBEAT BACKGROUND_JOB"  #: a heartbeat tells that the switch lives
IDLE_SECONDS = 65.0  #: without a byte until it counts as dead: a little more than three heartbeats
LINK_SECONDS = 15.0  #: until the link must stand
GROUP_EVENTS = 128  #: events that are looked at together


class Jobs:
    """What one switch is told to do. Made anywhere, used in one event loop, then closed."""

    def __init__(self, *, host: str, port: int, password: str) -> None:
        self._host = host
        self._port = port
        self._password = password
        self._linking: asyncio.Task[Bridge] | None = None
        self._bridge: Bridge | None = None
        self._listening: set[asyncio.Task[None]] = set()
        self._results: dict[str, asyncio.Future[str | NotConnected]] = {}

    async def run(self, command: str, *, job_uuid: str, seconds: float) -> str:
        """The result of `command` as the job `job_uuid`, whatever it says; `seconds` begin when the job has.

        Raises NotSent where there is no link, Refused where the switch does not want us, CommandRefused for what cannot
        be sent, CommandFailed where the job was not begun, and NotConnected where nobody can say what became of it.
        """
        bridge = await self._linked()
        result: asyncio.Future[str | NotConnected] = asyncio.get_running_loop().create_future()
        self._results[job_uuid] = result
        try:
            await bridge.bgapi(command, job_uuid=job_uuid)
            async with asyncio.timeout(seconds):
                found = await result
        except TimeoutError as error:
            raise NotConnected(f"the switch did not tell the result of a job within {seconds:g} s") from error
        finally:
            del self._results[job_uuid]
        if isinstance(found, NotConnected):
            raise found
        return found

    async def api(self, command: str) -> str:
        """The answer to a command; raises as `Bridge.api` does, and Refused."""
        return await (await self._linked()).api(command)

    async def close(self) -> None:
        """Let go of the switch; jobs under way go on there."""
        if self._linking is not None:
            self._linking.cancel()
            await asyncio.gather(self._linking, return_exceptions=True)
        if self._bridge is not None:
            await self._bridge.stop()
        await asyncio.gather(*self._listening)

    async def _linked(self) -> Bridge:
        """The bridge; who asks while it is being made shares what comes of it, so that nobody waits for the failures of
        others one after the other."""
        if self._bridge is not None:
            return self._bridge
        if self._linking is None:
            self._linking = asyncio.create_task(self._link(), name=f"esl {self._host} link")
            self._linking.add_done_callback(self._is_linked)
        return await asyncio.shield(self._linking)

    def _is_linked(self, linking: asyncio.Task[Bridge]) -> None:
        self._linking = None
        if not linking.cancelled():
            linking.exception()  # whoever waited for it was told, if anybody still does

    async def _link(self) -> Bridge:
        bridge = Bridge(
            host=self._host,
            port=self._port,
            password=self._password,
            subscription=SUBSCRIPTION,
            idle_seconds=IDLE_SECONDS,
        )
        try:
            async with asyncio.timeout(LINK_SECONDS):
                await bridge.start()
        except BaseException as error:
            await bridge.stop()
            if isinstance(error, TimeoutError):
                raise NotSent(f"there is no link to the switch after {LINK_SECONDS:g} s") from error
            if isinstance(error, NotConnected):
                raise NotSent(str(error)) from error
            raise
        self._bridge = bridge
        listening = asyncio.create_task(self._listen(bridge), name=f"esl {self._host} jobs")
        self._listening.add(listening)
        listening.add_done_callback(self._listening.discard)
        return bridge

    async def _listen(self, bridge: Bridge) -> None:
        """Hand over results until the link is lost; then whoever waits for one is told so."""
        try:
            while True:
                for body in await bridge.take(limit=GROUP_EVENTS):
                    self._heard(body)
        except CdrhubError as error:
            self._lost(str(error))
        except Exception as error:
            log.exception("the link for jobs failed", action="esl_jobs_failed", host=self._host)
            self._lost(type(error).__name__)
        finally:
            self._bridge = None
            await bridge.stop()

    def _lost(self, why: str) -> None:
        for result in self._results.values():
            if not result.done():
                result.set_result(NotConnected(why))

    def _heard(self, body: bytes) -> None:
        headers = PlainHeaders(body)
        if headers.get("Event-Name") != "BACKGROUND_JOB":
            return
        result = self._results.get(headers.get("Job-UUID") or "")
        if result is not None and not result.done():
            result.set_result(body.partition(b"\n\n")[2].decode("utf-8", "replace").strip())
