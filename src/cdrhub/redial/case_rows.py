"""Cases in the database: read, and locked. Locks are taken in the order of the ids.

All functions work on the connection of a transaction that somebody else began. Rows become the pure values of
`redial.model`; what becomes of them is written by `redial.changes`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from operator import attrgetter
from typing import Any
from uuid import UUID

import uuid_utils
from sqlalchemy import Row, Select, delete, insert, select, union_all
from sqlalchemy.ext.asyncio import AsyncConnection

from cdrhub.model.dialling import Refusal
from cdrhub.model.disposition import Disposition
from cdrhub.model.update import bounded_key
from cdrhub.parts import in_parts
from cdrhub.redial.given import kept_as
from cdrhub.redial.model import Attempt, AttemptState, Case, CaseState, Number, PlacedBy
from cdrhub.store.one_of import OneOf
from cdrhub.store.padded import padded
from cdrhub.store.redial_tables import attempts, case_numbers, cases, deleted_cases

AT_ONCE = 500  #: keys in one statement
# What every decision reads is made once: making a statement takes several times what running it does.
_CASES = select(cases).where(OneOf(cases.c.id, "ids")).order_by(cases.c.id)
_LOCKED_CASES = _CASES.with_for_update()
_OF_PARTS = (
    *(case_numbers.c[name] for name in ("case_id", "position", "match_key", "number", "e164", "label", "do_not_call")),
    *(attempts.c[name] for name in ("id", "round", "state", "source", "agent", "placed_by", "reference", "vendor_ref")),
    *(attempts.c[name] for name in ("outcome", "refusal", "requested_at", "deadline_at", "ended_at", "call_id")),
)
_PARTS = union_all(
    padded(case_numbers, _OF_PARTS).where(OneOf(case_numbers.c.case_id, "ids")),
    padded(attempts, _OF_PARTS).where(OneOf(attempts.c.case_id, "ids")),
)
NO_RESULT: Mapping[str, Any] = {"last_disposition": None, "last_attempt_at": None}
"""The columns of the last result of a number that was not tried."""


def new_id() -> str:
    """A UUIDv7 (RFC 9562): it sorts by the time it was made."""
    return str(uuid_utils.uuid7())


def new_attempt_id(case: Case) -> str:
    """The id of a new attempt of a case. Attempts are ordered by their ids, so it sorts behind those that the case has,
    also if another hub made them, or this one before its clock was set back."""
    made, last = new_id(), max((attempt.id for attempt in case.attempts), default="")
    if made > last:
        return made
    milliseconds = UUID(last).int >> 80
    return str(uuid_utils.uuid7(nanoseconds=(milliseconds + 1) * 1_000_000))


def live_agent(source: str, agent: str) -> str | None:
    """What `attempts.live_agent` holds of a live attempt; None where the agent is not known."""
    return bounded_key(f"{source}/{agent}") if agent else None


async def locked(connection: AsyncConnection, ids: Collection[str]) -> dict[str, Case]:
    """The cases of these ids, locked until the transaction ends, with their numbers and attempts."""
    return await _found(connection, _LOCKED_CASES, ids)


async def lock(connection: AsyncConnection, ids: Collection[str]) -> set[str]:
    """Lock the cases of these ids until the transaction ends; those that are there."""
    there: set[str] = set()
    for part in in_parts(sorted(ids), AT_ONCE):
        query = select(cases.c.id).where(cases.c.id.in_(part)).order_by(cases.c.id).with_for_update()
        there.update((await connection.execute(query)).scalars())
    return there


async def read(connection: AsyncConnection, ids: Collection[str]) -> dict[str, Case]:
    """The cases of these ids as they are, without a lock."""
    return await _found(connection, _CASES, ids)


async def _found(connection: AsyncConnection, query: Select[Any], ids: Collection[str]) -> dict[str, Case]:
    found: dict[str, Case] = {}
    for part in in_parts(sorted(ids), AT_ONCE):
        rows = (await connection.execute(query, {"ids": part})).all()
        found |= await _with_parts(connection, rows)
    return found


async def _with_parts(connection: AsyncConnection, rows: Sequence[Row[Any]]) -> dict[str, Case]:
    ids = [row.id for row in rows]
    numbers: dict[str, list[Number]] = defaultdict(list)
    tried: dict[str, list[Attempt]] = defaultdict(list)
    for row in await connection.execute(_PARTS, {"ids": ids}):
        if row.position is None:
            tried[row.case_id].append(attempt_of(row))
            continue
        numbers[row.case_id].append(
            Number(
                position=row.position,
                number=row.number,
                key=row.match_key,
                e164=row.e164,
                label=row.label,
                do_not_call=bool(row.do_not_call),
            )
        )
    return {row.id: _case_of(row, numbers[row.id], tried[row.id]) for row in rows}


def _with_keys_of_today(tried: Sequence[Attempt], numbers: Sequence[Number]) -> Iterator[Attempt]:
    """Attempts of a case, which may have their numbers in another spelling by now: its source got a `region`, say. What
    was tried is no other number for that."""
    for attempt in tried:
        today = key_of_today(attempt.key, numbers)
        yield attempt if today == attempt.key else replace(attempt, key_today=today)


def key_of_today(key: str, numbers: Sequence[Number]) -> str:
    """`Number.key` of that one of these numbers of which `key` is a spelling; empty if none is."""
    keys = {number.key for number in numbers}
    if key in keys or not key:
        return key
    today = {each: one for one in keys for each in kept_as(one)}
    return next((today[each] for each in kept_as(key) if each in today), "")


def _case_of(row: Row[Any], numbers: Sequence[Number], tried: Sequence[Attempt]) -> Case:
    return Case(
        id=row.id,
        tenant=row.tenant,
        code=row.code,
        source=row.source,
        agent=row.agent,
        campaign=row.campaign,
        timezone=row.timezone,
        metadata=row.metadata,
        state=CaseState(row.state),
        state_reason=row.state_reason,
        round=row.round,
        next_action_at=row.next_action_at,
        next_key=key_of_today(row.next_key, numbers),
        created_at=row.created_at,
        numbers=tuple(sorted(numbers, key=attrgetter("position"))),
        attempts=tuple(sorted(_with_keys_of_today(tried, numbers), key=attrgetter("id"))),
    )


def attempt_of(row: Row[Any]) -> Attempt:
    """The attempt of a row of `attempts`."""
    return Attempt(
        id=row.id,
        round=row.round,
        key=row.match_key,
        state=AttemptState(row.state),
        source=row.source,
        agent=row.agent,
        placed_by=PlacedBy(row.placed_by),
        reference=row.reference,
        vendor_ref=row.vendor_ref,
        outcome=Disposition(row.outcome) if row.outcome else None,
        refusal=Refusal(row.refusal) if row.refusal else None,
        requested_at=row.requested_at,
        deadline_at=row.deadline_at,
        ended_at=row.ended_at,
        call_id=row.call_id,
    )


async def left_behind(connection: AsyncConnection, ids: Collection[str]) -> list[tuple[str, Attempt]]:
    """(tenant, attempt) of those of these attempts of deleted cases that may have become a call which nobody saw yet:
    until its end, or their deadline, they keep their number."""
    found = []
    for part in in_parts(sorted(ids), AT_ONCE):
        query = select(attempts).where(
            attempts.c.id.in_(part), attempts.c.state == AttemptState.SUPERSEDED, attempts.c.call_id.is_(None)
        )
        found += [(row.tenant, attempt_of(row)) for row in await connection.execute(query)]
    return found


async def last_results(connection: AsyncConnection, ids: Collection[str]) -> dict[str, dict[str, dict[str, Any]]]:
    """Case id → `Number.key` → the columns of the last result, of the numbers of these cases that have one."""
    found: dict[str, dict[str, dict[str, Any]]] = defaultdict(dict)
    for part in in_parts(sorted(ids), AT_ONCE):
        query = select(case_numbers).where(
            case_numbers.c.case_id.in_(part), case_numbers.c.last_attempt_at.is_not(None)
        )
        for row in await connection.execute(query):
            columns = {"last_disposition": row.last_disposition, "last_attempt_at": row.last_attempt_at}
            found[row.case_id][row.match_key] = columns
    return found


async def numbers_locked(connection: AsyncConnection, keys: Collection[str]) -> None:
    """Lock these numbers, in whatever case and spelling, until the transaction ends: whoever asks next what was
    requested on them waits for this transaction."""
    for part in in_parts(sorted(set().union(*map(kept_as, keys))), AT_ONCE):
        query = (
            select(case_numbers.c.position)
            .where(case_numbers.c.match_key.in_(part))
            .order_by(case_numbers.c.match_key, case_numbers.c.case_id, case_numbers.c.position)
            .with_for_update()
        )
        await connection.execute(query)


async def forget(connection: AsyncConnection, case: Case) -> None:
    """Delete a case with its numbers; attempts and decisions stay, for they are what happened, and are its own again if
    it is made again (`made_again`)."""
    before = (deleted_cases.c.tenant == case.tenant) & (deleted_cases.c.code == case.code)
    await connection.execute(delete(deleted_cases).where(before))
    row = {"case_id": case.id, "tenant": case.tenant, "code": case.code, "round": case.round}
    await connection.execute(insert(deleted_cases).values(row | {"created_at": case.created_at}))
    await connection.execute(delete(case_numbers).where(case_numbers.c.case_id == case.id))
    await connection.execute(delete(cases).where(cases.c.id == case.id))


async def made_again(connection: AsyncConnection, *, tenant: str, codes: Collection[str]) -> dict[str, dict[str, Any]]:
    """Code → what a case has of before, of those of these codes that were deleted and are now made again. It begins a
    round of its own: what is told or reported late of its attempts leads to nothing."""
    mine = (deleted_cases.c.tenant == tenant) & deleted_cases.c.code.in_(codes)
    # Who makes one of them at the same moment waits here, finds nothing, and meets the key of the code.
    query = select(deleted_cases).where(mine).order_by(deleted_cases.c.code).with_for_update()
    found = {
        row.code: {"id": row.case_id, "round": row.round + 1, "created_at": row.created_at}
        for row in await connection.execute(query)
    }
    if found:
        await connection.execute(delete(deleted_cases).where(mine))
    return found
