"""Delivers the log to one endpoint: in order per call, several calls at once, until it is taken.

One worker per endpoint, with connections of its own: an endpoint that hangs or fails delays nobody else. A lease makes
one hub at a time the one that delivers. Its cursor says up to where everything was taken, set aside or not wanted; it
is written now and then, so that after a crash a few events are sent again, with the ids they had. While the endpoint
fails only one event is sent, by the schedule in `health.py`; the events wait in the log, which costs nothing.

An event that the receiver refuses (4xx) gets a row in `deliveries` and holds nothing up. Many of them in a
row, with no other answer in between, are a failure of the endpoint: nobody changes a URL to lose a day's events. One at
which the endpoint fails again and again though it takes others is refused as well (`stumbles.py`).
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice

import structlog

from cdrhub.broadcast import deliveries as rows
from cdrhub.broadcast.bell import Bell
from cdrhub.broadcast.deliveries import Delivery, DeliveryState
from cdrhub.broadcast.endpoint import Endpoint
from cdrhub.broadcast.events import Event
from cdrhub.broadcast.health import (
    Answer,
    AnswerKind,
    EndpointState,
    Health,
    after_another,
    after_failure,
    after_set_back,
    after_success,
)
from cdrhub.broadcast.log import EventLog
from cdrhub.broadcast.posting import REQUEST_SECONDS, Poster
from cdrhub.broadcast.render import event_id, rendered
from cdrhub.broadcast.stumbles import TRIES, Stumbles
from cdrhub.errors import StoreUnavailable
from cdrhub.metrics import Metrics
from cdrhub.store import leases
from cdrhub.store.engine import Database
from cdrhub.store.transaction import Transaction
from cdrhub.throttle import Throttle

log = structlog.get_logger(__name__)

LOOKAHEAD = 400  #: events read ahead, among which those that need not wait for another are found
REFUSALS_IN_A_ROW = 20  #: after so many the endpoint is taken to fail
TOUCHED_EVERY = timedelta(hours=1)  #: an idle endpoint's row says that somebody still delivers to it
RETRY_SECONDS = 1.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Pace:
    """How fast a worker works; tests make it shorter."""

    lease_seconds: float = 60.0  #: half of it is more than a request may take
    request_seconds: float = REQUEST_SECONDS
    control_seconds: float = 1.0  #: until it is seen what people ask for
    save_seconds: float = 0.5  #: between two writes of the cursor
    at_once: int = 8  #: requests
    landing_seconds: float = 5.0  #: that requests under way get for their answer when the worker stops


@dataclass(frozen=True, kw_only=True, slots=True)
class _Flight:
    """One request under way. `attempt` is that of the endpoint when it left; `early`, that it left before the
    endpoint's time, to see whether another event is to blame."""

    event: Event
    attempt: int
    early: bool = False
    asked_again: Delivery | None = None


