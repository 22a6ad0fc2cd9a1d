"""What people and CRMs order: cases kept, dialled, resumed, stopped; results reported; numbers not to be called.

Each order is one transaction, and leaves a decision with its inputs. What cannot be done raises OrderError, which says
why and what to do; nothing is half done.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from functools import partial
from typing import Any

from sqlalchemy import delete, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from cdrhub.errors import CdrhubError
from cdrhub.model.disposition import Disposition
from cdrhub.model.numbers import NumberPlan, read_number
from cdrhub.redial import cases as store
from cdrhub.redial.carrying import Carrier, Told
from cdrhub.redial.decision import Decision, Result, next_number, with_attempt
from cdrhub.redial.model import Attempt, AttemptState, Case, CaseState, Number, PlacedBy
from cdrhub.redial.settings import Settings
from cdrhub.redial.surroundings import gather
from cdrhub.store.engine import Database
from cdrhub.store.redial_tables import MAX_CODE, MAX_NUMBER, attempts, case_numbers, cases, do_not_call, redial_pauses
from cdrhub.store.transaction import Transaction

MAX_NUMBERS = 100  #: of one case


class OrderError(CdrhubError):
    """The order cannot be carried out."""


class NoSuchCase(OrderError):
    """There is no case of that code."""


class NoSuchAttempt(OrderError):
    """There is no attempt of that id."""


class CaseBusy(OrderError):
    """An attempt of the case, or of its agent, is live: wait for its end or stop the case."""


class NumberUnusable(OrderError):
    """A text is no telephone number."""


class Reported(StrEnum):
    """What a person reports of an attempt."""

    CONTACTED = "contacted"
    WRONG_PARTY = "wrong_party"
    VOICEMAIL = "voicemail"
    CALLBACK = "callback"
    DO_NOT_CALL = "do_not_call"
    REFUSED = "refused"


@dataclass(frozen=True, kw_only=True, slots=True)
class GivenNumber:
    """A number as an integrator gives it."""

    number: str
    label: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class GivenCase:
    """A case as an integrator gives it."""

    code: str
    source: str
    numbers: Sequence[GivenNumber]
    tenant: str = ""
    agent: str = ""
    campaign: str = ""
    timezone: str = ""
    metadata: Mapping[str, Any] = field(default_factory=dict)


def read_numbers(given: Sequence[GivenNumber], plan: NumberPlan) -> tuple[Number, ...]:
    """The numbers of a case in their order, each spelling of one number once.

    Raises NumberUnusable for what has neither an E.164 form nor enough digits to be dialled.
    """
    numbers: list[Number] = []
    for one in given:
        text = one.number.strip()
        if not text:
            continue
        read = read_number(text, plan)
        key = read.comparable
        if len(text) > MAX_NUMBER or not key.removeprefix("+").isdigit():
            raise NumberUnusable(f"{text[:MAX_NUMBER]!r} is no telephone number")
        if any(number.key == key for number in numbers):
            continue
        numbers.append(
            Number(position=len(numbers) + 1, number=text, key=key, e164=read.e164, label=one.label[:MAX_CODE])
        )
    if len(numbers) > MAX_NUMBERS:
        raise NumberUnusable(f"a case has {MAX_NUMBERS} numbers at most, not {len(numbers)}")
    return tuple(numbers)


class Orders:
    """Carries out orders. `plan` says how a source's numbers read, `dialler` which dialler it has."""

    def __init__(
        self,
        *,
        database: Database,
        settings: Settings,
        clock: Callable[[], datetime],
        healthy: Callable[[str], bool],
        dialler: Callable[[str], str],
        plan: Callable[[str], NumberPlan],
    ) -> None:
        self._database = database
        self._settings = settings
        self._clock = clock
        self._healthy = healthy
        self._plan = plan
        self._carrier = Carrier(settings=settings, dialler=dialler)

    # -- cases ---------------------------------------------------------------------------------------------------------

    async def keep(self, given: Sequence[GivenCase]) -> tuple[int, int]:
        """Make these cases, or change those of the same code; (made, changed). All of them or, with an error, none.

        Attempts and rounds of a case that is changed stay as they are. Raises NumberUnusable.
        """
        return await self._database.write(partial(self._keep, given=given))

    async def _keep(self, tx: Transaction, *, given: Sequence[GivenCase]) -> tuple[int, int]:
        connection, now = tx.connection, self._clock()
        made = changed = 0
        for one in sorted(given, key=lambda one: (one.code, one.tenant)):
            numbers = read_numbers(one.numbers, self._plan(one.source))
            values = {
                "source": one.source,
                "agent": one.agent,
                "campaign": one.campaign,
                "timezone": one.timezone,
                "metadata": dict(one.metadata),
                "updated_at": now,
            }
            case_id = await self._id_of(connection, one.tenant, one.code, lock=True)
            if case_id is None:
                case_id = store.new_id()
                made += 1
                await connection.execute(
                    insert(cases).values(
                        id=case_id,
                        tenant=one.tenant,
                        code=one.code,
                        state=CaseState.OPEN,
                        state_reason="",
                        round=0,
                        next_key="",
                        created_at=now,
                        revision=1,
                        **values,
                    )
                )
            else:
                changed += 1
                await connection.execute(
                    update(cases).where(cases.c.id == case_id).values(revision=cases.c.revision + 1, **values)
                )
                await connection.execute(delete(case_numbers).where(case_numbers.c.case_id == case_id))
            if numbers:
                await connection.execute(
                    insert(case_numbers),
                    [
                        {
                            "case_id": case_id,
                            "position": number.position,
                            "number": number.number,
                            "match_key": number.key,
                            "e164": number.e164,
                            "label": number.label,
                            "do_not_call": False,
                        }
                        for number in numbers
                    ],
                )
        return made, changed

    async def forget(self, *, tenant: str, code: str) -> None:
        """Delete a case; its attempts and decisions stay. Raises NoSuchCase, CaseBusy."""

        async def work(tx: Transaction) -> None:
            case = await self._locked(tx, tenant, code)
            if case.live_attempt is not None:
                raise CaseBusy(f"case {code!r} is being dialled: stop it first")
            await store.forget(tx.connection, case.id)

        await self._database.write(work)

    # -- dialling ------------------------------------------------------------------------------------------------------

    async def dial(self, *, tenant: str, code: str, agent: str = "", reference: str = "") -> Decision:
        """Open a round and dial the first number that the rules allow. Raises NoSuchCase, CaseBusy."""
        return await self._database.write(
            partial(self._dial, tenant=tenant, code=code, agent=agent, reference=reference)
        )

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
        told = Told(now=now)
        await self._carrier.carry_out(
            connection,
            case,
            decision,
            told,
            cause="order",
            inputs={"agent": case.agent, "reference": reference},
            reference=reference,
            round_=case.round,
        )
        await told.write(connection)
        return decision

    async def announce(self, *, tenant: str, code: str, number: str, agent: str = "", reference: str = "") -> str:
        """A CRM dials by itself and says so; the id of the attempt. Raises NoSuchCase, CaseBusy, NumberUnusable."""

        async def work(tx: Transaction) -> str:
            connection, now = tx.connection, self._clock()
            case = await self._locked(tx, tenant, code)
            if case.live_attempt is not None:
                raise CaseBusy(f"case {code!r} has a live attempt")
            (read,) = read_numbers([GivenNumber(number=number)], self._plan(case.source)) or (None,)
            if read is None:
                raise NumberUnusable("the number is empty")
            case = replace(case, agent=agent or case.agent, round=max(case.round, 1))
            attempt_id = await store.place(connection, case, read, dialler="", reference=reference, now=now)
            await connection.execute(
                update(attempts)
                .where(attempts.c.id == attempt_id)
                .values(
                    state=AttemptState.ACCEPTED,
                    placed_by=PlacedBy.API,
                    requested_at=now,
                    deadline_at=now + self._settings.attempt_timeout,
                )
            )
            change = store.CaseChange(id=case.id, state=CaseState.DIALLING, round=case.round)
            await store.change(connection, [change], now=now)
            return attempt_id

        return await self._database.write(work)

    async def stop(self, *, tenant: str, code: str, why: str = "") -> None:
        """Cancel a case and what is pending of it. Raises NoSuchCase."""

        async def work(tx: Transaction) -> None:
            case = await self._locked(tx, tenant, code)
            await self._decided(
                tx, case, Decision(result=Result.CANCELLED, rule="stopped", reason="stopped", detail=why), cause="stop"
            )

        await self._database.write(work)

    async def resume(self, *, tenant: str, code: str, not_reached: bool = False) -> Decision:
        """Let a paused case go on with the next number. `not_reached`: what nobody knew counts as not reached.

        Raises NoSuchCase, OrderError where the case is not paused.
        """

        async def work(tx: Transaction) -> Decision:
            connection, now = tx.connection, self._clock()
            case = await self._locked(tx, tenant, code)
            if case.state is not CaseState.PAUSED:
                raise OrderError(f"case {code!r} is {case.state}, not paused")
            if not_reached:
                for attempt in case.of_round():
                    if attempt.state is AttemptState.UNKNOWN:
                        ended = replace(attempt, state=AttemptState.ENDED, outcome=Disposition.NO_ANSWER)
                        await store.settle_attempt(
                            connection, attempt, state=AttemptState.ENDED, outcome=Disposition.NO_ANSWER, at=now
                        )
                        case = with_attempt(case, ended)
            case = replace(case, state=CaseState.OPEN)
            known = await self._known(connection, case, now)
            decision = next_number(case, policy=self._settings.policy, around=known.around(case))
            await self._decided(
                tx, case, decision, cause="resume", attempt=case.attempts[-1] if case.attempts else None
            )
            return decision

        return await self._database.write(work)

    # -- what people report --------------------------------------------------------------------------------------------

    async def report(self, *, tenant: str, attempt_id: str, result: Reported, at: datetime | None = None) -> Decision:
        """A person says what became of an attempt; `at` is when a call-back is wanted. Raises NoSuchAttempt."""

        async def work(tx: Transaction) -> Decision:
            connection, now = tx.connection, self._clock()
            query = select(attempts.c.case_id).where(attempts.c.id == attempt_id, attempts.c.tenant == tenant)
            case_id = await connection.scalar(query)
            case = (await store.locked(connection, [case_id])).get(case_id) if case_id is not None else None
            attempt = next((one for one in case.attempts if one.id == attempt_id), None) if case is not None else None
            if case is None or attempt is None:
                raise NoSuchAttempt(f"there is no attempt {attempt_id!r}")
            decision = await self._after_report(tx, case, attempt, result, at=at, now=now)
            await self._decided(
                tx,
                case,
                decision,
                cause="result",
                attempt=attempt,
                inputs={"result": result, "attempt": attempt_id},
                # A call-back is a new start: what was tried before it may be tried again.
                round_=case.round + 1 if result is Reported.CALLBACK else None,
            )
            return decision

        return await self._database.write(work)

    async def _after_report(
        self, tx: Transaction, case: Case, attempt: Attempt, result: Reported, *, at: datetime | None, now: datetime
    ) -> Decision:
        connection = tx.connection
        number = next((number for number in case.numbers if number.key == attempt.key), None)
        match result:
            case Reported.CONTACTED | Reported.REFUSED:
                return Decision(result=Result.CONTACTED, rule="reported", detail=result)
            case Reported.DO_NOT_CALL:
                if number is not None:
                    await self._forbid(connection, tenant=case.tenant, number=number, source="agent", until=None)
                return Decision(result=Result.CANCELLED, rule="reported", reason="do_not_call", detail=result)
            case Reported.CALLBACK:
                if at is None or at <= now or number is None:
                    raise OrderError("a call-back needs a time that is still to come: `at`")
                return Decision(result=Result.SCHEDULED, rule="callback", number=number, due_at=at)
            case Reported.WRONG_PARTY | Reported.VOICEMAIL:
                going = replace(case, state=CaseState.OPEN)
                known = await self._known(connection, going, now)
                return next_number(going, policy=self._settings.policy, around=known.around(going))

    # -- do-not-call, pauses -------------------------------------------------------------------------------------------

    async def forbid(self, *, tenant: str, number: str, source: str, region_of: str, until: datetime | None) -> None:
        """Put a number on the tenant's do-not-call list, read as `region_of` (a source) reads numbers."""

        async def work(tx: Transaction) -> None:
            (read,) = read_numbers([GivenNumber(number=number)], self._plan(region_of)) or (None,)
            if read is None:
                raise NumberUnusable("the number is empty")
            await self._forbid(tx.connection, tenant=tenant, number=read, source=source, until=until)

        await self._database.write(work)

    async def _forbid(
        self, connection: AsyncConnection, *, tenant: str, number: Number, source: str, until: datetime | None
    ) -> None:
        mine = (do_not_call.c.match_key == number.key) & (do_not_call.c.tenant == tenant)
        await connection.execute(delete(do_not_call).where(mine))
        await connection.execute(
            insert(do_not_call).values(
                tenant=tenant,
                match_key=number.key,
                e164=number.e164,
                source=source,
                checked_at=self._clock(),
                until=until,
            )
        )

    async def pause(self, *, scope: str, name: str, actor: str, why: str = "") -> None:
        """Dial nothing of this scope: `all`, or a `source`, `campaign`, `agent` of that name."""

        async def work(tx: Transaction) -> None:
            await self._unpaused(tx.connection, scope, name)
            row = {"scope": scope, "name": name, "actor": actor, "why": why, "at": self._clock()}
            await tx.connection.execute(insert(redial_pauses).values(row))

        await self._database.write(work)

    async def unpause(self, *, scope: str, name: str) -> bool:
        """Take a pause back; whether there was one."""

        async def work(tx: Transaction) -> bool:
            return await self._unpaused(tx.connection, scope, name)

        return await self._database.write(work)

    async def _unpaused(self, connection: AsyncConnection, scope: str, name: str) -> bool:
        mine = (redial_pauses.c.scope == scope) & (redial_pauses.c.name == name)
        return bool((await connection.execute(delete(redial_pauses).where(mine))).rowcount)

    # -- in common -----------------------------------------------------------------------------------------------------

    async def _id_of(self, connection: AsyncConnection, tenant: str, code: str, *, lock: bool) -> str | None:
        query = select(cases.c.id).where(cases.c.code == code, cases.c.tenant == tenant)
        found: str | None = await connection.scalar(query.with_for_update() if lock else query)
        return found

    async def _locked(self, tx: Transaction, tenant: str, code: str) -> Case:
        case_id = await self._id_of(tx.connection, tenant, code, lock=True)
        if case_id is None:
            raise NoSuchCase(f"there is no case {code!r}")
        return (await store.locked(tx.connection, [case_id]))[case_id]

    async def _known(self, connection: AsyncConnection, case: Case, now: datetime) -> Any:
        return await gather(connection, [case], now=now, shared_hold=self._settings.shared_hold, healthy=self._healthy)

    async def _decided(
        self,
        tx: Transaction,
        case: Case,
        decision: Decision,
        *,
        cause: str,
        attempt: Attempt | None = None,
        inputs: Mapping[str, Any] | None = None,
        round_: int | None = None,
    ) -> None:
        told = Told(now=self._clock())
        await self._carrier.carry_out(
            tx.connection, case, decision, told, cause=cause, inputs=inputs or {}, attempt=attempt, round_=round_
        )
        await told.write(tx.connection)
