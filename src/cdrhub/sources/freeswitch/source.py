"""The source `freeswitch`: one Event Socket, listened to for as long as it lasts.

The Event Socket neither acknowledges nor repeats. So what was read is handed over whatever happens: events wait in the
bridge while the journal is slow, TCP holds the switch back after that, and a session that is stopped still hands over
what the bridge holds. What was not heard is known: the blind time goes to the coverage, and the switch is asked what
it knows after every connection and every few minutes (`reconcile.py`).
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime

import structlog

from cdrhub.addresses import join_address
from cdrhub.errors import BackOff, CdrhubError, NotConnected
from cdrhub.sources.base import Intake
from cdrhub.sources.freeswitch.agents import AgentsHeard
from cdrhub.sources.freeswitch.config import FreeSwitchConfig
from cdrhub.sources.freeswitch.decode import CHANNEL_EVENTS, event_id_of
from cdrhub.sources.freeswitch.esl.bridge import Bridge
from cdrhub.sources.freeswitch.esl.errors import CommandFailed, Refused, WentSilent
from cdrhub.sources.freeswitch.esl.frames import EVENT_PLAIN
from cdrhub.sources.freeswitch.headers import PlainHeaders
from cdrhub.sources.freeswitch.reconcile import reconcile
from cdrhub.sources.transports.patience import accept_patiently, tell_blind
from cdrhub.turns import Turn

log = structlog.get_logger(__name__)

GROUP_EVENTS = 128  #: that become durable together at most
HOLD_SECONDS = 30.0  #: that the switch is held back while the journal takes nothing; then the link is closed
CLOSED_ON_PURPOSE = "closed, for the journal takes nothing"  #: as the coverage says it
RETRY_SECONDS = 30.0  #: until a reconciliation that failed is tried again, if its turn does not come earlier
FIRST_BACK_OFF_SECONDS = 15.0  #: after a refused password; doubled with each refusal in a row
LONGEST_BACK_OFF_SECONDS = 300.0
MAX_VERSION = 100  #: characters of what the switch says of its version

#: CUSTOM stands last: mod_event_socket takes every word after it for a subclass.
SUBSCRIPTION = f"event plain HEARTBEAT BACKGROUND_JOB {' '.join(sorted(CHANNEL_EVENTS))} CUSTOM callcenter::info"


class EventSocketSource:
    """One switch."""

    def __init__(self, config: FreeSwitchConfig, *, hold_seconds: float = HOLD_SECONDS) -> None:
        self._config = config
        self._hold_seconds = hold_seconds
        self._refusals = 0

    async def session(self, intake: Intake) -> None:
        """Connect, subscribe, hand over (see `Source.session`). Cancelled, it hands over what was read."""
        bridge = self._bridge(SUBSCRIPTION)
        try:
            await self._start(bridge)
            await _Listening(bridge, intake, self._config, hold_seconds=self._hold_seconds).run()
        finally:
            if not await bridge.stop():
                intake.count("thread_left")
            if left := bridge.buffered:  # cancelled twice, or before the first could be taken
                intake.count("not_kept", left)

    async def probe(self) -> str:
        """Log in, ask for the version and for mod_callcenter, and leave; nobody loses an event by it. Raises
        NotConnected, BackOff."""
        bridge = self._bridge("event plain HEARTBEAT")
        try:
            await self._start(bridge)
            version = (await bridge.api("version")).strip()
            queues = (await bridge.api("module_exists mod_callcenter")).strip() == "true"
        except CommandFailed as error:
            raise NotConnected(f"{_peer(self._config)}: {error}") from error
        finally:
            await bridge.stop()
        return f"reached, {version[:MAX_VERSION]}; mod_callcenter is {'loaded' if queues else 'not loaded'}"

    def _bridge(self, subscription: str) -> Bridge:
        config = self._config
        return Bridge(
            host=config.host,
            port=config.port,
            password=config.password.get_secret_value(),
            subscription=subscription,
            idle_seconds=config.idle_timeout.total_seconds(),
        )

    async def _start(self, bridge: Bridge) -> None:
        try:
            await bridge.start()
        except Refused as error:
            raise self._back_off(error) from error
        except NotConnected as error:
            raise NotConnected(f"{_peer(self._config)}: {error}") from error
        self._refusals = 0

    def _back_off(self, why: Refused) -> BackOff:
        self._refusals += 1
        seconds = FIRST_BACK_OFF_SECONDS * 2.0 ** min(self._refusals - 1, 16)
        return BackOff(min(seconds, LONGEST_BACK_OFF_SECONDS), f"{_peer(self._config)}: {why}")


class _Listening:
    """One connection's life, from the subscription on."""

    def __init__(self, bridge: Bridge, intake: Intake, config: FreeSwitchConfig, *, hold_seconds: float) -> None:
        self._bridge = bridge
        self._intake = intake
        self._config = config
        self._hold_seconds = hold_seconds
        self._peer = _peer(config)
        self._linked = False
        self._pauses = 0
        self._foreign = 0
        self._agents = AgentsHeard()

    async def run(self) -> None:
        """Hand over until the link is lost; ends in NotConnected. Cancelled, it drains; cancelled again, it drops what
        is not durable, counted."""
        self._link_up()
        reading = asyncio.create_task(self._read(), name=f"{self._intake.source} events")
        asking = asyncio.create_task(self._reconcile(), name=f"{self._intake.source} reconciliation")
        try:
            await asyncio.shield(reading)
        except WentSilent as error:
            await tell_blind(self._intake, since=error.since, until=datetime.now(UTC), detail=str(error))
            raise NotConnected(f"{self._peer}: {error}") from error
        except NotConnected as error:
            raise NotConnected(f"{self._peer}: {error}") from error
        finally:
            asking.cancel()
            try:
                await self._bridge.stop()
                self._link_down("stopped")
                await asyncio.wait({reading, asking})
            finally:
                self._link_down("stopped")
                reading.cancel()
                await asyncio.gather(reading, asking, return_exceptions=True)

    def _link_up(self) -> None:
        self._linked = True
        self._intake.link_up(self._peer)

    def _link_down(self, why: str) -> None:
        if self._linked:
            self._linked = False
            self._intake.link_down(self._peer, why)

    # -- events ------------------------------------------------------------------------------------------------------

    async def _read(self) -> None:
        while True:
            try:
                bodies = await self._bridge.take(limit=GROUP_EVENTS)
            except CdrhubError as error:
                self._link_down(str(error))
                raise
            finally:
                self._count_traffic()
            await self._hand_over(bodies)

    def _count_traffic(self) -> None:
        pauses, foreign = self._bridge.pauses, self._bridge.foreign
        if pauses > self._pauses:
            self._intake.count("held_back", pauses - self._pauses)
        if foreign > self._foreign:
            self._intake.count("foreign_frames", foreign - self._foreign)
        self._pauses, self._foreign = pauses, foreign

    async def _hand_over(self, bodies: Sequence[bytes]) -> None:
        unkept = len(bodies)
        try:
            kept, event_ids = await self._sifted(bodies)
            unkept = len(kept)
            if kept:
                await self._keep(kept, event_ids)
        except BaseException:
            self._intake.count("not_kept", unkept)
            raise

    async def _keep(self, bodies: Sequence[bytes], event_ids: Sequence[str | None]) -> None:
        try:
            async with asyncio.timeout(self._hold_seconds):
                await self._accept(bodies, event_ids)
        except TimeoutError:
            # Held back for longer, the switch would drop events while we seem to be connected. What it sent since we
            # last read is lost.
            self._intake.count("closed_on_purpose")
            self._link_down(CLOSED_ON_PURPOSE)
            await self._bridge.stop()
            now = datetime.now(UTC)
            await tell_blind(self._intake, since=now - self._bridge.unheard, until=now, detail=CLOSED_ON_PURPOSE)
            await self._accept(bodies, event_ids)

    async def _sifted(self, bodies: Sequence[bytes]) -> tuple[list[bytes], list[str | None]]:
        """The events that may tell of a call or an agent, and their ids; the others are counted."""
        kept: list[bytes] = []
        event_ids: list[str | None] = []
        left_out: Counter[str] = Counter()
        turn = Turn()
        for body in bodies:
            headers = PlainHeaders(body)
            if (kind := _nothing_of_a_call(headers)) is not None:
                left_out[kind] += 1
            else:
                kept.append(body)
                event_ids.append(event_id_of(headers))
                self._agents.note(headers)
            await turn.give_way()
        for kind, number in left_out.items():
            self._intake.count(kind, number)
        return kept, event_ids

    async def _accept(self, bodies: Sequence[bytes], event_ids: Sequence[str | None]) -> None:
        await accept_patiently(
            self._intake, bodies, content_type=EVENT_PLAIN, attributes={"peer": self._peer}, event_ids=event_ids
        )

    # -- what no event told ------------------------------------------------------------------------------------------

    async def _reconcile(self) -> None:
        every = self._config.reconcile_every.total_seconds()
        while True:
            try:
                await reconcile(self._bridge, self._intake, config=self._config, heard=self._agents)
                pause = every
            except Exception as error:
                # Whatever it is, the events go on: the next turn asks for the same things again.
                self._intake.count("reconcile_failed")
                expected = isinstance(error, CdrhubError)
                log.warning(
                    "the switch could not be asked for what no event told",
                    action="reconcile_failed",
                    source=self._intake.source,
                    detail=str(error),
                    exc_info=None if expected else error,
                )
                pause = min(every, RETRY_SECONDS)
            await asyncio.sleep(pause)


def _nothing_of_a_call(headers: PlainHeaders) -> str | None:
    """For an event that says nothing of a call or an agent, the word under which it is counted; None for any other."""
    match headers.get("Event-Name"):
        case "HEARTBEAT":
            return "heartbeat"
        case "BACKGROUND_JOB":
            return "background_job"
        case "CUSTOM" if headers.get("CC-Action") == "members-count":
            return "members_count"
    return None


def _peer(config: FreeSwitchConfig) -> str:
    return join_address(config.host, config.port)
