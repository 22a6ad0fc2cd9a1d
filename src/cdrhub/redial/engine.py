"""Takes settled calls and decides about them; decision, attempt and public facts are written in one transaction.

It runs in every mode, because each settled call is told even if nothing is dialled. Several hubs may run it at once:
the facts are taken with SKIP LOCKED, and locks follow one order, calls, then cases (docs/redial.md). A decision is a
pure function (decision.py) of what the transaction read; here it is only carried out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from sqlalchemy import Integer, bindparam, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from cdrhub.model.disposition import Direction, Disposition
from cdrhub.redial import case_rows
from cdrhub.redial.announced import ANNOUNCED
from cdrhub.redial.announcing import announcement, is_news
from cdrhub.redial.carrier import Carrier, Consequences
from cdrhub.redial.decision import Decision, Result, after_call, with_attempt, with_end
from cdrhub.redial.matching import by_reference, by_window, is_of_a_refusal
from cdrhub.redial.model import ASKED, Attempt, AttemptState, Case, CaseState, PlacedBy
from cdrhub.redial.phone_systems import PhoneSystems
from cdrhub.redial.policy import Mode
from cdrhub.redial.reports import AMBIGUOUS
from cdrhub.redial.settings import Settings
from cdrhub.redial.transaction import transact
from cdrhub.redial.work import Settled, Work, gathered, settled_call
from cdrhub.store.engine import Database
from cdrhub.store.one_of import OneOf
from cdrhub.store.outbox import SETTLED
from cdrhub.store.redial_tables import attempts, cases
from cdrhub.store.tables import calls, outbox
from cdrhub.store.transaction import Transaction
from cdrhub.turns import Turn

BATCH = 200  #: settled calls in one transaction
ANSWER_HOLDS = timedelta(days=1)  #: for an order that was given before anybody heard of it
AFTER_HOLD = timedelta(seconds=60)  #: that an attempt's deadline lies behind the wait for a report

_DUE = (
    select(outbox.c.id, outbox.c.call_id, outbox.c.revision, outbox.c.due_at)
    .where(outbox.c.type == SETTLED, outbox.c.due_at <= bindparam("now"))
    .order_by(outbox.c.due_at, outbox.c.id)
    .limit(bindparam("at_most", type_=Integer()))
)
_TAKEN = _DUE.with_for_update(skip_locked=True)
_LOCKED_CALLS = (
    select(calls, ANNOUNCED)
    .where(OneOf(calls.c.id, "ids"))
    .order_by(calls.c.call_key, calls.c.source)
    .with_for_update(skip_locked=True)
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Done:
    """What one transaction did."""

    settled: int = 0
    more: bool = False  #: there may be more to do at once
    dial: bool = False  #: an attempt was decided
    oldest: datetime | None = None  #: when the first of them had been due
    results: Mapping[str, int] = field(default_factory=dict)  #: how many decisions of each result


class Engine:
    """Decides what follows from settled calls."""

    def __init__(
        self,
        *,
        database: Database,
        settings: Settings,
        clock: Callable[[], datetime],
        systems: PhoneSystems,
    ) -> None:
        self._database = database
        self._clock = clock
        self._systems = systems
        self._cases_seen = False
        self._idle = True
        self.settings = settings
        self.carrier = Carrier(settings=settings, dialler=systems.dialler)

    async def decide(self, *, at_most: int = BATCH) -> Done:
        """Take the settled calls that are due, so many at most. Raises StoreUnavailable, RacedError (try again)."""
        if self._idle:
            async with self._database.connect() as connection:
                if (await connection.execute(_DUE, {"now": self._clock(), "at_most": 1})).first() is None:
                    return Done()  # no transaction that writes, which on SQLite is the only one
        done = await transact(self._database, partial(self._decide, at_most=at_most))
        self._idle = done.oldest is None
        return done

    async def set_aside(self, *, seconds: float) -> None:
        """Look at the call that is due first later: deciding about it failed, and others wait behind it."""

        async def work(tx: Transaction) -> None:
            now = self._clock()
            first = (await tx.connection.execute(_TAKEN, {"now": now, "at_most": 1})).first()
            if first is not None:
                later = update(outbox).where(outbox.c.id == first.id).values(due_at=now + timedelta(seconds=seconds))
                await tx.connection.execute(later)

        await self._database.write(work)

    async def _decide(self, tx: Transaction, *, at_most: int) -> Done:
        connection, now = tx.connection, self._clock()
        taken = (await connection.execute(_TAKEN, {"now": now, "at_most": at_most})).all()
        if not taken:
            return Done()
        found = await self._locked_calls(connection, sorted({row.call_id for row in taken}))
        settled = [
            settled_call(found[row.call_id], clock_suspect=self._systems.clock_suspect(found[row.call_id]["source"]))
            for row in {row.call_id: row for row in sorted(taken, key=lambda row: row.revision)}.values()
            if row.call_id in found and found[row.call_id]["revision"] == row.revision
        ]
        work = Work(now=now)
        # Also while redial is off: who was reached meanwhile is not rung when it is on again.
        if settled and await self._any_case(connection):
            work = await gathered(tx, settled, now=now, settings=self.settings, healthy=self._systems.healthy)
        consequences = Consequences(now=now)
        in_order = sorted(settled, key=lambda call: call.ended.over)
        turn = Turn()
        for call in in_order:
            await turn.give_way()
            self._one(work, call, consequences)
        await self._hold(connection, work, taken)
        orphans = await self._orphans(connection, taken, found)
        consequences.changes.done([row.id for row in taken if row.call_id in found and row.call_id not in work.held])
        consequences.changes.done(orphans)
        await consequences.write(tx)
        return Done(
            settled=len(settled),
            more=len(taken) == at_most and bool(found or orphans),  # another writer may hold all of their calls
            dial=consequences.dial,
            oldest=taken[0].due_at,
            results=consequences.results,
        )

    async def _any_case(self, connection: AsyncConnection) -> bool:
        """Whether there are, or were, cases."""
        if not self._cases_seen:
            self._cases_seen = (await connection.execute(select(cases.c.id).limit(1))).first() is not None
        return self._cases_seen

    async def _locked_calls(self, connection: AsyncConnection, ids: Sequence[str]) -> dict[str, Mapping[str, Any]]:
        found: dict[str, Mapping[str, Any]] = {}
        rows = await connection.execute(_LOCKED_CALLS, {"ids": ids})
        names = tuple(rows.keys())
        turn = Turn()
        for row in rows:
            await turn.give_way()
            found[row.id] = dict(zip(names, row, strict=True))
        return found

    async def _orphans(self, connection: AsyncConnection, taken: Sequence[Any], found: Mapping[str, Any]) -> list[int]:
        """Facts of calls that are not in the database any more; those that another writer holds come again."""
        missing = [row for row in taken if row.call_id not in found]
        if not missing:
            return []
        query = select(calls.c.id).where(calls.c.id.in_({row.call_id for row in missing}))
        there = set((await connection.execute(query)).scalars())
        return [row.id for row in missing if row.call_id not in there]

    # -- one call ------------------------------------------------------------------------------------------------------

    def _one(self, work: Work, call: Settled, consequences: Consequences) -> None:
        """Decide about one call, unless that has to wait."""
        columns = call.columns
        left = self._left_behind(work, call)
        if left is not None:
            consequences.changes.settle(
                None, left, state=left.state, outcome=call.ended.disposition, call_id=call.id, at=call.ended.over
            )
        attempt, case = self._matched(work, call) if work.cases and left is None else (None, None)
        off = self.settings.mode is Mode.OFF and not call.reached
        if off and (attempt is None or attempt.state not in ASKED):
            attempt, case = None, None  # nothing waits for it
        goes_on = False
        if attempt is not None and case is not None and (until := self._waits_until(work, call, attempt)) is not None:
            work.held[call.id] = attempt.id, until
            return
        if case is not None:
            attempt = self._decide_case(work, call, case=case, attempt=attempt, consequences=consequences)
            goes_on = work.cases[case.id].goes_on
        elif call.reached:
            if (pending := self._pending_of_number(work, call)) and is_news(columns):
                self._cancel_elsewhere(work, call, pending, consequences)
        elif not off:
            self._contradict(work, call, consequences)
        news = announcement(columns, announced=columns["announced"], goes_on=goes_on)
        if news is not None:
            consequences.call(news, columns, case=case, attempt=attempt)
        consequences.flush()
        if case is not None and attempt is not None and attempt.id != columns["attempt_id"]:
            consequences.changes.attach(call.id, case_id=case.id, attempt_id=attempt.id)

    def _matched(self, work: Work, call: Settled) -> tuple[Attempt | None, Case | None]:
        """The attempt that this call was, and its case; else the case of an agent's own call.

        A call that carries the reference of an attempt which already was another call is one more call of it. One that
        only fits the window of such an attempt belongs to no attempt.
        """
        mine = [attempt for case_id, attempt in work.attempts.values() if work.cases[case_id].tenant == call.tenant]
        linked = next((attempt for attempt in mine if attempt.call_id == call.id), None)
        free = [attempt for attempt in mine if attempt.call_id is None]
        attempt = linked or by_reference(call.facts, [*free, *mine])
        if attempt is None and not call.reached and is_of_a_refusal(call.facts, mine):
            return None, None
        if attempt is None:
            nearest = by_window(call.facts, mine, late=self.settings.match_start)
            attempt = nearest if nearest in free else None
        if attempt is not None:
            return attempt, work.cases[work.attempts[attempt.id][0]]
        if call.facts.direction is Direction.OUTBOUND and call.columns["case_id"] is None:
            own = [
                case
                for case in self._of_number(work, call)
                if case.agent and case.agent in call.facts.agents and case.source == call.facts.source
                if _was_there(case, call, work)
            ]
            if len(own) == 1:
                return None, own[0]
        return None, None

    def _left_behind(self, work: Work, call: Settled) -> Attempt | None:
        """The attempt that this call was, if its case was deleted meanwhile."""
        left = [attempt for tenant, attempt in work.left.values() if tenant == call.tenant]
        if not left:
            return None
        others = [attempt for case_id, attempt in work.attempts.values() if work.cases[case_id].tenant == call.tenant]
        found = by_reference(call.facts, left) or by_window(
            call.facts, [*left, *others], late=self.settings.match_start
        )
        return found if found in left else None

    def _waits_until(self, work: Work, call: Settled, attempt: Attempt) -> datetime | None:
        """Until when a person may still report what became of this attempt, before anything follows from its end."""
        wait = self.settings.result_wait
        dialled = call.ended.disposition is not Disposition.NOT_DIALLED
        if not (wait and dialled and attempt.live) or _is_another(call, attempt):
            return None
        until = call.ended.received_at + wait
        return until if until > work.now and attempt.id not in work.reported else None

    async def _hold(self, connection: AsyncConnection, work: Work, taken: Sequence[Any]) -> None:
        """Let decisions wait; their attempts stay live, and their deadlines are not before."""
        for call_id, (attempt_id, until) in work.held.items():
            mine = update(attempts).where(attempts.c.id == attempt_id)
            await connection.execute(mine.values(call_id=call_id, deadline_at=until + AFTER_HOLD))
            later = update(outbox).where(outbox.c.id.in_([row.id for row in taken if row.call_id == call_id]))
            await connection.execute(later.values(due_at=until))

    def _of_number(self, work: Work, call: Settled) -> list[Case]:
        ids = {case_id for key in call.facts.keys for case_id in work.by_number[call.tenant, key]}
        return [work.cases[case_id] for case_id in sorted(ids) if case_id in work.cases]

    def _decide_case(
        self,
        work: Work,
        call: Settled,
        *,
        case: Case,
        attempt: Attempt | None,
        consequences: Consequences,
    ) -> Attempt:
        """Carry out what follows; the attempt that the call was, a new one where the agent dialled by hand."""
        over = call.ended.over
        manual = attempt is None
        if attempt is None:
            attempt = self._own_call(work, call, case, consequences, at=over)
            case = with_attempt(case, attempt)
        ended = replace(call.ended, live=False) if call.id in work.not_live else call.ended
        decision = after_call(
            case,
            attempt,
            ended,
            policy=self.settings.policy,
            timing=self.settings.timing,
            around=work.around(case),
            before=work.decided[call.id].get(case.id),
            reported=attempt.id in work.reported,
            another=_is_another(call, attempt),
        )
        if manual and decision.result is not Result.CONTACTED and not self.settings.manual_calls_redial:
            decision = Decision(result=Result.NOTHING, rule="agents_own_call", detail=call.ended.disposition)
        if not _is_another(call, attempt) or call.reached or attempt.outcome is Disposition.NOT_DIALLED:
            # What a person reported stays: they know better than the record.
            reported = attempt.outcome if attempt.id in work.reported else None
            outcome = reported or call.ended.disposition
            case = with_end(case, replace(attempt, call_id=call.id), outcome=outcome, at=over)
            attempt = case.attempt(attempt.id) or attempt
            consequences.changes.settle(case, attempt, state=attempt.state, outcome=outcome, call_id=call.id, at=over)
            work.attempts[attempt.id] = (case.id, attempt)
        self._carry_out(work, call, case, decision, consequences, attempt=attempt)
        if work.known is not None:
            work.known.took(work.cases[case.id])
        return attempt

    def _carry_out(
        self,
        work: Work,
        call: Settled,
        case: Case,
        decision: Decision,
        consequences: Consequences,
        *,
        attempt: Attempt | None = None,
    ) -> None:
        """Carry out what a call led to; `work` then knows the case as it stands. `attempt` is what the call was."""
        work.cases[case.id] = self.carrier.carry_out(
            case,
            decision,
            consequences,
            cause="call",
            call=(call.id, call.columns["revision"]),
            attempt=attempt,
            inputs=_inputs(call),
        )

    def _own_call(self, work: Work, call: Settled, case: Case, consequences: Consequences, *, at: datetime) -> Attempt:
        """Write down an agent's own call as an attempt of the case's present round; of the one before where it was over
        long before this one was opened, and is heard of late."""
        opened = work.opened.get(case.id)
        of_before = opened is not None and at < opened - self.settings.timing.max_age
        number = next(number for number in case.numbers if number.key in call.facts.keys)
        attempt = Attempt(
            id=case_rows.new_attempt_id(case),
            round=case.round - 1 if of_before else case.round,
            key=number.key,
            state=AttemptState.ENDED,
            source=case.source,
            agent=case.agent,
            placed_by=PlacedBy.AGENT,
            requested_at=call.facts.started_at or at,
        )
        consequences.changes.place(case, number, attempt)
        return attempt

    def _pending_of_number(self, work: Work, call: Settled) -> list[Case]:
        """The cases with this number that are not closed, were there, and were not ordered anew after this call had
        reached their person."""
        return [
            case
            for case in self._of_number(work, call)
            if not case.closed and _was_there(case, call, work)
            if work.decided[call.id].get(case.id) is not Result.CONTACTED
        ]

    def _cancel_elsewhere(self, work: Work, call: Settled, pending: Sequence[Case], consequences: Consequences) -> None:
        """The person answered a call that is of no attempt: what is pending for them ends, on every source.

        One open case is contacted; of several nobody can tell which, so all of them wait for a person. Of those that do
        so already nothing is told anew.
        """
        codes = ", ".join(sorted(case.code for case in pending))
        for case in pending:
            if len(pending) == 1:
                decision = Decision(result=Result.CONTACTED, rule="answered_elsewhere", detail=call.facts.source)
            elif case.state_reason == AMBIGUOUS:
                decision = Decision(result=Result.NOTHING, rule="shared_number", detail=codes)
            else:
                decision = Decision(result=Result.PAUSED, rule="shared_number", reason=AMBIGUOUS, detail=codes)
            self._carry_out(work, call, case, decision, consequences)

    def _contradict(self, work: Work, call: Settled, consequences: Consequences) -> None:
        """A call of no attempt had reached a person, and now it did not: the case that it made contacted waits for a
        person. Not one that another call has reached since."""
        for case_id, before in work.decided[call.id].items():
            case = work.cases.get(case_id)
            if before is not Result.CONTACTED or case is None or case.state is not CaseState.CONTACTED:
                continue
            if any(attempt.outcome is Disposition.ANSWERED for attempt in case.of_round()):
                continue
            decision = Decision(
                result=Result.PAUSED, rule="contradiction", reason="contradiction", detail="it was told as reached"
            )
            self._carry_out(work, call, case, decision, consequences)


def _was_there(case: Case, call: Settled, work: Work) -> bool:
    """Whether the call says anything of the case. One that was over before the case was made does not (unless the case
    was made in the future, before the clock was set back: then nobody can tell). Nor does an answer that is heard of
    now, from more than a day before the case was ordered anew."""
    opened = work.opened.get(case.id)
    if call.reached and opened is not None and call.ended.over < opened - ANSWER_HOLDS:
        return False
    return case.created_at is None or not call.ended.over < case.created_at <= work.now


def _is_another(call: Settled, attempt: Attempt) -> bool:
    """Whether the attempt was another call already."""
    return attempt.call_id not in (None, call.id)


def _inputs(call: Settled) -> dict[str, Any]:
    """What a decision went by, for `cdrhub cases explain`."""
    return {
        "disposition": call.ended.disposition,
        "direction": call.ended.direction,
        "ended_at": call.ended.ended_at.isoformat() if call.ended.ended_at else None,
        "received_at": call.ended.received_at.isoformat(),
        "live": call.ended.live,
    }
