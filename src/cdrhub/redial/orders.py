"""What people and CRMs order: cases kept, dialled, resumed, stopped; results reported; numbers not to be called.

Each order is one transaction, and leaves a decision with its inputs. What cannot be done raises OrderError, which says
why and what to do; nothing is half done.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from copy import copy
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any, TypeVar

from sqlalchemy import bindparam, delete, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from cdrhub.model.disposition import Disposition
from cdrhub.parts import in_parts
from cdrhub.redial import case_rows
from cdrhub.redial.carrier import ORDER, REPORT, Carrier, Consequences
from cdrhub.redial.changes import Changes
from cdrhub.redial.decision import Decision, Result, next_number, when_resumed, with_attempt
from cdrhub.redial.given import GivenCase, GivenDoNotCall, GivenNumber, kept_as, read_numbers
from cdrhub.redial.in_call import answered_since
from cdrhub.redial.model import (
    MAY_HAVE_REACHED,
    NOT_DIALLED,
    Attempt,
    AttemptState,
    Case,
    CaseState,
    Number,
    PlacedBy,
    Reported,
)
from cdrhub.redial.order_errors import CaseBusy, NoSuchAttempt, NoSuchCase, NumberUnusable, OrderError, RedialOff
from cdrhub.redial.phone_systems import PhoneSystems
from cdrhub.redial.policy import DO_NOT_CALL, WORKED_OUT, Mode
from cdrhub.redial.reports import AMBIGUOUS, CALL_BACK, OUTCOMES, number_of, what_hinders
from cdrhub.redial.settings import Settings
from cdrhub.redial.surroundings import Known, gather
from cdrhub.redial.transaction import transact
from cdrhub.redial.waiting import by_rules, look
from cdrhub.store.engine import Database
from cdrhub.store.outbox import SETTLED
from cdrhub.store.redial_tables import attempts, case_numbers, cases, do_not_call, redial_pauses
from cdrhub.store.tables import outbox
from cdrhub.store.transaction import Transaction

AT_ONCE = 500  #: cases, or numbers, in one statement
AFTER_PERMIT = timedelta(seconds=60)  #: who shortens an entry takes the number off the list, and puts it there again

T = TypeVar("T")


_FRESH: Mapping[str, Any] = {
    "state": CaseState.OPEN,
    "state_reason": "",
    "round": 0,
    "next_key": "",
    "revision": 1,
}
"""What a case begins with."""
_OF_THE_CASE = WORKED_OUT | {DO_NOT_CALL, "hard_stop"}
"""Rules by which a case waits for long, and whose moment is one of its numbers' or of its zone."""


