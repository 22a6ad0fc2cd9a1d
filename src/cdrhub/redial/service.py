"""Redial at work inside a hub: settled calls decided, attempts requested, deadlines kept, until it is stopped.

Four loops, each with one step that is a transaction or two; none of them ends for an error. Decisions run in every
mode, for they tell each call as well. A request runs as a task of its own, so that a dialler that hangs delays no
other; its attempt was committed as requested before, and is never requested again.

Stopping is graceful: nothing more is claimed, requests under way get their answer within the time that is left, and
what has none then stays `requested` until a record, the vendor or its deadline tells.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Coroutine, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import structlog

from cdrhub.errors import StoreUnavailable
from cdrhub.metrics import Metrics
from cdrhub.model.dialling import Accepted, Answer, Refusal, Refused, Standing, Unseen
from cdrhub.redial.dialler_handle import DiallerHandle, dialler_handles
from cdrhub.redial.dialling import AttemptRef, Claimed, Dialling
from cdrhub.redial.engine import BATCH, Engine
from cdrhub.redial.orders import Orders
from cdrhub.redial.phone_systems import PhoneSystems
from cdrhub.redial.policy import Mode
from cdrhub.redial.settings import Settings
from cdrhub.redial.since import Since
from cdrhub.sources.dialler import DiallerConfig
from cdrhub.store.engine import Database, RacedError
from cdrhub.throttle import Throttle

log = structlog.get_logger(__name__)

LOOK_SECONDS = 0.25  #: between two looks for something to do
DEADLINE_LOOK_SECONDS = 1.0
FIRST_SIGHT_SECONDS = 5.0  #: that phone systems have to connect before anything is decided without them
SIGHT_LOOK_SECONDS = 0.05
FIRST_RETRY_SECONDS = 0.5
LAST_RETRY_SECONDS = 15.0
BUSY_DEPTH = 5_000  #: records in the journal above which decisions give way to ingestion
BUSY_SECONDS = 1.0  #: between two batches of decisions then
SET_ASIDE_SECONDS = 300.0  #: that a call waits about which deciding failed
REQUEST_SECONDS = 150.0  #: after which an answer counts as unseen; a dialler has a limit of its own before
ASK_SECONDS = 20.0  #: for a dialler to say what became of an order, or to drop a call
ASK_AT_ONCE = 3  #: overdue attempts of one dialler in one look: a vendor may answer a question every few seconds only
BEHIND = timedelta(seconds=5)  #: age of a record that waits for the database, beyond which the hub does not know enough
LULL_SECONDS = 0.02  #: after being woken, so that one batch takes what several writers wrote
REPEATS = (1.0, 5.0)  #: seconds before a request is repeated whose dialler knows repetitions


class Redial:
    """Redial of one hub. `begin` and `stop` are called once, `take_over` on every reload."""

    def __init__(
        self,
        *,
        database: Database,
        systems: PhoneSystems,
        metrics: Metrics,
        settings: Settings,
        handles: Mapping[str, DiallerHandle],
        depth: Callable[[], int],
        oldest: Callable[[], datetime | None],
        told: Callable[[], None],
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """`depth` says how many records wait in the journal, `oldest` when the first of them was received; `told` is
        called when facts were committed."""
        self._database = database
        self._systems = systems
        self._metrics = metrics
        self._depth = depth
        self._oldest = oldest
        self._told = told
        self._clock = clock
        self._handles = dict(handles)
        self._stopping = asyncio.Event()
        self._settled = asyncio.Event()
        self._decided = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._requests: dict[str, asyncio.Task[None]] = {}
        self._besides: set[asyncio.Task[None]] = set()
        self._careful = 0
        self._misconfigured: dict[str, str] = {}
        self._throttle = Throttle()
        self._use(settings, since=Since(clock(), max_age=settings.timing.max_age))

    def _use(self, settings: Settings, *, since: Since) -> None:
        self._settings = settings
        for name in self._handles:
            self._metrics.expect_dialler(name)
        self._engine = Engine(
            database=self._database,
            settings=settings,
            clock=self._clock,
            systems=self._systems,
        )
        self._dialling = Dialling(
            database=self._database,
            settings=settings,
            clock=self._clock,
            systems=self._systems,
            since=since,
        )

    # -- what the hub uses ---------------------------------------------------------------------------------------------

    @property
    def settings(self) -> Settings:
        """What it goes by at the moment."""
        return self._settings

    @property
    def problems(self) -> list[str]:
        """What a person should repair, without numbers or secrets."""
        behind = self._settings.mode is not Mode.OFF and self._behind()
        waits = ["redial waits: records in the journal are not in the database yet"] if behind else []
        return waits + [f"dialler {name}: {said}" for name, said in self._misconfigured.items()]

    def orders(self) -> Orders:
        """What people order, under the settings of the moment."""
        return Orders(
            database=self._database,
            settings=self._settings,
            clock=self._clock,
            systems=self._systems,
        )

    def wake(self) -> None:
        """Something may have settled."""
        self._settled.set()

    def ordered(self) -> None:
        """An attempt may have been decided by an order."""
        self._decided.set()
        self._told()

    def begin(self, *, sighted: Callable[[], bool] = lambda: True) -> None:
        """Start to work as soon as `sighted` says that every phone system is seen, at the latest after a while: a case
        that is decided before its system had time to connect would wait for half a minute."""
        self._sighted = sighted
        self._tasks = [
            asyncio.create_task(self._loop("decide", self._decide, self._settled, LOOK_SECONDS), name="redial decide"),
            asyncio.create_task(self._loop("dial", self._dial, self._decided, LOOK_SECONDS), name="redial dial"),
            asyncio.create_task(self._loop("due", self._due, None, LOOK_SECONDS), name="redial due"),
            asyncio.create_task(
                self._loop("deadline", self._deadlines, None, DEADLINE_LOOK_SECONDS), name="redial deadlines"
            ),
        ]

    async def stop(self, *, seconds: float) -> None:
        """Claim nothing more, and let requests under way have their answer for so long."""
        self._stopping.set()
        self._settled.set()
        self._decided.set()
        loop = asyncio.get_running_loop()
        until = loop.time() + seconds
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=seconds)
        if under_way := {*self._requests.values(), *self._besides}:  # the last claim may have begun some more meanwhile
            await asyncio.wait(under_way, timeout=max(until - loop.time(), 0.0))
        rest = [task for task in (*self._tasks, *under_way) if not task.done()]
        for task in rest:
            task.cancel()
        await asyncio.gather(*rest, return_exceptions=True)
        await asyncio.gather(*(handle.close_now() for handle in self._handles.values()))

    def take_over(self, settings: Settings, handles: Mapping[str, DiallerHandle]) -> None:
        """Go by these settings and diallers from now on. `handles` holds the present ones where they did not change."""
        begins = settings.mode is Mode.ON and self._settings.mode is not Mode.ON
        gone = {name: handle for name, handle in self._handles.items() if handles.get(name) is not handle}
        for name in gone.keys() - handles.keys():
            self._metrics.forget_dialler(name)
        self._handles = dict(handles)
        self._misconfigured = {name: said for name, said in self._misconfigured.items() if name not in gone}
        max_age = settings.timing.max_age
        self._use(
            settings, since=Since(self._clock(), max_age=max_age) if begins else self._dialling.since.under(max_age)
        )
        self._decided.set()
        if gone:
            self._aside(_close(gone.values()), name="close diallers")

    def handles(self, diallers: Mapping[str, DiallerConfig]) -> dict[str, DiallerHandle]:
        """A handle for each dialler of a configuration, the present one where its table did not change. Raises
        ConfigError."""
        return dialler_handles(diallers, present=self._handles)

    def _aside(self, work: Coroutine[Any, Any, None], *, name: str) -> None:
        """Do something beside the loops, which do not wait for it."""
        task = asyncio.create_task(work, name=name)
        self._besides.add(task)
        task.add_done_callback(self._besides.discard)

    # -- loops ---------------------------------------------------------------------------------------------------------

    async def _loop(
        self, name: str, step: Callable[[], Awaitable[float]], woken: asyncio.Event | None, seconds: float
    ) -> None:
        """Do one step after the other. A step says how long until the next one: 0 is at once."""
        retry = FIRST_RETRY_SECONDS
        until = time.monotonic() + FIRST_SIGHT_SECONDS
        while not self._sighted() and time.monotonic() < until and not self._stopping.is_set():
            await self._wait(SIGHT_LOOK_SECONDS, None)
        while not self._stopping.is_set():
            if woken is not None:
                woken.clear()
            try:
                pause = await step()
            except StoreUnavailable as error:
                pause, retry = retry, min(retry * 2, LAST_RETRY_SECONDS)
                if self._throttle.allows("database_away"):
                    log.warning("redial waits for the database", action="redial_waits", error=str(error))
            except RacedError:
                pause = seconds
            except Exception:
                pause, retry = retry, min(retry * 2, LAST_RETRY_SECONDS)
                self._metrics.redial_failures.labels(name).inc()
                if self._throttle.allows(("failed", name)):
                    log.exception("a step of redial failed", action="redial_failed", step=name)
            else:
                retry = FIRST_RETRY_SECONDS
            await self._wait(pause, woken if pause == seconds else None)

    async def _wait(self, seconds: float, woken: asyncio.Event | None) -> None:
        if not seconds:
            await asyncio.sleep(0)
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await (woken or self._stopping).wait()
                await asyncio.sleep(LULL_SECONDS)

    async def _decide(self) -> float:
        """One batch of settled calls; where that fails, one call at a time until the one that does it is set aside."""
        try:
            done = await self._engine.decide(at_most=1 if self._careful else BATCH)
        except (StoreUnavailable, RacedError):
            raise
        except Exception:
            if self._careful:
                await self._engine.set_aside(seconds=SET_ASIDE_SECONDS)
                self._careful -= 1
            else:
                self._careful = BATCH
            raise
        if self._careful:
            self._careful = self._careful - 1 if done.more else 0
        self._metrics.redial_settled.inc(done.settled)
        for result, count in done.results.items():
            self._metrics.redial_decisions.labels(result).inc(count)
        waited = (self._clock() - done.oldest).total_seconds() if done.oldest is not None else 0.0
        self._metrics.redial_lag.set(max(waited, 0.0))
        if done.dial:
            self._decided.set()
        if done.settled:
            self._told()
        if self._depth() > BUSY_DEPTH:
            return BUSY_SECONDS
        return 0.0 if done.more else LOOK_SECONDS

    async def _dial(self) -> float:
        """Claim what may be requested now, and request it."""
        live = await self._dialling.live() if self._handles else {}
        for name in self._handles:
            self._metrics.redial_live.labels(name).set(live.get(name, 0))
        if self._settings.mode is Mode.ON and not self._behind():
            now = time.monotonic()
            with contextlib.ExitStack() as held:
                handles = self._handles  # a reload may put others in their place meanwhile
                for handle in handles.values():
                    held.enter_context(handle.held())
                room = {
                    name: handle.pace.room(now=now, free=handle.config.max_live - live.get(name, 0))
                    for name, handle in handles.items()
                }
                limits = {name: handle.config.max_live for name, handle in handles.items()}
                for claimed in await self._dialling.claim(room=room, max_live=limits):
                    self._begin_request(claimed, handles[claimed.dialler])
        for unwanted in await self._dialling.unwanted(under_way=self._requests.keys()):
            self._aside(self._hang_up(unwanted), name=f"hang up {unwanted.attempt_id}")
        return LOOK_SECONDS

    def _begin_request(self, claimed: Claimed, handle: DiallerHandle) -> None:
        handle.pace.took(1)
        handle.hold()
        attempt_id = claimed.order.attempt_id
        task = asyncio.create_task(self._request(claimed, handle), name=f"dial {attempt_id}")
        self._requests[attempt_id] = task
        task.add_done_callback(lambda _: handle.release())
        task.add_done_callback(lambda _: self._requests.pop(attempt_id, None))

    async def _due(self) -> float:
        """Decide about waiting cases whose time has come, and after a start or a reload about those that wait on."""
        oldest = await self._dialling.oldest_due()
        waited = (self._clock() - oldest).total_seconds() if oldest is not None else 0.0
        self._metrics.redial_oldest_due.set(max(waited, 0.0))
        if oldest is not None and not self._behind():
            if await self._dialling.due():
                self._decided.set()
            self._told()
        if not self._behind() and await self._dialling.look_anew():
            self._decided.set()
            self._told()
        return LOOK_SECONDS

    async def _deadlines(self) -> float:
        """Ask the vendors of attempts whose deadline passed."""
        if self._behind():
            return DEADLINE_LOOK_SECONDS
        asked: Counter[str] = Counter()
        overdue = []
        for one in await self._dialling.overdue():
            if one.attempt_id not in self._requests and asked[one.dialler] < ASK_AT_ONCE:
                asked[one.dialler] += 1
                overdue.append(one)
        standings = await asyncio.gather(*(self._standing(one) for one in overdue))
        for standing, one in zip(standings, overdue, strict=True):
            if await self._dialling.standing(one.attempt_id, standing):
                self._decided.set()
        if overdue:
            self._told()
        return DEADLINE_LOOK_SECONDS

    def _behind(self) -> bool:
        """Whether records wait so long that nobody knows what happened meanwhile: after an outage of the database, or a
        start with a full journal, one of them may say that the person was reached."""
        oldest = self._oldest()
        # One from the future waits since before the clock was set back.
        return oldest is not None and abs(self._clock() - oldest) > BEHIND

    # -- diallers ------------------------------------------------------------------------------------------------------

    async def _request(self, claimed: Claimed, handle: DiallerHandle) -> None:
        """Send one request and write its answer, however long that takes: the request has left."""
        with self._metrics.redial_dial_seconds.labels(claimed.dialler).time():
            answer = await self._answer(claimed, handle)
        self._metrics.redial_requests.labels(claimed.dialler, _word(answer)).inc()
        if self._handles.get(claimed.dialler) is handle:  # else a reload has changed its configuration
            self._look_at(claimed.dialler, answer)
        retry = FIRST_RETRY_SECONDS
        while True:
            try:
                if await self._dialling.answered(claimed.order.attempt_id, answer):
                    self._decided.set()
                self._told()
            except (StoreUnavailable, RacedError):
                await asyncio.sleep(retry)
                retry = min(retry * 2, LAST_RETRY_SECONDS)
            except Exception:  # as if it had not been seen: the record, the vendor or the deadline tells
                self._metrics.redial_failures.labels("answer").inc()
                log.exception("an answer could not be written", action="redial_failed", step="answer")
                return
            else:
                return

    async def _answer(self, claimed: Claimed, handle: DiallerHandle) -> Answer:
        answer = await self._asked(claimed, handle)
        if not handle.dialler.idempotent:
            return answer
        for pause in REPEATS:
            if not isinstance(answer, Unseen):
                break
            await asyncio.sleep(pause)
            if not await self._repeatable(claimed):
                break
            handle.pace.took(1)
            again = await self._asked(claimed, handle)
            if isinstance(again, Accepted):  # a refusal is of this request: the first one may have arrived
                answer = again
        return answer

    async def _repeatable(self, claimed: Claimed) -> bool:
        """Whether a request may be sent again: the world may have changed since it left."""
        if self._behind():
            return False
        try:
            return await self._dialling.repeatable(claimed.order.attempt_id)
        except StoreUnavailable:
            return False

    async def _asked(self, claimed: Claimed, handle: DiallerHandle) -> Answer:
        try:
            async with asyncio.timeout(REQUEST_SECONDS):
                return await handle.dialler.dial(claimed.order)
        except TimeoutError:
            return Unseen(detail=f"no answer within {REQUEST_SECONDS:g} s")
        except Exception as error:
            if self._throttle.allows(("dialler", claimed.dialler)):
                log.exception("a dialler failed", action="dialler_failed", dialler=claimed.dialler)
            return Unseen(detail=f"the dialler failed: {type(error).__name__}")

    def _look_at(self, dialler: str, answer: Answer) -> None:
        if isinstance(answer, Refused) and answer.refusal is Refusal.CONFIGURATION:
            self._misconfigured[dialler] = "refuses for its configuration: see redial_decisions"
            if self._throttle.allows(("configuration", dialler)):
                log.error("a dialler refuses for its configuration", action="dialler_configuration", dialler=dialler)
        elif isinstance(answer, Accepted):
            self._misconfigured.pop(dialler, None)

    async def _standing(self, one: AttemptRef) -> Standing:
        handle = self._handles.get(one.dialler)
        if handle is None:
            return Standing()
        try:
            with handle.held():
                async with asyncio.timeout(ASK_SECONDS):
                    return await handle.dialler.ask(attempt_id=one.attempt_id, vendor_ref=one.vendor_ref)
        except Exception:
            if self._throttle.allows(("ask", one.dialler)):
                log.exception("a dialler did not say what became of an order", action="ask_failed", dialler=one.dialler)
            return Standing()

    async def _hang_up(self, one: AttemptRef) -> None:
        handle = self._handles.get(one.dialler)
        if handle is None:
            return
        try:
            with handle.held():
                async with asyncio.timeout(ASK_SECONDS):
                    await handle.dialler.hang_up(attempt_id=one.attempt_id, vendor_ref=one.vendor_ref)
        except Exception:
            if self._throttle.allows(("hang_up", one.dialler)):
                log.exception("a call could not be dropped", action="hang_up_failed", dialler=one.dialler)


async def _close(handles: Collection[DiallerHandle]) -> None:
    """Close diallers that the configuration has no longer."""
    await asyncio.gather(*(handle.close() for handle in handles))


def _word(answer: Answer) -> str:
    """One word for what a dialler answered: `accepted`, `unseen`, or the class of a refusal."""
    match answer:
        case Accepted():
            return "accepted"
        case Unseen():
            return "unseen"
        case Refused(refusal=refusal):
            return f"refused_{refusal}"
