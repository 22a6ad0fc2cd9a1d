"""Takes settled calls and decides, in one transaction: the decision, the attempt, the public facts.

It runs in every mode: also where nothing is dialled, each settled call is told. Several hubs may run it at once: the
facts are taken with SKIP LOCKED, and locks follow one order, calls, then cases (docs/redial.md). A decision is a pure
function (decision.py) of what the transaction read; here it is only carried out.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Update, bindparam, delete, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from cdrhub.model.disposition import Direction, Disposition
from cdrhub.redial import cases as store
from cdrhub.redial.announcing import announcement
from cdrhub.redial.carrying import Carrier, Told
from cdrhub.redial.decision import Decision, EndedCall, Result, after_call, with_attempt, with_end
from cdrhub.redial.matching import EARLY, CallFacts, by_reference, by_window
from cdrhub.redial.model import Attempt, AttemptState, Case, PlacedBy
from cdrhub.redial.policy import Mode, Surroundings
from cdrhub.redial.settings import Settings
from cdrhub.redial.surroundings import Known, gather
from cdrhub.store.engine import Database
from cdrhub.store.outbox import SETTLED
from cdrhub.store.redial_tables import attempts, cases, redial_decisions
from cdrhub.store.tables import calls, outbox
from cdrhub.store.transaction import Transaction

BATCH = 200  #: settled calls in one transaction
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", re.IGNORECASE)
_DIGITS = re.compile(r"\D+")


@dataclass(frozen=True, kw_only=True, slots=True)
class Settled:
    """A call that settled, as it stands in the database, locked."""

    columns: Mapping[str, Any]
    facts: CallFacts
    ended: EndedCall

    @property
    def id(self) -> str:
        return str(self.columns["id"])

    @property
    def tenant(self) -> str:
        return str(self.columns["tenant"])

    @property
    def reached(self) -> bool:
        return self.ended.reached


@dataclass(slots=True)
class Work:
    """What one transaction works on."""

    now: datetime
    cases: dict[str, Case] = field(default_factory=dict)
    by_number: dict[tuple[str, str], set[str]] = field(default_factory=lambda: defaultdict(set))
    attempts: dict[str, tuple[str, Attempt, str | None]] = field(default_factory=dict)
    """Attempt id → its case's id, the attempt, the call it belongs to."""
    decided: dict[str, dict[str, Result]] = field(default_factory=lambda: defaultdict(dict))
    """Call id → case id → what an earlier revision of the call decided last."""
    known: Known | None = None

    def around(self, case: Case) -> Surroundings:
        """What the rules must know beside this case."""
        assert self.known is not None  # noqa: S101  (gathered before anything is decided)
        return self.known.around(case)


@dataclass(frozen=True, kw_only=True, slots=True)
class Done:
    """What one transaction did."""

    settled: int = 0
    more: bool = False  #: there may be more to do at once
    dial: bool = False  #: an attempt was decided
    hang_up: Sequence[str] = ()  #: attempts that were superseded and may be dropped


