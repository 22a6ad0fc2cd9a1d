"""From a decided attempt to a request and its answer.

Three steps, so that a crash between any two of them dials nobody twice: the attempt is *claimed* (requested, with its
moment, committed), then the request leaves, then its answer is written. An attempt that was claimed is never sent
again: what became of it the vendor or a record tells, or, at its deadline, nobody; then a person decides.

Between decision and claim the world may have changed, so the rules are asked once more.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from types import MappingProxyType
from typing import Any
from uuid import UUID

from sqlalchemy import Row, Select, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from cdrhub.model.dialling import Accepted, Answer, DialOrder, Refused, Standing, Unseen
from cdrhub.model.disposition import Direction, State
from cdrhub.redial import case_rows
from cdrhub.redial.announced import NOT_ANNOUNCED
from cdrhub.redial.carrier import NO_DIALLER, Carrier, Consequences
from cdrhub.redial.decision import (
    Decision,
    EndedCall,
    Result,
    after_call,
    after_refusal,
    old_news,
    when_due,
    with_attempt,
)
from cdrhub.redial.given import dialled
from cdrhub.redial.in_call import in_call
from cdrhub.redial.model import Attempt, AttemptState, Case
from cdrhub.redial.phone_systems import PhoneSystems
from cdrhub.redial.policy import WORKED_OUT, Mode, objection
from cdrhub.redial.set_back import wait_anew
from cdrhub.redial.settings import Settings
from cdrhub.redial.since import Since
from cdrhub.redial.surroundings import Known, gather
from cdrhub.redial.transaction import transact
from cdrhub.redial.waiting import by_rules, due, look
from cdrhub.redial.watch import note, one_at_a_time
from cdrhub.store.engine import Database
from cdrhub.store.outbox import SETTLED
from cdrhub.store.redial_tables import attempts, cases, redial_decisions
from cdrhub.store.tables import MAX_DETAIL, calls, outbox
from cdrhub.store.transaction import Transaction

AT_ONCE = 100  #: attempts, or cases, in one transaction
ASK_AGAIN = timedelta(seconds=60)  #: until a call that is live is asked about again
HANG_UP_WITHIN = timedelta(seconds=60)  #: of its request: later a superseded call is left alone, for somebody may talk
DROPPED = "the dialler is asked to drop its call"  #: `attempts.detail` of a superseded one, once
_AWAITED = (AttemptState.REQUESTED, AttemptState.ACCEPTED)


@dataclass(frozen=True, kw_only=True, slots=True)
class Claimed:
    """An attempt whose request may now leave, once."""

    order: DialOrder
    dialler: str


@dataclass(frozen=True, kw_only=True, slots=True)
class AttemptRef:
    """An attempt as its dialler knows it: enough to ask what became of it, or to have its call dropped."""

    attempt_id: str
    vendor_ref: str
    dialler: str


class Dialling:
    """The life of attempts between a decision and a call."""

    def __init__(
        self,
        *,
        database: Database,
        settings: Settings,
        clock: Callable[[], datetime],
        systems: PhoneSystems,
        since: Since,
    ) -> None:
        """`since`: when this hub began to dial. What was decided, or due, long before that is old news."""
        self._database = database
        self._settings = settings
        self.since = since
        self._clock = clock
        self._systems = systems
        self._carrier = Carrier(settings=settings, dialler=systems.dialler)
        self._looked_to: str | None = str(UUID(int=0))
        """The last case that was looked at under these settings; None: all were."""

    # -- claiming ------------------------------------------------------------------------------------------------------

    async def claim(
        self, *, room: Mapping[str, int], max_live: Mapping[str, int] = MappingProxyType({})
    ) -> Sequence[Claimed]:
        """Claim decided attempts, oldest first, up to `room` of each dialler (every dialler's name → how many more),
        and no more than leave a dialler of `max_live` with so many that are live, whichever hub claimed the others.

        An attempt of a dialler that is not there any more pauses its case. Raises StoreUnavailable, RacedError (try
        again).
        """
        if self._settings.mode is not Mode.ON or not await self._anything_to_claim(room):
            return ()
        if not self.since.looks(self._clock()):
            await self.oldest_due()
        return await transact(self._database, partial(self._claim, room=room, max_live=max_live))

    async def _anything_to_claim(self, room: Mapping[str, int]) -> bool:
        """Whether a transaction that writes is worth its locks."""
        async with self._database.connect() as connection:
            for query in self._claimable(room, now=self._clock()):
                if (await connection.execute(query.limit(1))).first() is not None:
                    return True
        return False

    def _claimable(self, room: Mapping[str, int], *, now: datetime) -> list[Select[Any]]:
        """Queries for decided attempts, oldest first: for each dialler as many as it has room for, so that none waits
        behind another's; those of diallers that no longer exist; and old news, which needs no room."""
        queries = [
            _decided().where(attempts.c.dialler == dialler).limit(min(left, AT_ONCE))
            for dialler, left in room.items()
            if left > 0
        ]
        queries.append(_decided().where(attempts.c.dialler.not_in(sorted(room))).limit(AT_ONCE))
        if (news_from := self.since.news_from(now)) is not None:
            queries.append(_decided().where(attempts.c.decided_at < news_from).limit(AT_ONCE))
        return queries

    async def _claim(
        self, tx: Transaction, *, room: Mapping[str, int], max_live: Mapping[str, int]
    ) -> Sequence[Claimed]:
        connection, now = tx.connection, self._clock()
        await one_at_a_time(connection)
        live = await _live(connection)
        free = {name: limit - live.get(name, 0) for name, limit in max_live.items()}
        room = {name: min(left, free.get(name, left)) for name, left in room.items()}
        wanted: dict[str, str] = {}
        for query in self._claimable(room, now=now):
            wanted |= {row.id: row.case_id for row in await connection.execute(query)}
        if not wanted:
            return ()
        locked = await case_rows.locked(connection, set(wanted.values()))
        # Two hubs may have claimed two cases of one number: the second sees the request of the first.
        await case_rows.numbers_locked(connection, {number.key for case in locked.values() for number in case.numbers})
        about = [each for case in locked.values() for each in (case, _as_ordered(case))]
        known = await self._known(connection, about, now)
        query = select(attempts).where(attempts.c.id.in_(wanted))
        rows = {row.id: row for row in await connection.execute(query)}
        consequences = Consequences(now=now)
        claimed = []
        for attempt_id, case_id in wanted.items():
            case = locked.get(case_id)
            attempt = case.attempt(attempt_id) if case is not None else None
            if case is None or attempt is None or attempt.state is not AttemptState.DECIDED:
                continue
            row = rows[attempt_id]
            if row.dialler not in room:
                gone = Decision(result=Result.PAUSED, rule="no_dialler", reason=NO_DIALLER, detail=row.dialler)
                self._drop(case, attempt, known, consequences, decision=gone)
            elif self.since.too_late(row.decided_at, now=now):
                self._drop(case, attempt, known, consequences, decision=old_news("decided long ago"))
            elif not self._may_leave(case, attempt, known):
                self._drop(case, attempt, known, consequences)
            else:
                known.requested(case, attempt.key)
                claimed.append(await self._requested(connection, case, row, now=now))
        await consequences.write(tx)
        return claimed

    def _may_leave(self, case: Case, attempt: Attempt, known: Known) -> bool:
        """Whether the number of an attempt may still be dialled: no rule objects, and it was not tried meanwhile (by
        the agent's own hand, or as a record tells)."""
        number = case.untried_number(attempt.key)
        if number is None:
            return False
        return objection(case, number, self._settings.policy, known.around(_as_ordered(case))) is None

    async def _requested(self, connection: AsyncConnection, case: Case, row: Row[Any], *, now: datetime) -> Claimed:
        """Write down that the request of an attempt, a row of `attempts`, leaves now."""
        speaks_live = self._systems.speaks_live(row.source)
        patience = self._settings.first_sign if speaks_live else self._settings.attempt_timeout
        await connection.execute(
            update(attempts)
            .where(attempts.c.id == row.id, attempts.c.state == AttemptState.DECIDED)
            .values(state=AttemptState.REQUESTED, requested_at=now, deadline_at=now + patience)
        )
        order = DialOrder(
            attempt_id=row.id,
            case_code=case.code,
            source=row.source,
            number=dialled(row.number, key=row.match_key, e164=row.e164),
            agent=row.agent,
            reference=row.reference,
            campaign=case.campaign,
            metadata=case.metadata,
        )
        return Claimed(order=order, dialler=row.dialler)

    def _drop(
        self,
        case: Case,
        attempt: Attempt,
        known: Known,
        consequences: Consequences,
        *,
        decision: Decision | None = None,
    ) -> None:
        """A decided attempt does not leave. What follows is `decision`, or what the rules say now."""
        consequences.changes.settle(case, attempt, state=AttemptState.CANCELLED, at=consequences.now)
        case = with_attempt(case, replace(attempt, state=AttemptState.CANCELLED))
        if decision is None:
            decision = when_due(case, attempt.number_key, policy=self._settings.policy, around=known.around(case))
        known.took(self._carrier.carry_out(case, decision, consequences, cause="due", inputs={}, attempt=attempt))

    async def live(self) -> Mapping[str, int]:
        """How many attempts of each dialler are requested or accepted."""
        async with self._database.connect() as connection:
            return await _live(connection)

    async def repeatable(self, attempt_id: str) -> bool:
        """Whether a request without a seen answer may be sent again: its attempt still waits, it is not old news (the
        machine may have slept), and no rule objects now. Raises StoreUnavailable."""
        if self._settings.mode is not Mode.ON:
            return False
        now = self._clock()
        async with self._database.connect() as connection:
            case_ids = await connection.scalars(select(attempts.c.case_id).where(attempts.c.id == attempt_id))
            case = next(iter((await case_rows.read(connection, case_ids.all())).values()), None)
            attempt = case.attempt(attempt_id) if case is not None else None
            if case is None or attempt is None or attempt.state is not AttemptState.REQUESTED:
                return False
            if attempt.requested_at is None or now - attempt.requested_at > self._settings.timing.max_age:
                return False
            case = _as_ordered(case)
            known = await self._known(connection, [case], now)
        case = with_attempt(case, replace(attempt, state=AttemptState.DECIDED))  # its own request is no objection to it
        return self._may_leave(case, attempt, known)

    # -- the answer ----------------------------------------------------------------------------------------------------

    async def answered(self, attempt_id: str, answer: Answer) -> bool:
        """Write what a dialler answered; whether an attempt was decided by it.

        A record may have ended the attempt meanwhile: then the answer changes nothing but the vendor's reference.
        """
        return await transact(self._database, partial(self._answered, attempt_id=attempt_id, answer=answer))

    async def _answered(self, tx: Transaction, *, attempt_id: str, answer: Answer) -> bool:
        connection, now = tx.connection, self._clock()
        case = await self._case_of(tx, attempt_id)
        attempt = case.attempt(attempt_id) if case is not None else None
        consequences = Consequences(now=now)
        mine = update(attempts).where(attempts.c.id == attempt_id)
        match answer:
            case Accepted(vendor_ref=vendor_ref):
                values: dict[str, Any] = {"vendor_ref": vendor_ref}
                if attempt is not None and attempt.state is AttemptState.REQUESTED:
                    values["state"] = AttemptState.ACCEPTED
                await connection.execute(mine.values(values))
                if attempt is not None and attempt.state is AttemptState.REQUESTED and vendor_ref:
                    await _settle_anew(connection, source=attempt.source, call_key=vendor_ref, now=now)
            case Unseen(detail=detail):
                await connection.execute(mine.values(detail=detail[:MAX_DETAIL]))
            case Refused(refusal=refusal, detail=detail):
                if case is None or attempt is None or attempt.state is not AttemptState.REQUESTED:
                    # Of one that nobody wants any more nothing rings; it holds its number no longer.
                    of_none = mine.where(attempts.c.state == AttemptState.SUPERSEDED, attempts.c.call_id.is_(None))
                    columns = {"state": AttemptState.REFUSED, "refusal": refusal, "detail": detail[:MAX_DETAIL]}
                    await connection.execute(of_none.values(columns))
                    return False
                known = await self._known(connection, [case], now)
                decision = after_refusal(
                    case,
                    attempt,
                    refusal,
                    detail=detail,
                    policy=self._settings.policy,
                    timing=self._settings.timing,
                    around=known.around(case),
                )
                if decision.goes_on and self.since.too_late(attempt.requested_at or now, now=now):
                    decision = old_news("refused long ago")
                consequences.changes.settle(case, attempt, state=AttemptState.REFUSED, at=now)
                await connection.execute(mine.values(refusal=refusal, detail=detail[:MAX_DETAIL]))
                refused = replace(attempt, state=AttemptState.REFUSED, refusal=refusal, ended_at=now)
                self._carrier.carry_out(
                    with_attempt(case, refused),
                    decision,
                    consequences,
                    cause="refusal",
                    inputs={"refusal": refusal, "detail": detail[:MAX_DETAIL]},
                    attempt=refused,
                )
                await consequences.write(tx)
        return consequences.dial

    # -- deadlines -----------------------------------------------------------------------------------------------------

    async def overdue(self) -> Sequence[AttemptRef]:
        """Attempts whose deadline passed, and of which the vendor is now asked."""
        async with self._database.connect() as connection:
            query = (
                select(attempts.c.id, attempts.c.vendor_ref, attempts.c.dialler)
                .where(attempts.c.state.in_(_AWAITED), attempts.c.deadline_at <= self._clock())
                .order_by(attempts.c.deadline_at)
                .limit(AT_ONCE)
            )
            return [
                AttemptRef(attempt_id=attempt_id, vendor_ref=vendor_ref, dialler=dialler)
                for attempt_id, vendor_ref, dialler in await connection.execute(query)
            ]

    async def standing(self, attempt_id: str, standing: Standing) -> bool:
        """Write what the vendor said of an overdue attempt; whether an attempt was decided by it.

        A call that some source shows, or that ended and is about to be decided, is as good as the vendor's word. Where
        nobody knows, the attempt becomes unknown, its case waits for a person, and nothing is dialled.
        """
        return await transact(self._database, partial(self._stands, attempt_id=attempt_id, standing=standing))

    async def _stands(self, tx: Transaction, *, attempt_id: str, standing: Standing) -> bool:
        connection, now = tx.connection, self._clock()
        case = await self._case_of(tx, attempt_id)
        attempt = case.attempt(attempt_id) if case is not None else None
        if case is None or attempt is None or attempt.state not in _AWAITED:
            return False
        seen = await in_call(connection, keys=[attempt.key], now=now)
        if standing.live or (case.tenant, attempt.key) in seen.numbers:
            later = update(attempts).where(attempts.c.id == attempt_id).values(deadline_at=now + ASK_AGAIN)
            await connection.execute(later)
            return False
        consequences = Consequences(now=now)
        known = await self._known(connection, [case], now)
        if standing.outcome is not None:
            # The vendor does not say when it ended: it may have been soon after the request.
            ended = EndedCall(
                disposition=standing.outcome,
                direction=Direction.OUTBOUND,
                ended_at=None,
                received_at=attempt.requested_at or now,
            )
            decision = after_call(
                case,
                attempt,
                ended,
                policy=self._settings.policy,
                timing=self._settings.timing,
                around=known.around(case),
            )
            consequences.changes.settle(case, attempt, state=AttemptState.ENDED, outcome=standing.outcome, at=now)
            attempt = replace(attempt, state=AttemptState.ENDED, outcome=standing.outcome, ended_at=now)
        else:
            decision = Decision(result=Result.PAUSED, rule="deadline", reason="attempt_unknown")
            consequences.changes.settle(case, attempt, state=AttemptState.UNKNOWN, at=now)
            attempt = replace(attempt, state=AttemptState.UNKNOWN, ended_at=now)
            consequences.case(
                "attempt.unknown",
                case,
                key=f"{case.id}/{attempt.id}/unknown",
                call_id=None,
                attempt=attempt,
                details={},
            )
        self._carrier.carry_out(
            with_attempt(case, attempt),
            decision,
            consequences,
            cause="deadline",
            inputs={"outcome": standing.outcome},
            attempt=attempt,
        )
        await consequences.write(tx)
        return consequences.dial

    # -- what is due ---------------------------------------------------------------------------------------------------

    async def due(self) -> int:
        """Decide about waiting cases whose time has come, and in the modes that dial nothing about attempts that had
        been decided before; how many there were."""
        if await self.oldest_due() is None:
            return 0
        withdrawn = await transact(self._database, self._withdraw) if self._settings.mode is not Mode.ON else 0
        return withdrawn + (await transact(self._database, self._due) if self._settings.mode is not Mode.OFF else 0)

    async def oldest_due(self) -> datetime | None:
        """Since when a waiting case is due, if one is, or in the modes that dial nothing an attempt that was decided.

        No waiting case is due while redial is off. That the hub looked is noted (`Since.looked`), and a clock that was
        set back since then makes nothing wait for longer (set_back.py).
        """
        now, queries = self._clock(), []
        if self.since.set_back(now):
            await transact(self._database, partial(self._wait_anew, now=now))
        if self._settings.mode is not Mode.OFF:
            queries.append(select(func.min(cases.c.next_action_at)).where(cases.c.next_action_at <= now))
        if self._settings.mode is not Mode.ON:
            queries.append(select(func.min(attempts.c.decided_at)).where(attempts.c.state == AttemptState.DECIDED))
        async with self._database.connect() as connection:
            found = [moment for query in queries if (moment := await connection.scalar(query)) is not None]
        self.since.looked(now)
        if self._settings.mode is Mode.ON and (began := self.since.at(now)) is not None and self.since.wants_note(now):
            self.since.noted(await transact(self._database, partial(self._note, began=began, now=now)), now=now)
        return min(found, default=None)

    async def _note(self, tx: Transaction, *, began: datetime, now: datetime) -> datetime:
        return await note(tx.connection, began=began, now=now, max_age=self._settings.timing.max_age)

    async def _wait_anew(self, tx: Transaction, *, now: datetime) -> None:
        await wait_anew(tx.connection, now=now, timing=self._settings.timing)

    async def _withdraw(self, tx: Transaction) -> int:
        """Attempts that were decided in the mode `on` do not leave in another one: their cases pause, and say so."""
        connection, now = tx.connection, self._clock()
        wanted = {row.id: row.case_id for row in await connection.execute(_decided().limit(AT_ONCE))}
        locked = await case_rows.locked(connection, set(wanted.values()))
        known = await self._known(connection, list(locked.values()), now)
        consequences = Consequences(now=now)
        for attempt_id, case_id in wanted.items():
            case = locked.get(case_id)
            attempt = case.attempt(attempt_id) if case is not None else None
            if case is not None and attempt is not None and attempt.state is AttemptState.DECIDED:
                self._drop(case, attempt, known, consequences)
        await consequences.write(tx)
        return len(wanted)

    async def _due(self, tx: Transaction) -> int:
        now = self._clock()
        waiting = (await tx.connection.scalars(due(now).limit(AT_ONCE))).all()
        await look(
            tx,
            waiting,
            now=now,
            carrier=self._carrier,
            healthy=self._systems.healthy,
            late=partial(self.since.too_late, now=now),
        )
        return len(waiting)

    async def look_anew(self) -> int:
        """Decide anew about some of the waiting cases, whose moment may stem from other settings, until each was looked
        at once after a start or a reload; how many there were."""
        if self._looked_to is None or self._settings.mode is Mode.OFF:
            return 0
        seen = await transact(self._database, partial(self._look_anew, after=self._looked_to))
        self._looked_to = seen[-1] if len(seen) == AT_ONCE else None
        return len(seen)

    async def _look_anew(self, tx: Transaction, *, after: str) -> Sequence[str]:
        now = self._clock()
        query = by_rules(WORKED_OUT, now).where(cases.c.id > after).limit(AT_ONCE)
        waiting = (await tx.connection.scalars(query)).all()
        await look(tx, waiting, now=now, carrier=self._carrier, healthy=self._systems.healthy, rules=WORKED_OUT)
        return waiting

    # -- what is not wanted any more -----------------------------------------------------------------------------------

    async def unwanted(self, *, under_way: Collection[str]) -> Sequence[AttemptRef]:
        """Superseded attempts whose call the vendor should drop, each returned once; not those `under_way`, whose
        request was not answered yet."""
        if not self._settings.hangup_superseded:
            return ()
        now = self._clock()
        query = select(attempts.c.id, attempts.c.vendor_ref, attempts.c.dialler).where(
            attempts.c.state == AttemptState.SUPERSEDED,
            attempts.c.deadline_at > now,
            attempts.c.requested_at > now - HANG_UP_WITHIN,
            attempts.c.detail != DROPPED,
        )
        async with self._database.connect() as connection:
            found = [row for row in await connection.execute(query.limit(AT_ONCE)) if row.id not in under_way]
        if not found:
            return ()

        async def take(tx: Transaction) -> list[AttemptRef]:
            taken = []
            for attempt_id, vendor_ref, dialler in found:
                mine = update(attempts).where(attempts.c.id == attempt_id, attempts.c.detail != DROPPED)
                if (await tx.connection.execute(mine.values(detail=DROPPED))).rowcount:
                    taken.append(AttemptRef(attempt_id=attempt_id, vendor_ref=vendor_ref, dialler=dialler))
            return taken

        return await self._database.write(take)

    async def _known(self, connection: AsyncConnection, about: Sequence[Case], now: datetime) -> Known:
        return await gather(connection, about, now=now, settings=self._settings, healthy=self._systems.healthy)

    async def _case_of(self, tx: Transaction, attempt_id: str) -> Case | None:
        """The case of an attempt, locked."""
        query = select(attempts.c.case_id).where(attempts.c.id == attempt_id)
        case_id = await tx.connection.scalar(query)
        if case_id is None:
            return None
        return (await case_rows.locked(tx.connection, [case_id])).get(case_id)


async def _settle_anew(connection: AsyncConnection, *, source: str, call_key: str, now: datetime) -> None:
    """Have the call of this key decided, if it was told before anybody knew which attempt it belonged to."""
    decided = select(redial_decisions.c.id).where(redial_decisions.c.call_id == calls.c.id)
    query = select(calls.c.id, calls.c.revision).where(
        calls.c.call_key == call_key,
        calls.c.source == source,
        calls.c.state == State.ENDED,
        calls.c.attempt_id.is_(None),
        ~NOT_ANNOUNCED,
        ~decided.exists(),
    )
    for row in await connection.execute(query):
        fact = {"call_id": row.id, "source": source, "type": SETTLED, "revision": row.revision, "due_at": now}
        await connection.execute(insert(outbox).values(fact))


async def _live(connection: AsyncConnection) -> Mapping[str, int]:
    query = select(attempts.c.dialler, func.count()).where(attempts.c.state.in_(_AWAITED)).group_by(attempts.c.dialler)
    return {row[0]: row[1] for row in await connection.execute(query)}


def _decided() -> Select[Any]:
    query = select(attempts.c.id, attempts.c.case_id).where(attempts.c.state == AttemptState.DECIDED)
    return query.order_by(attempts.c.id)


def _as_ordered(case: Case) -> Case:
    """A case with the source and the agent of its live attempt, which stay as they are when the case is changed."""
    attempt = case.live_attempt
    return case if attempt is None else replace(case, source=attempt.source, agent=attempt.agent)