class Worker:
    """The deliveries of one endpoint, while this hub holds its lease."""

    def __init__(
        self,
        endpoint: Endpoint,
        *,
        database: Database,
        event_log: EventLog,
        holder: str,
        clock: Callable[[], datetime],
        metrics: Metrics,
        pace: Pace,
    ) -> None:
        self.endpoint = endpoint
        self.health = Health()
        self._database = database
        self._log = event_log
        self._holder = holder
        self._clock = clock
        self._metrics = metrics
        metrics.expect_webhook(endpoint.name)
        self._pace = pace
        self._bell = Bell()
        self._halt = Bell()
        self._stopping = False
        self._throttle = Throttle()
        self._lease: leases.Lease | None = None
        self._waiting: deque[Event] = deque()
        self._flights: dict[asyncio.Task[Answer], _Flight] = {}
        self._read_to = 0
        self._refusals = 0
        self._stumbles = Stumbles()
        self._doubtful = False  #: only events in `_stumbles` failed since it took something, by an error of its program
        self._outcomes: list[Delivery] = []
        self._no_more: list[int] = []
        self._saved: tuple[int, Health] = (0, self.health)
        self._due: dict[str, float] = {}
        self._touched: datetime | None = None
        self._seen_at: datetime | None = None

    # -- life ----------------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Deliver until `stop`. Cancelled, it gives up what is under way; that is sent again."""
        poster = Poster(
            self.endpoint.url,
            secrets=self.endpoint.secrets,
            allow_private=self.endpoint.allow_private,
            connections=self._pace.at_once,
            seconds=self._pace.request_seconds,
        )
        self._log.readers.add(self._bell)
        try:
            while not self._stopping:
                try:
                    self._lease = await self._taken()
                    if self._lease is None:
                        await self._halt.wait(self._pace.control_seconds)
                        continue
                    await self._work(poster, self._lease)
                except StoreUnavailable as error:
                    if self._throttle.allows("away"):
                        log.warning(
                            "deliveries wait for the database",
                            action="deliveries_wait",
                            endpoint=self.endpoint.name,
                            error=str(error),
                        )
                    await self._halt.wait(RETRY_SECONDS)
                except leases.LeaseLost:
                    log.info("another hub delivers now", action="lease_lost", endpoint=self.endpoint.name)
        finally:
            self._log.readers.discard(self._bell)
            await poster.close()

    def stop(self) -> None:
        """Begin nothing new; `run` ends when what is under way has its answer, or is given up."""
        self._stopping = True
        self._bell.ring()
        self._halt.ring()

    async def _taken(self) -> leases.Lease | None:
        name = f"webhook/{self.endpoint.name}"
        return await leases.taken(self._database, name, holder=self._holder, life=self._pace.lease_seconds)

    async def _work(self, poster: Poster, lease: leases.Lease) -> None:
        """Deliver as long as the lease is held."""
        await self._load(lease)
        try:
            while not self._stopping:
                await self._keep_lease()
                self._look_at_clock()
                await self._look_at_orders(poster)
                await self._refill()
                self._launch(poster)
                await self._bell.wait(self._seconds_to_wait())
                self._harvest()
                await self._save()
        except (StoreUnavailable, leases.LeaseLost):
            await self._land()
            raise
        except BaseException:  # in the middle of anything: nothing is noted, and what was under way comes again
            await self._give_up()
            raise
        else:
            await self._land()
        finally:
            self._metrics.forget_webhook(self.endpoint.name)

    async def _land(self) -> None:
        """Take the answers of what is under way, remember them, and let another hub go on. Requests without an answer
        in time are given up, and their events sent again."""
        try:
            if self._flights and self._lease_is_safe():
                await asyncio.wait(self._flights, timeout=self._pace.landing_seconds)
            self._harvest()
            cursor = self.cursor
        finally:
            await self._give_up()
        lease, self._lease = self._lease, None
        if lease is None:
            return
        try:
            await self._write(lease, cursor=cursor)
            await leases.release(self._database, lease)
        except (StoreUnavailable, leases.LeaseLost) as error:
            log.info(
                "the last deliveries are not noted and come again",
                action="deliveries_not_noted",
                endpoint=self.endpoint.name,
                error=str(error),
            )

    async def _give_up(self) -> None:
        flights = list(self._flights)
        self._flights.clear()
        for task in flights:
            task.cancel()
        await asyncio.gather(*flights, return_exceptions=True)

    def _lease_is_safe(self) -> bool:
        return self._lease is not None and self._lease.safe

    async def _keep_lease(self) -> None:
        assert self._lease is not None  # noqa: S101 - `_work` begins with one
        if not self._lease.wants_renewal:
            return
        renewed = await self._taken()
        if renewed is None or renewed.fence != self._lease.fence:
            raise leases.LeaseLost
        self._lease = renewed

    # -- state ---------------------------------------------------------------------------------------------------------

    @property
    def cursor(self) -> int:
        """Up to where everything was taken, set aside or not wanted."""
        oldest = self._oldest
        return oldest.position - 1 if oldest is not None else self._read_to

    @property
    def _oldest(self) -> Event | None:
        """The oldest event that was not taken yet, waiting or under way."""
        under_way = [one.event for one in self._flights.values() if one.asked_again is None]
        return min([*under_way, *islice(self._waiting, 1)], key=lambda event: event.position, default=None)

    async def _load(self, lease: leases.Lease) -> None:
        now = self._clock()

        async def work(tx: Transaction) -> rows.EndpointRow:
            await leases.guard(tx.connection, lease)
            return await rows.opened_endpoint(tx.connection, self.endpoint.name, now=now)

        row = await self._database.write(work)
        self.health, self._read_to, self._touched = row.health, row.cursor, now
        self._seen_at = row.updated_at
        self._waiting.clear()
        self._stumbles.forget()
        self._outcomes.clear()
        self._no_more.clear()
        self._saved = (row.cursor, row.health)

    def _look_at_clock(self) -> None:
        """Nothing is waited for longer because the clock was set back."""
        now, before = self._clock(), self._seen_at
        if before is not None and now < before:
            self.health = after_set_back(self.health, before - now)
            self._stumbles.set_back(before - now)
        self._seen_at = now

    async def _look_at_orders(self, poster: Poster) -> None:
        """See now and then what people ask for: to try the endpoint at once, to send events again."""
        if not self._is_time("orders", self._pace.control_seconds):
            return
        async with self._database.connect() as connection:
            if self.health.state is not EndpointState.HEALTHY:
                row = await rows.endpoint(connection, self.endpoint.name)
                if row.health.state is EndpointState.HEALTHY:
                    self._saved = (self._saved[0], row.health)
                    self._try_at_once(row.health)
            if not self._may_ask_again():
                return
            limit = 1 if self.health.state is EndpointState.FAILING else self._pace.at_once
            asked = await rows.listed(connection, self.endpoint.name, state=DeliveryState.RETRY, limit=limit)
        if asked:
            await self._send_asked(asked, poster)

    def _try_at_once(self, health: Health) -> None:
        """Somebody wrote that it is healthy."""
        self.health = health
        self._stumbles.forget()
        log.info("tried at once, as asked for", action="webhook_asked", endpoint=self.endpoint.name)

    def _may_ask_again(self) -> bool:
        """One batch after the other, so that they stay in order; a failing endpoint is tried with one of the log."""
        if any(flight.asked_again is not None for flight in self._flights.values()) or not self._lease_is_safe():
            return False
        if self.health.state is EndpointState.HEALTHY:
            return True
        return self.health.may_try(self._clock()) and not self._waiting and not self._flights

    async def _send_asked(self, asked: list[Delivery], poster: Poster) -> None:
        found = {event.position: event for event in await self._log.at([one.position for one in asked])}
        busy: set[str] = set()
        for one in asked:
            event = found.get(one.position)
            if event is None or event not in self.endpoint.selection:
                self._no_more.append(one.position)
            elif self._stumbles.waits(event.position, now=self._clock()):
                busy |= event.lines
            elif busy.isdisjoint(event.lines):
                self._send(poster, _Flight(event=event, attempt=self.health.attempt, asked_again=one))
                busy |= event.lines
            else:
                break
        self._bell.ring()  # what leaves no request is written at once

    async def _refill(self) -> None:
        """Read on in the log while there is room for more."""
        while len(self._waiting) < LOOKAHEAD // 2 and self._read_to < self._log.newest:
            found = await self._log.after(self._read_to, limit=LOOKAHEAD)
            if not found:
                return
            missed = found[0].position - self._read_to - 1
            if missed:
                self._metrics.webhook_missed.labels(self.endpoint.name).inc(missed)
                log.warning(
                    "events were purged before they were delivered",
                    action="events_missed",
                    endpoint=self.endpoint.name,
                    events=missed,
                )
            self._waiting.extend(event for event in found if event in self.endpoint.selection)
            self._read_to = found[-1].position

    # -- sending -------------------------------------------------------------------------------------------------------

    def _launch(self, poster: Poster) -> None:
        """Send what need not wait."""
        if not self._lease_is_safe():
            return
        now = self._clock()
        due = self.health.may_try(now)
        if self.health.state is EndpointState.FAILING:
            if self._waiting and not self._flights:
                probe = self._probe()
                if due or (self._doubtful and probe.position not in self._stumbles):
                    self._waiting.remove(probe)
                    self._send(poster, _Flight(event=probe, attempt=self.health.attempt, early=not due))
            return
        if not due:
            return
        room = self._pace.at_once - len(self._flights)
        busy: set[str] = set().union(*(flight.event.lines for flight in self._flights.values()))
        held: list[Event] = []
        while room > 0 and self._waiting:
            event = self._waiting.popleft()
            if busy.isdisjoint(event.lines) and not self._stumbles.waits(event.position, now=now):
                self._send(poster, _Flight(event=event, attempt=self.health.attempt))
                room -= 1
            else:
                held.append(event)
            busy |= event.lines
        self._waiting.extendleft(reversed(held))

    def _probe(self) -> Event:
        """The event to try a failing endpoint with: the oldest that need not wait for another one and at which the
        failure did not begin."""
        busy: set[str] = set()
        for event in self._waiting:
            if event.position not in self._stumbles and busy.isdisjoint(event.lines):
                return event
            busy |= event.lines
        return self._waiting[0]

    def _send(self, poster: Poster, flight: _Flight) -> None:
        try:
            body, its_id = rendered(flight.event, veil=self.endpoint.veil), event_id(flight.event)
        except Exception as error:
            log.exception(
                "an event cannot be written and is set aside",
                action="event_unwritable",
                endpoint=self.endpoint.name,
                position=flight.event.position,
            )
            self._note(
                flight, Answer(status=None, error=f"cannot be written: {type(error).__name__}"), AnswerKind.REFUSED
            )
            return
        task = asyncio.create_task(poster.post(body, event_id=its_id), name="webhook")
        task.add_done_callback(lambda _: self._bell.ring())
        self._flights[task] = flight

    def _harvest(self) -> None:
        """Take the answers that are there."""
        back: list[Event] = []
        for task in [task for task in self._flights if task.done()]:
            flight = self._flights.pop(task)
            if not self._answered(flight, self._answer_of(task)) and flight.asked_again is None:
                back.append(flight.event)
        if back:
            self._waiting = deque(sorted([*back, *self._waiting], key=lambda event: event.position))

    def _answer_of(self, task: asyncio.Task[Answer]) -> Answer:
        """The answer to a request; an error on our own side counts as a failure, and the event is sent again."""
        if task.cancelled():
            return Answer(status=None, error="given up")
        error = task.exception()
        if error is None:
            return task.result()
        log.error("a request failed here", action="request_failed", endpoint=self.endpoint.name, exc_info=error)
        return Answer(status=None, error=f"failed here: {type(error).__name__}")

    def _answered(self, flight: _Flight, answer: Answer) -> bool:
        """What follows from one answer; whether the event is done with."""
        kind = answer.kind
        self._metrics.webhook_requests.labels(self.endpoint.name, kind.value).inc()
        if kind is AnswerKind.REFUSED:
            self._refusals += 1
            if self._refusals >= REFUSALS_IN_A_ROW:
                kind = AnswerKind.FAILED
        else:
            self._refusals = 0
        since_it_failed = flight.attempt == self.health.attempt
        if kind is AnswerKind.FAILED and self._has_stumbled(flight):
            if self._stumbles.failures(flight.event.position) < TRIES:
                return False
            kind = AnswerKind.REFUSED
        elif kind in (AnswerKind.FAILED, AnswerKind.GONE):
            self._has_failed(flight, answer)
            return False
        elif since_it_failed:
            self._has_answered(answer)
        if kind is AnswerKind.REFUSED or flight.asked_again is not None:
            self._note(flight, answer, kind)
        self._stumbles.took(flight.event.position, proof=since_it_failed)
        return True

    def _note(self, flight: _Flight, answer: Answer, kind: AnswerKind) -> None:
        before = flight.asked_again.attempts if flight.asked_again is not None else 0
        tries = max(self._stumbles.failures(flight.event.position), 1)
        state = DeliveryState.REFUSED if kind is AnswerKind.REFUSED else DeliveryState.DELIVERED
        self._outcomes.append(
            Delivery(
                endpoint=self.endpoint.name,
                position=flight.event.position,
                state=state,
                attempts=before + tries,
                last_status=answer.status,
                last_error=answer.error,
            )
        )

    def _has_answered(self, answer: Answer) -> None:
        if self.health.state is EndpointState.FAILING:
            log.info("a webhook takes events again", action="webhook_back", endpoint=self.endpoint.name)
        self.health = after_success(self.health, answer)

    def _has_stumbled(self, flight: _Flight) -> bool:
        """Whether an endpoint that takes others failed at this event once more."""
        healthy = self.health.state is EndpointState.HEALTHY
        return healthy and self._stumbles.again(flight.event.position, now=self._clock())

    def _has_failed(self, flight: _Flight, answer: Answer) -> None:
        """A request failed, and the endpoint is to blame. Of several that failed together only one counts."""
        position = flight.event.position
        first = self.health.state is EndpointState.HEALTHY
        self._doubtful = _program_failed(answer) if first else self._doubtful and position in self._stumbles
        too_early = flight.early and answer.kind is not AnswerKind.GONE and answer.retry_after is None
        counts = flight.attempt == self.health.attempt
        asked_for_anew = first and not counts
        if too_early or asked_for_anew or self.health.state is EndpointState.DISABLED:
            return
        self.health = (after_failure if counts else after_another)(self.health, answer, now=self._clock())
        if self.health.state is EndpointState.DISABLED:
            log.error(
                "a webhook is disabled: repair its receiver, then `cdrhub deliveries retry`",
                action="webhook_disabled",
                endpoint=self.endpoint.name,
                error=answer.error,
            )
        elif first:
            self._stumbles.began(position, now=self._clock())
            log.warning("a webhook fails", action="webhook_failing", endpoint=self.endpoint.name, error=answer.error)

    # -- remembering ---------------------------------------------------------------------------------------------------

    async def _save(self) -> None:
        """Write what changed: at once what people see, now and then how far it came."""
        self._show()
        cursor, health = self._saved
        urgent = bool(self._outcomes or self._no_more) or health != self.health
        moved = cursor != self.cursor and self._is_time("cursor", self._pace.save_seconds)
        stale = self._touched is None or self._clock() - self._touched > TOUCHED_EVERY
        if self._lease is not None and (urgent or moved or stale):
            await self._write(self._lease, cursor=self.cursor)

    async def _write(self, lease: leases.Lease, *, cursor: int) -> None:
        now, outcomes, no_more = self._clock(), list(self._outcomes), list(self._no_more)

        async def work(tx: Transaction) -> Health:
            await leases.guard(tx.connection, lease)
            health = self.health
            if self._saved[1].state is not EndpointState.HEALTHY:  # an order that was not seen yet is not written over
                row = await rows.locked_endpoint(tx.connection, self.endpoint.name)
                health = row.health if row.health.state is EndpointState.HEALTHY else health
            await rows.save_endpoint(tx.connection, self.endpoint.name, health=health, cursor=cursor, now=now)
            if outcomes:
                await rows.save_deliveries(tx.connection, outcomes, now=now)
            if no_more:
                await rows.forget_deliveries(tx.connection, self.endpoint.name, no_more)
            return health

        health = await self._database.write(work)
        if health is not self.health:
            self._try_at_once(health)
        if outcomes or no_more:
            self._due.pop("orders", None)  # the next of those asked for again as soon as these are through
        del self._outcomes[: len(outcomes)], self._no_more[: len(no_more)]
        self._saved, self._touched = (cursor, health), now

    def _is_time(self, what: str, seconds: float) -> bool:
        """Whether so many seconds passed since it was last time for `what`."""
        now = time.monotonic()
        if now < self._due.get(what, now):
            return False
        self._due[what] = now + seconds
        return True

    def _seconds_to_wait(self) -> float:
        """Until there is something to do that nobody rings for."""
        now = time.monotonic()
        seconds = self._pace.control_seconds
        if self._saved[0] != self.cursor:
            seconds = min(seconds, self._due.get("cursor", now) - now)
        if self.health.next_at is not None and self._waiting and not self._flights:
            seconds = min(seconds, (self.health.next_at - self._clock()).total_seconds())
        return max(seconds, 0.0)

    def _show(self) -> None:
        name, oldest = self.endpoint.name, self._oldest
        waited = (self._clock() - oldest.stored_at).total_seconds() if oldest is not None else 0.0
        self._metrics.webhook_waiting.labels(name).set(max(self._log.newest - self.cursor, 0))
        self._metrics.webhook_oldest.labels(name).set(max(waited, 0.0))
        for state in EndpointState:
            self._metrics.webhook_state.labels(name, state.value).set(state is self.health.state)


def _program_failed(answer: Answer) -> bool:
    """Whether a receiver is there, has not asked for a pause, and failed."""
    return answer.status is not None and answer.status >= 500 and answer.retry_after is None