class Orders:
    """Carries out orders."""

    def __init__(
        self,
        *,
        database: Database,
        settings: Settings,
        clock: Callable[[], datetime],
        systems: PhoneSystems,
    ) -> None:
        self._database = database
        self._tx: Transaction | None = None
        self._settings = settings
        self._clock = clock
        self._systems = systems
        self._carrier = Carrier(settings=settings, dialler=systems.dialler)

    def within(self, tx: Transaction) -> Orders:
        """The same, but every order is a part of this transaction, which somebody else began and commits."""
        joined = copy(self)
        joined._tx = tx
        return joined

    async def _write(self, work: Callable[[Transaction], Awaitable[T]]) -> T:
        return await transact(self._database, work) if self._tx is None else await work(self._tx)

    # -- cases ---------------------------------------------------------------------------------------------------------

    async def keep(self, given: Sequence[GivenCase]) -> tuple[int, int]:
        """Make these cases, or change those of the same code; (made, changed). All of them or, with an error, none.

        Attempts and rounds of a case that is changed stay as they are; where a rule makes it wait, it is decided about
        anew. Raises NumberUnusable.
        """
        return await self._write(partial(self._keep, given=given))

    async def make(self, given: GivenCase) -> bool:
        """Make this case; False where there is one of its code, which stays as it is. Raises NumberUnusable."""
        return await self._write(partial(self._make, given=given))

    async def _make(self, tx: Transaction, *, given: GivenCase) -> bool:
        query = select(cases.c.id).where(cases.c.code == given.code, cases.c.tenant == given.tenant)
        if await tx.connection.scalar(query) is not None:
            return False
        await self._keep_some(tx, [(given, read_numbers(given.numbers, self._systems.plan(given.source)))], known={})
        return True

    async def _keep(self, tx: Transaction, *, given: Sequence[GivenCase]) -> tuple[int, int]:
        by_tenant: dict[str, dict[str, tuple[GivenCase, tuple[Number, ...]]]] = defaultdict(dict)
        for one in sorted(given, key=lambda one: one.code):
            by_tenant[one.tenant][one.code] = (one, read_numbers(one.numbers, self._systems.plan(one.source)))
        made = changed = 0
        for tenant, of_codes in sorted(by_tenant.items()):
            for codes in in_parts(list(of_codes), AT_ONCE):
                query = select(cases.c.code, cases.c.id).where(cases.c.code.in_(codes), cases.c.tenant == tenant)
                found = (await tx.connection.execute(query)).all()
                # Locked in the order of their ids, as everybody locks cases; one may be gone meanwhile.
                there = await case_rows.lock(tx.connection, [row.id for row in found])
                known = {row.code: row.id for row in found if row.id in there}
                await self._keep_some(tx, [of_codes[code] for code in codes], known)
                made += len(codes) - len(known)
                changed += len(known)
        return made, changed

    async def _keep_some(
        self,
        tx: Transaction,
        given: Sequence[tuple[GivenCase, Sequence[Number]]],
        known: Mapping[str, str],
    ) -> None:
        """Keep cases of one tenant; `known` has the ids of those that are there, locked, by their codes."""
        connection, now = tx.connection, self._clock()
        last = await case_rows.last_results(connection, known.values())
        tenant, made = given[0][0].tenant, [one.code for one, _ in given if one.code not in known]
        again = await case_rows.made_again(connection, tenant=tenant, codes=made) if made else {}
        new, old, numbers = [], [], []
        for one, its in given:
            values = {
                "source": one.source,
                "agent": one.agent,
                "campaign": one.campaign,
                "timezone": one.timezone,
                "metadata": dict(one.metadata),
                "updated_at": now,
            }
            case_id = known.get(one.code)
            if case_id is not None:
                old.append({"case": case_id, **values})
            else:
                fresh = {"id": case_rows.new_id(), "created_at": now, **_FRESH, **again.get(one.code, {})}
                case_id = fresh["id"]
                new.append({"tenant": tenant, "code": one.code, **fresh, **values})
            before = last.get(case_id, {})
            results = {case_rows.key_of_today(key, its): result for key, result in before.items()}
            numbers += [
                {
                    "case_id": case_id,
                    "position": number.position,
                    "number": number.number,
                    "match_key": number.key,
                    "e164": number.e164,
                    "label": number.label,
                    "do_not_call": number.do_not_call,
                    **results.get(number.key, case_rows.NO_RESULT),
                }
                for number in its
            ]
        if old:
            ids = [row["case"] for row in old]
            # Their numbers are given anew; the row's own values row by row.
            changes: dict[str, Any] = {name: bindparam(f"new_{name}") for name in old[0] if name != "case"}
            await connection.execute(
                update(cases).where(cases.c.id == bindparam("case")).values(revision=cases.c.revision + 1, **changes),
                [{"case" if name == "case" else f"new_{name}": value for name, value in row.items()} for row in old],
            )
            await connection.execute(delete(case_numbers).where(case_numbers.c.case_id.in_(ids)))
        if new:
            await connection.execute(insert(cases), new)
        if numbers:
            await connection.execute(insert(case_numbers), numbers)
        if old and self._settings.mode is not Mode.OFF:
            # What they wait for may be of a number, or in a zone, that is theirs no longer.
            query = by_rules(_OF_THE_CASE, now).where(cases.c.id.in_(ids))
            waiting = (await connection.scalars(query)).all()
            await look(tx, waiting, now=now, carrier=self._carrier, healthy=self._systems.healthy, rules=_OF_THE_CASE)

    async def forget(self, *, tenant: str, code: str) -> None:
        """Delete a case; its attempts and decisions stay, and are its own again if it is made again under its code.
        Raises NoSuchCase, CaseBusy."""

        async def work(tx: Transaction) -> None:
            case = await self._locked(tx, tenant, code)
            if case.live_attempt is not None:
                raise CaseBusy(f"case {code!r} is being dialled: stop it first")
            await case_rows.forget(tx.connection, case)

        await self._write(work)

    # -- dialling ------------------------------------------------------------------------------------------------------

    async def dial(self, *, tenant: str, code: str, agent: str = "", reference: str = "") -> Decision:
        """Open a round and dial the first number that the rules allow. Raises NoSuchCase, CaseBusy, RedialOff."""
        if self._settings.mode is Mode.OFF:
            raise RedialOff
        return await self._write(partial(self._dial, tenant=tenant, code=code, agent=agent, reference=reference))

    async def _dial(self, tx: Transaction, *, tenant: str, code: str, agent: str, reference: str) -> Decision:
        connection, now = tx.connection, self._clock()
        case = await self._locked(tx, tenant, code)
        if case.live_attempt is not None:
            raise CaseBusy(f"case {code!r} has a live attempt: wait for its end, or stop the case")
        if agent and agent != case.agent:
            await connection.execute(update(cases).where(cases.c.id == case.id).values(agent=agent))
            case = replace(case, agent=agent)
        case = replace(case, state=CaseState.OPEN, round=case.round + 1)
        known = await self._known(connection, case, now)
        decision = next_number(case, policy=self._settings.policy, around=known.around(case))
        consequences = Consequences(now=now)
        self._carrier.carry_out(
            case,
            decision,
            consequences,
            cause=ORDER,
            inputs={"agent": case.agent, "reference": reference},
            reference=reference,
            round_=case.round,
        )
        await consequences.write(tx)
        return decision

    async def announce(self, *, tenant: str, code: str, number: str, agent: str = "", reference: str = "") -> str:
        """A CRM dials by itself and says so; the id of the attempt. Of a case that was reached or is exhausted it opens
        a new round; one that was stopped stays so. The reason of a pause in which the person may have been reached
        stays with the case: if nobody answers this call either, it is paused again.

        Raises NoSuchCase, CaseBusy, NumberUnusable, OrderError where the case was stopped.
        """

        async def work(tx: Transaction) -> str:
            connection, now = tx.connection, self._clock()
            case = await self._locked(tx, tenant, code)
            if case.live_attempt is not None:
                raise CaseBusy(f"case {code!r} has a live attempt")
            if case.state is CaseState.CANCELLED:
                raise OrderError(f"case {code!r} was stopped: an order to dial it opens it again")
            read = self._number(number, region_of=case.source)
            round_ = case.round + 1 if case.closed else max(case.round, 1)
            case = replace(case, agent=agent or case.agent, round=round_)
            agent_key = case_rows.live_agent(case.source, case.agent)
            holder = select(attempts.c.id).where(attempts.c.live_agent == agent_key)
            if agent_key is not None and (await connection.execute(holder)).first() is not None:
                raise CaseBusy(f"agent {case.agent!r} has a live attempt of another case")
            attempt = Attempt(
                id=case_rows.new_attempt_id(case),
                round=case.round,
                key=read.key,
                state=AttemptState.ACCEPTED,
                source=case.source,
                agent=case.agent,
                placed_by=PlacedBy.API,
                reference=reference,
                requested_at=now,
                deadline_at=now + self._settings.attempt_timeout,
            )
            changes = Changes(now)
            changes.place(case, read, attempt)
            reason = case.state_reason if case.state_reason in MAY_HAVE_REACHED else ""
            changes.change(
                replace(case, state=CaseState.DIALLING, state_reason=reason, next_action_at=None, next_key="")
            )
            changes.decide(
                case,
                Decision(result=Result.NOTHING, rule="announced"),
                cause="announcement",
                mode=self._settings.mode,
                inputs={"agent": case.agent, "reference": reference},
                attempt_id=attempt.id,
            )
            await changes.write(connection)
            return attempt.id

        return await self._write(work)

    async def stop(self, *, tenant: str, code: str, why: str = "") -> None:
        """Cancel a case and what is pending of it; one that is closed stays what it is. Raises NoSuchCase."""

        async def work(tx: Transaction) -> None:
            case = await self._locked(tx, tenant, code)
            decision = Decision(result=Result.CANCELLED, rule="stopped", reason="stopped", detail=why)
            if case.closed and case.live_attempt is None:
                decision = Decision(result=Result.NOTHING, rule="case_closed", detail=f"the case is {case.state}")
            await self._decided(tx, case, decision, Consequences(now=self._clock()), cause="stop")

        await self._write(work)

    async def resume(
        self, *, tenant: str, code: str, not_reached: bool = False, at: datetime | None = None
    ) -> Decision:
        """Let a paused case go on: with the number that it owes a call (the agent did not pick up, or the person asked
        to be called back), else with the next one. `not_reached`: what nobody knew counts as not reached; `at`: not
        before this moment, so that many cases do not ring at once.

        Raises NoSuchCase, OrderError where the case is not paused.
        """

        async def work(tx: Transaction) -> Decision:
            connection, now = tx.connection, self._clock()
            case = await self._locked(tx, tenant, code)
            if case.state is not CaseState.PAUSED:
                raise OrderError(f"case {code!r} is {case.state}, not paused")
            consequences = Consequences(now=now)
            if not_reached:
                for attempt in case.of_round():
                    if attempt.state is AttemptState.UNKNOWN:
                        ended = replace(attempt, state=AttemptState.ENDED, outcome=Disposition.NO_ANSWER)
                        consequences.changes.settle(
                            case, attempt, state=AttemptState.ENDED, outcome=Disposition.NO_ANSWER, at=now
                        )
                        case = with_attempt(case, ended)
            case = replace(case, state=CaseState.OPEN)
            known = await self._known(connection, case, now)
            decision = when_resumed(case, policy=self._settings.policy, around=known.around(case))
            if at is not None and at > now and decision.result is Result.NEXT:
                decision = replace(decision, result=Result.SCHEDULED, rule="spread", due_at=at)
            last = case.attempts[-1] if case.attempts else None
            await self._decided(tx, case, decision, consequences, cause="resume", attempt=last)
            return decision

        return await self._write(work)

    # -- what people report --------------------------------------------------------------------------------------------

    async def report(self, *, tenant: str, attempt_id: str, result: Reported, at: datetime | None = None) -> Decision:
        """A person says what became of an attempt; `at` is when a call-back is wanted. Raises NoSuchAttempt."""

        async def work(tx: Transaction) -> Decision:
            connection, now = tx.connection, self._clock()
            query = select(attempts.c.case_id).where(attempts.c.id == attempt_id, attempts.c.tenant == tenant)
            case_id = await connection.scalar(query)
            case = (await case_rows.locked(connection, [case_id])).get(case_id) if case_id is not None else None
            attempt = case.attempt(attempt_id) if case is not None else None
            if case is None or attempt is None:
                raise NoSuchAttempt(f"there is no attempt {attempt_id!r}")
            hinders = what_hinders(case, attempt, result)
            consequences = Consequences(now=now)
            case, attempt = await self._with_report(connection, case, attempt, result, consequences)
            decision = hinders or await self._after_report(tx, case, attempt, result, at=at, now=now)
            await self._decided(
                tx,
                case,
                decision,
                consequences,
                cause=REPORT,
                attempt=attempt,
                inputs={"result": result, "attempt": attempt_id},
                # A call-back is a new start: what was tried before it may be tried again.
                round_=case.round + 1 if decision.rule == CALL_BACK else None,
            )
            return decision

        return await self._write(work)

    async def _with_report(
        self, connection: AsyncConnection, case: Case, attempt: Attempt, result: Reported, consequences: Consequences
    ) -> tuple[Case, Attempt]:
        """The attempt is over, whatever its record will say; what is reported decides how. A settled call that waits
        for the report waits no longer."""
        if attempt.state in NOT_DIALLED:
            raise OrderError(f"attempt {attempt.id!r} is {attempt.state}: it was not dialled")
        outcome = OUTCOMES.get(result) or attempt.outcome or Disposition.ANSWERED
        state = AttemptState.ENDED if attempt.live else attempt.state
        at = attempt.ended_at or consequences.now
        consequences.changes.settle(case, attempt, state=state, outcome=outcome, at=at)
        waiting = select(attempts.c.call_id).where(attempts.c.id == attempt.id).scalar_subquery()
        await connection.execute(
            update(outbox).where(outbox.c.call_id == waiting, outbox.c.type == SETTLED).values(due_at=consequences.now)
        )
        attempt = replace(attempt, state=state, outcome=outcome, ended_at=at)
        return with_attempt(case, attempt), attempt

    async def _after_report(
        self, tx: Transaction, case: Case, attempt: Attempt, result: Reported, *, at: datetime | None, now: datetime
    ) -> Decision:
        connection = tx.connection
        number = case.number(attempt.number_key)
        match result:
            case Reported.CONTACTED | Reported.REFUSED:
                return Decision(result=Result.CONTACTED, rule="reported", detail=result)
            case Reported.DO_NOT_CALL:  # also a number that the case has no longer
                row = self._entry(tenant=case.tenant, number=number or number_of(attempt), source="agent", until=None)
                await _forbid(connection, tenant=case.tenant, rows=[row])
                return Decision(result=Result.CANCELLED, rule="reported", reason="do_not_call", detail=result)
            case Reported.CALLBACK:
                if at is None or at <= now:
                    raise OrderError("a call-back needs a time that is still to come: `at`")
                if number is None:
                    raise OrderError(f"case {case.code!r} has the number of that attempt no longer: put it back first")
                return Decision(result=Result.SCHEDULED, rule=CALL_BACK, number=number, due_at=at)
            case Reported.WRONG_PARTY | Reported.VOICEMAIL:
                # Who was the wrong party is on the attempt's number.
                keys = {
                    one.key for one in case.numbers if result is Reported.VOICEMAIL or one.key != attempt.number_key
                }
                since = attempt.requested_at or now
                if await answered_since(connection, tenant=case.tenant, keys=keys, since=since):
                    if case.state is CaseState.DIALLING:  # by a call about which nothing is decided yet, or never is
                        return Decision(
                            result=Result.PAUSED, rule="answered_elsewhere", reason=AMBIGUOUS, detail=result
                        )
                    return Decision(result=Result.NOTHING, rule="answered_elsewhere", detail=result)
                going = replace(case, state=CaseState.OPEN)
                known = await self._known(connection, going, now)
                return next_number(going, policy=self._settings.policy, around=known.around(going))

    # -- do-not-call, pauses -------------------------------------------------------------------------------------------

    async def forbid(self, given: Sequence[GivenDoNotCall]) -> int:
        """Put numbers on the do-not-call lists of their tenants: all of them or, with an error, none. A number that is
        there already gets the new entry, unless the one that it has holds for longer: nobody is called sooner by
        being put on a list. At how many that stood. Raises NumberUnusable."""

        async def work(tx: Transaction) -> int:
            rows: dict[tuple[str, str], dict[str, Any]] = {}
            for one in given:
                number = self._number(one.number, region_of=one.region_of)
                row = self._entry(tenant=one.tenant, number=number, source=one.source, until=one.until)
                before = rows.get((one.tenant, number.key))
                if before is None or not _holds_longer(before["until"], row["until"]):
                    rows[one.tenant, number.key] = row
            by_tenant: dict[str, list[dict[str, Any]]] = defaultdict(list)
            for (tenant, _), row in sorted(rows.items()):
                by_tenant[tenant].append(row)
            stood = 0
            for tenant, its in by_tenant.items():
                for part in in_parts(its, AT_ONCE):
                    stood += await _forbid(tx.connection, tenant=tenant, rows=part)
            return stood

        return await self._write(work)

    async def permit(self, *, tenant: str, number: str, region_of: str) -> bool:
        """Take a number off the tenant's do-not-call list; whether it was there. Cases that wait until its time is over
        are looked at soon. Raises NumberUnusable."""
        keys = kept_as(self._number(number, region_of=region_of).key)

        async def work(tx: Transaction) -> bool:
            connection, soon = tx.connection, self._clock() + AFTER_PERMIT
            having = select(case_numbers.c.case_id).where(case_numbers.c.match_key.in_(keys))
            waits = (cases.c.tenant == tenant) & (cases.c.state_reason == DO_NOT_CALL) & (cases.c.next_action_at > soon)
            waiting = await connection.scalars(select(cases.c.id).where(cases.c.id.in_(having), waits))
            ids = await case_rows.lock(connection, waiting.all())
            await connection.execute(update(cases).where(cases.c.id.in_(ids), waits).values(next_action_at=soon))
            mine = do_not_call.c.match_key.in_(keys) & (do_not_call.c.tenant == tenant)
            return bool((await connection.execute(delete(do_not_call).where(mine))).rowcount)

        return await self._write(work)

    def _number(self, number: str, *, region_of: str) -> Number:
        """One number as the source `region_of` reads it. Raises NumberUnusable."""
        read = read_numbers([GivenNumber(number=number)], self._systems.plan(region_of))
        if not read:
            raise NumberUnusable("the number is empty")
        return read[0]

    def _entry(self, *, tenant: str, number: Number, source: str, until: datetime | None) -> dict[str, Any]:
        """The row of `do_not_call` that forbids a number from now on."""
        return {
            "tenant": tenant,
            "match_key": number.key,
            "e164": number.e164,
            "source": source,
            "checked_at": self._clock(),
            "until": until,
        }

    async def pause(self, *, scope: str, name: str, actor: str, why: str = "") -> None:
        """Dial nothing of this scope: `all`, or a `source`, `campaign`, `agent` of that name."""

        async def work(tx: Transaction) -> None:
            await self._unpaused(tx.connection, scope, name)
            row = {"scope": scope, "name": name, "actor": actor, "why": why, "at": self._clock()}
            await tx.connection.execute(insert(redial_pauses).values(row))

        await self._write(work)

    async def unpause(self, *, scope: str, name: str) -> bool:
        """Take a pause back; whether there was one."""

        async def work(tx: Transaction) -> bool:
            return await self._unpaused(tx.connection, scope, name)

        return await self._write(work)

    async def _unpaused(self, connection: AsyncConnection, scope: str, name: str) -> bool:
        mine = (redial_pauses.c.scope == scope) & (redial_pauses.c.name == name)
        return bool((await connection.execute(delete(redial_pauses).where(mine))).rowcount)

    # -- in common -----------------------------------------------------------------------------------------------------

    async def _locked(self, tx: Transaction, tenant: str, code: str) -> Case:
        """The case of that code, locked until the transaction ends. Raises NoSuchCase."""
        query = select(cases.c.id).where(cases.c.code == code, cases.c.tenant == tenant).with_for_update()
        case_id = await tx.connection.scalar(query)
        if case_id is None:
            raise NoSuchCase(f"there is no case {code!r}")
        return (await case_rows.locked(tx.connection, [case_id]))[case_id]

    async def _known(self, connection: AsyncConnection, case: Case, now: datetime) -> Known:
        """What the rules must know of this case."""
        return await gather(connection, [case], now=now, settings=self._settings, healthy=self._systems.healthy)

    async def _decided(
        self,
        tx: Transaction,
        case: Case,
        decision: Decision,
        consequences: Consequences,
        *,
        cause: str,
        attempt: Attempt | None = None,
        inputs: Mapping[str, Any] | None = None,
        round_: int | None = None,
    ) -> None:
        self._carrier.carry_out(
            case, decision, consequences, cause=cause, inputs=inputs or {}, attempt=attempt, round_=round_
        )
        await consequences.write(tx)


async def _forbid(connection: AsyncConnection, *, tenant: str, rows: Sequence[dict[str, Any]]) -> int:
    """Put rows on a tenant's list, in the place of those that are there and do not hold for longer; how many do."""
    given = {row["match_key"]: row for row in rows}
    mine = do_not_call.c.match_key.in_(given) & (do_not_call.c.tenant == tenant)
    listed = await connection.execute(
        select(do_not_call.c.match_key, do_not_call.c.until).where(mine).with_for_update()
    )
    stand = {row.match_key for row in listed if _holds_longer(row.until, given[row.match_key]["until"])}
    await connection.execute(delete(do_not_call).where(mine, do_not_call.c.match_key.not_in(stand)))
    if new := [row for key, row in given.items() if key not in stand]:
        await connection.execute(insert(do_not_call), new)
    return len(stand)


def _holds_longer(until: datetime | None, than: datetime | None) -> bool:
    """Whether one entry ends later than another; None: never."""
    return than is not None and (until is None or until > than)
