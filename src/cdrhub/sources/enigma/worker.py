"""The one worker of one list, for one session: it stands by, takes, makes durable, and gives the lease back.

The vendor allows a single consumer of a list. Which of several hubs it is, the lease beside the list decides; the
others stand by and look every second whether it is free. What was taken is made durable before more is taken, so a
full journal stops the taking and the CDRs wait in Redis.

Cancelled once, the worker finishes the batch in its hands, says so to Redis and gives the lease back; cancelled a
second time it drops the batch, which then is in the processing list (or, taken plainly, lost and counted).
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, TypeVar

import structlog
from redis.asyncio import Redis

from cdrhub.errors import BackOff, IntakeRefused, NotConnected, SourceSignal
from cdrhub.model.inference import Coverage, coverage_inference
from cdrhub.sources.base import Intake
from cdrhub.sources.enigma.config import Reliable
from cdrhub.sources.transports.patience import accept_patiently, tell_blind
from cdrhub.sources.transports.redis_client import REFUSED_SECONDS
from cdrhub.sources.transports.redis_list import (
    BATCH_ENTRIES,
    RENEW_SHARE,
    Drained,
    Lease,
    LeasedList,
    PlainList,
    ReliableList,
    ScriptsRefused,
    Taken,
)
from cdrhub.throttle import Throttle

T = TypeVar("T")

log = structlog.get_logger(__name__)

CONTENT_TYPE: Final = "application/json"
#: Who this source of this daemon is in leases, kept in its journal. Only one daemon can use a journal: after a crash
#: the lease of its predecessor is its own and need not be waited for.
HOLDER_KEY: Final = "lease_holder"
STAND_BY_SECONDS: Final = 1.0  #: between two looks whether the lease is free
WRONG_REDIS_SECONDS: Final = 60.0  #: until a list with only the dialler's own messages is looked at again


@dataclass(slots=True)
class Sight:
    """What the workers of one session know of each other."""

    since: datetime | None = None  #: when the first of their lists was read: the source is not blind from then on


class ListWorker:
    """See the module. Made for one session; `run` ends by an error or by cancellation."""

    def __init__(
        self, *, intake: Intake, client: Redis, drained: Drained, lease: Lease, reliable: Reliable, sight: Sight
    ) -> None:
        self._intake = intake
        self._client = client
        self._drained = drained
        self._lease = lease
        self._must_be_reliable = reliable == "always"
        kind = PlainList if reliable == "never" else ReliableList
        self._list: LeasedList = kind(client, drained=drained, lease=lease)
        self._sight = sight
        self._seen = False  # whether the list is seen as it is now, and not as it was filled while nobody read it
        self._done = 0  # entries of the processing list that are durable and still there
        self._throttle = Throttle()
        self._log = log.bind(source=intake.source, list=drained.key)

    async def run(self) -> None:
        """Drain the list for as long as the link and the lease hold. Raises NotConnected, or BackOff where Redis
        refuses us or the list holds only messages that are not for us."""
        try:
            await self._stand_by()
            try:
                await self._drain()
            finally:
                if self._seen:
                    self._intake.link_down(self._drained.key)
        except NotConnected:
            raise
        except BaseException:
            with contextlib.suppress(SourceSignal):  # then the lease expires by itself
                await self._whole(self._list.release(done=self._done))
            raise

    def _how(self) -> str:
        return f"reads {self._drained.key}" + ("" if self._list.reliable else " plainly")

    # -- the lease ---------------------------------------------------------------------------------------------------

    async def _stand_by(self) -> None:
        """Return when the lease is ours."""
        holder = await self._acquire()
        if holder is None:
            return
        self._intake.count("stood_by")
        self._log.info("another worker reads the list: standing by", action="stands_by", holder=holder)
        detail = f"stands by: {holder} reads {self._drained.key}"
        self._intake.standing_by(detail)
        async with self._covering(detail):
            while holder is not None:
                await asyncio.sleep(STAND_BY_SECONDS)
                holder = await self._acquire()
        self._log.info("took the list over", action="took_over")

    async def _acquire(self) -> str | None:
        try:
            return await self._list.acquire()
        except ScriptsRefused as why:
            if self._must_be_reliable:
                raise BackOff(
                    REFUSED_SECONDS, f"this Redis runs no scripts, which reliable = 'always' needs: {why}"
                ) from why
            self._log.warning(
                "this Redis runs no scripts: CDRs are popped plainly, those in hand are lost when this process dies",
                action="taken_plainly",
                why=str(why),
            )
        self._list = PlainList(self._client, drained=self._drained, lease=self._lease)
        return await self._list.acquire()

    @asynccontextmanager
    async def _covering(self, detail: str) -> AsyncGenerator[None]:
        """While it lasts, note in the coverage that this hub is blind, unless it reads another list of the source."""
        if self._sight.since is not None:
            yield
            return
        since = datetime.now(UTC)
        await self._cover(Coverage(state="blind", since=since, until=None, detail=detail))
        try:
            yield
        finally:
            until = self._sight.since or datetime.now(UTC)
            await self._cover(Coverage(state="blind", since=since, until=until, detail=detail))

    async def _cover(self, stretch: Coverage) -> None:
        try:
            await self._intake.infer(coverage_inference(stretch))
        except IntakeRefused:
            self._intake.count("coverage_not_kept")

    # -- draining ----------------------------------------------------------------------------------------------------

    async def _drain(self) -> None:
        while True:
            taken = await self._whole(self._turn())
            if not self._seen and len(taken.bodies) < BATCH_ENTRIES // 2:  # what had waited there is read
                self._seen = True
                self._sight.since = self._sight.since or datetime.now(UTC)
                self._intake.link_up(self._drained.key, self._how())
            if taken.bodies:
                continue
            if taken.left:
                raise BackOff(WRONG_REDIS_SECONDS, self._wrong_redis())
            await self._list.wait()

    async def _whole(self, work: Coroutine[Any, Any, T]) -> T:
        """What `work` gives; a first cancellation waits for its end."""
        working = asyncio.create_task(work)
        try:
            return await asyncio.shield(working)
        except asyncio.CancelledError:
            try:
                await asyncio.wait({working})
            except asyncio.CancelledError:
                working.cancel()
                await asyncio.wait({working})
            if not working.cancelled() and (error := working.exception()) is not None:
                self._log.info("the last batch stays in Redis", action="last_batch_stays", why=str(error))
            raise

    async def _turn(self) -> Taken:
        # Whether a taking that fails has forgotten them is not known: then they are taken again.
        done, self._done = self._done, 0
        taken = await self._list.take(done=done)
        if taken.left:
            self._intake.count("foreign_left", taken.left)
            if self._throttle.allows("wrong_redis"):
                self._log.error(self._wrong_redis(), action="wrong_redis")
        if taken.bodies:
            await self._make_durable(taken)
            self._done = taken.done
        return taken

    def _wrong_redis(self) -> str:
        return (
            f"{self._drained.key} holds messages of type {self._drained.foreign}: this is the dialler's own Redis. "
            "They are left to it, but its CDRs are elsewhere: check the keys redis and keys of this source"
        )

    async def _make_durable(self, taken: Taken) -> None:
        """Hand a batch to the intake, for as long as it takes, and keep the lease meanwhile."""
        if taken.recovered:
            self._intake.count("recovered", len(taken.bodies))
        since = datetime.now(UTC)
        offering = asyncio.create_task(self._offer(taken))
        try:
            while not offering.done():
                await asyncio.wait({offering}, timeout=self._lease.seconds * RENEW_SHARE)
                if not offering.done():
                    await self._list.renew()
        except asyncio.CancelledError:
            offering.cancel()
            await asyncio.wait({offering})
            if not self._list.reliable:
                self._intake.count("not_kept", len(taken.bodies))
                await self._say_not_kept(f"{len(taken.bodies)} popped CDRs could not be kept", since=since)
            raise
        except Exception:
            if self._list.reliable:
                offering.cancel()  # what is in the processing list is taken again
            await asyncio.wait({offering})
            raise
        await offering

    async def _say_not_kept(self, why: str, *, since: datetime) -> None:
        """They are in Redis no more: nobody sees them again."""
        self._log.error("CDRs that were popped plainly are lost", action="popped_and_lost", why=why)
        until = max(since, datetime.now(UTC))
        await tell_blind(self._intake, since=since, until=until, detail=f"{self._drained.key}: {why}")

    async def _offer(self, taken: Taken) -> None:
        attributes = {"list": self._drained.key} | ({"live": False} if taken.recovered else {})
        known = self._intake.position(HOLDER_KEY) is not None
        await accept_patiently(
            self._intake,
            taken.bodies,
            content_type=CONTENT_TYPE,
            attributes=attributes,
            position=None if known else (HOLDER_KEY, self._lease.holder),
        )