class Engine:
    """Decides what follows from settled calls."""

    def __init__(
        self,
        *,
        database: Database,
        settings: Settings,
        clock: Callable[[], datetime],
        healthy: Callable[[str], bool],
        clock_suspect: Callable[[str], bool],
        dialler: Callable[[str], str],
    ) -> None:
        self._database = database
        self._clock = clock
        self._healthy = healthy
        self._clock_suspect = clock_suspect
        self.settings = settings
        self.carrier = Carrier(settings=settings, dialler=dialler)

    async def decide(self) -> Done:
        """Take the settled calls that are due, up to BATCH. Raises StoreUnavailable, RacedError (try again)."""
        return await self._database.write(self._decide)

    async def _decide(self, tx: Transaction) -> Done:
        connection, now = tx.connection, self._clock()
        due = (
            select(outbox.c.id, outbox.c.call_id, outbox.c.revision)
            .where(outbox.c.type == SETTLED, outbox.c.due_at <= now)
            .order_by(outbox.c.due_at, outbox.c.id)
            .limit(BATCH)
            .with_for_update(skip_locked=True)
        )
        taken = (await connection.execute(due)).all()
        if not taken:
            return Done()
        found = await self._locked_calls(connection, sorted({row.call_id for row in taken}))
        settled = [
            self._settled(found[row.call_id])
            for row in {row.call_id: row for row in sorted(taken, key=lambda row: row.revision)}.values()
            if row.call_id in found and found[row.call_id]["revision"] == row.revision
        ]
        work = await self._gathered(connection, settled, now=now)
        told = Told(now=now)
        in_order = sorted(settled, key=lambda call: call.ended.ended_at or call.ended.received_at)
        attached = [await self._one(connection, work, call, told) for call in in_order]
        changed = [values for values in attached if values]
        if changed:
            await connection.execute(_attach(changed[0]), changed)
        await told.write(connection)
        gone = [row.id for row in taken if row.call_id in found] + await self._orphans(connection, taken, found)
        if gone:
            await connection.execute(delete(outbox).where(outbox.c.id.in_(gone)))
        return Done(settled=len(settled), more=len(taken) == BATCH, dial=told.dial, hang_up=tuple(told.hang_up))

    async def _locked_calls(self, connection: AsyncConnection, ids: Sequence[str]) -> dict[str, Mapping[str, Any]]:
        query = (
            select(calls)
            .where(calls.c.id.in_(ids))
            .order_by(calls.c.call_key, calls.c.source)
            .with_for_update(skip_locked=True)
        )
        return {row["id"]: dict(row) for row in (await connection.execute(query)).mappings()}

    async def _orphans(self, connection: AsyncConnection, taken: Sequence[Any], found: Mapping[str, Any]) -> list[int]:
        """Facts of calls that are not in the database any more; those that another writer holds come again."""
        missing = [row for row in taken if row.call_id not in found]
        if not missing:
            return []
        query = select(calls.c.id).where(calls.c.id.in_({row.call_id for row in missing}))
        there = set((await connection.execute(query)).scalars())
        return [row.id for row in missing if row.call_id not in there]

    def _settled(self, columns: Mapping[str, Any]) -> Settled:
        outbound = columns["direction"] == Direction.OUTBOUND
        side = "callee" if outbound else "caller"
        raw = columns[f"{side}_number"] or columns["dialed_number"] if outbound else columns[f"{side}_number"]
        keys = {columns["external_number"], columns[f"{side}_e164"], _DIGITS.sub("", raw or "")} - {None, ""}
        text = " ".join(str(value) for value in columns["attributes"].values() if isinstance(value, str))
        references = [columns["call_key"], columns["linked_key"] or "", columns["contact_ref"] or ""]
        return Settled(
            columns=columns,
            facts=CallFacts(
                source=columns["source"],
                direction=Direction(columns["direction"]),
                started_at=columns["started_at"],
                keys=frozenset(keys),
                agents=frozenset({columns["agent_id"], columns["agent_extension"]} - {None, ""}),
                references=[*references, *_UUID.findall(text)],
            ),
            ended=EndedCall(
                disposition=Disposition(columns["disposition"] or Disposition.UNKNOWN),
                direction=Direction(columns["direction"]),
                ended_at=columns["ended_at"],
                received_at=columns["last_received_at"],
                live="recovered" not in columns["flags"],
                clock_suspect=self._clock_suspect(columns["source"]),
            ),
        )

    # -- reading what decisions need -----------------------------------------------------------------------------------

    async def _gathered(self, connection: AsyncConnection, settled: Sequence[Settled], *, now: datetime) -> Work:
        """Lock the cases that these calls concern, and read what the rules must know: no query per call."""
        work = Work(now=now)
        if self.settings.mode is Mode.OFF or not settled:
            return work
        if (await connection.execute(select(cases.c.id).limit(1))).first() is None:
            return work
        concerned = {case_id for case_id, _, _ in await self._candidates(connection, settled)}
        for key, case_id, tenant, _, _ in await store.of_numbers(
            connection, {key for call in settled for key in call.facts.keys}
        ):
            work.by_number[tenant, key].add(case_id)
            concerned.add(case_id)
        work.cases = await store.locked(connection, concerned)
        # Read again under the locks: what was seen before them may have changed since.
        for case_id, attempt, call_id in await self._candidates(connection, settled):
            if case_id in work.cases:
                work.attempts[attempt.id] = (case_id, attempt, call_id)
        before = [call.id for call in settled if call.columns["announced"] is not None]
        if before and work.cases:
            query = (
                select(redial_decisions.c.call_id, redial_decisions.c.case_id, redial_decisions.c.result)
                .where(redial_decisions.c.call_id.in_(before), redial_decisions.c.result != Result.NOTHING)
                .order_by(redial_decisions.c.id)
            )
            for call_id, case_id, result in await connection.execute(query):
                work.decided[call_id][case_id] = Result(result)
        work.known = await gather(
            connection,
            list(work.cases.values()),
            now=now,
            shared_hold=self.settings.shared_hold,
            healthy=self._healthy,
        )
        return work

    async def _candidates(
        self, connection: AsyncConnection, settled: Iterable[Settled]
    ) -> list[tuple[str, Attempt, str | None]]:
        """(case id, attempt, its call) of every attempt that one of these calls may be."""
        settled = list(settled)
        said = {text for call in settled for text in call.facts.references if text}
        ids = {text.lower() for text in said if _UUID.fullmatch(text)}
        ids |= {found.lower() for text in said for found in _UUID.findall(text)}
        starts = [call.facts.started_at for call in settled if call.facts.started_at is not None]
        wanted: list[ColumnElement[bool]] = [attempts.c.id.in_(sorted(ids)), attempts.c.vendor_ref.in_(sorted(said))]
        wanted.append(attempts.c.call_id.in_([call.id for call in settled]))
        if starts:
            wanted.append(
                attempts.c.match_key.in_(sorted({key for call in settled for key in call.facts.keys}))
                & attempts.c.requested_at.between(min(starts) - self.settings.match_start, max(starts) + EARLY)
            )
        found: dict[str, tuple[str, Attempt, str | None]] = {}
        for condition in wanted:
            for row in await connection.execute(select(attempts).where(condition)):
                found[row.id] = (row.case_id, store.attempt_of(row), row.call_id)
        return list(found.values())

    # -- one call ------------------------------------------------------------------------------------------------------

    async def _one(self, connection: AsyncConnection, work: Work, call: Settled, told: Told) -> dict[str, Any]:
        """Decide about one call; what becomes of its attached columns, or nothing."""
        columns = call.columns
        attempt, case = self._matched(work, call)
        decision: Decision | None = None
        if case is not None:
            decision = await self._decide_case(connection, work, call, case=case, attempt=attempt, told=told)
        elif call.reached:
            await self._cancel_elsewhere(connection, work, call, told)
        said = announcement(
            columns, announced=columns["announced"], goes_on=decision.goes_on if decision is not None else False
        )
        case_id = case.id if case is not None else columns["case_id"]
        attempt_id = attempt.id if attempt is not None else columns["attempt_id"]
        if said is not None:
            told.call(said, columns, case=case, attempt=attempt)
        announced = said.announced if said is not None else columns["announced"]
        told.flush()
        if said is None and case_id == columns["case_id"] and attempt_id == columns["attempt_id"]:
            return {}
        return {"call": call.id, "announced": announced, "case_id": case_id, "attempt_id": attempt_id}

    def _matched(self, work: Work, call: Settled) -> tuple[Attempt | None, Case | None]:
        """The attempt that this call was, and its case; else the case of an agent's own call."""
        mine = [
            (attempt, case)
            for case_id, attempt, call_id in work.attempts.values()
            if (case := work.cases[case_id]).tenant == call.tenant and call_id in (None, call.id)
        ]
        linked = [attempt for attempt, _ in mine if work.attempts[attempt.id][2] == call.id]
        free = [attempt for attempt, _ in mine]
        attempt = (
            next(iter(linked), None)
            or by_reference(call.facts, free)
            or by_window(call.facts, free, late=self.settings.match_start)
        )
        if attempt is not None:
            return attempt, work.cases[work.attempts[attempt.id][0]]
        if call.facts.direction is Direction.OUTBOUND and call.columns["case_id"] is None:
            own = [
                case
                for case in self._of_number(work, call)
                if case.agent and case.agent in call.facts.agents and case.source == call.facts.source
            ]
            if len(own) == 1:
                return None, own[0]
        return None, None

    def _of_number(self, work: Work, call: Settled) -> list[Case]:
        ids = {case_id for key in call.facts.keys for case_id in work.by_number[call.tenant, key]}
        return [work.cases[case_id] for case_id in sorted(ids) if case_id in work.cases]

    async def _decide_case(
        self,
        connection: AsyncConnection,
        work: Work,
        call: Settled,
        *,
        case: Case,
        attempt: Attempt | None,
        told: Told,
    ) -> Decision:
        over = call.ended.ended_at or call.ended.received_at
        manual = attempt is None
        if attempt is None:
            attempt = await self._own_call(connection, work, call, case, at=over)
            case = with_attempt(case, attempt)
        decision = after_call(
            case,
            attempt,
            call.ended,
            policy=self.settings.policy,
            timing=self.settings.timing,
            around=work.around(case),
            before=work.decided[call.id].get(case.id),
        )
        if manual and decision.result is not Result.CONTACTED and not self.settings.manual_calls_redial:
            decision = Decision(result=Result.NOTHING, rule="agents_own_call", detail=call.ended.disposition)
        await store.settle_attempt(
            connection,
            attempt,
            state=AttemptState.SUPERSEDED if attempt.state is AttemptState.SUPERSEDED else AttemptState.ENDED,
            outcome=call.ended.disposition,
            call_id=call.id,
            at=over,
        )
        work.attempts[attempt.id] = (case.id, attempt, call.id)
        case = with_end(case, attempt, outcome=call.ended.disposition, at=over)
        work.cases[case.id] = await self.carrier.carry_out(
            connection,
            case,
            decision,
            told,
            cause="call",
            call=(call.id, call.columns["revision"]),
            attempt=attempt,
            inputs=_inputs(call),
        )
        if work.known is not None:
            work.known.took(work.cases[case.id])
        return decision

    async def _own_call(
        self, connection: AsyncConnection, work: Work, call: Settled, case: Case, *, at: datetime
    ) -> Attempt:
        """Write down an agent's own call as an attempt of the case's present round."""
        number = next(number for number in case.numbers if number.key in call.facts.keys)
        attempt = Attempt(
            id=store.new_id(),
            round=case.round,
            key=number.key,
            state=AttemptState.ENDED,
            source=case.source,
            agent=case.agent,
            placed_by=PlacedBy.AGENT,
            requested_at=call.facts.started_at or at,
        )
        await connection.execute(
            insert(attempts).values(
                id=attempt.id,
                case_id=case.id,
                tenant=case.tenant,
                round=case.round,
                number=number.number,
                match_key=number.key,
                e164=number.e164,
                source=case.source,
                dialler="",
                agent=case.agent,
                placed_by=PlacedBy.AGENT,
                reference="",
                vendor_ref="",
                state=AttemptState.ENDED,
                detail="",
                decided_at=work.now,
                requested_at=attempt.requested_at,
            )
        )
        return attempt

    async def _cancel_elsewhere(self, connection: AsyncConnection, work: Work, call: Settled, told: Told) -> None:
        """The person answered a call that is of no attempt: what is pending for them ends, on every source.

        One open case is contacted; of several nobody can tell which, so all of them wait for a person.
        """
        open_cases = [case for case in self._of_number(work, call) if not case.closed]
        for case in open_cases:
            if len(open_cases) == 1:
                decision = Decision(result=Result.CONTACTED, rule="answered_elsewhere", detail=call.facts.source)
            else:
                codes = ", ".join(sorted(other.code for other in open_cases))
                decision = Decision(result=Result.PAUSED, rule="shared_number", reason="ambiguous", detail=codes)
            work.cases[case.id] = await self.carrier.carry_out(
                connection,
                case,
                decision,
                told,
                cause="call",
                call=(call.id, call.columns["revision"]),
                attempt=None,
                inputs=_inputs(call),
            )


def _attach(example: Mapping[str, Any]) -> Update:
    return (
        update(calls)
        .where(calls.c.id == bindparam("call"))
        .values({name: bindparam(name) for name in example if name != "call"})
    )


def _inputs(call: Settled) -> dict[str, Any]:
    """What a decision went by, for `cdrhub cases explain`."""
    return {
        "disposition": call.ended.disposition,
        "direction": call.ended.direction,
        "ended_at": call.ended.ended_at.isoformat() if call.ended.ended_at else None,
        "received_at": call.ended.received_at.isoformat(),
        "live": call.ended.live,
    }
