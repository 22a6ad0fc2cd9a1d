"""Reading cases, attempts, decisions, the do-not-call list and the pauses: for the API and the command line.

All functions read on a connection that somebody else opened, so that they may look into a transaction that changes
something. Lists are cut by the key of their last row. `tenant` None sees every tenant.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, func, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from cdrhub.parts import in_parts
from cdrhub.redial.model import LIVE
from cdrhub.redial.order_errors import AmbiguousCode, NoSuchAttempt, NoSuchCase
from cdrhub.store.redial_tables import (
    attempts,
    case_numbers,
    cases,
    do_not_call,
    redial_decisions,
    redial_pauses,
)

PAGE = 100
MAX_ATTEMPTS = 500  #: of one case, the newest
CASES_AT_ONCE = 20  #: for more, PostgreSQL reads the whole of a table that it has not analysed yet

RowOf = dict[str, Any]
"""All columns of a row by name; times aware, UTC."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CaseFilter:
    """What cases to list; None asks for nothing. `keys` are readings of one number, any of which a case must have."""

    tenant: str | None = None
    state: str | None = None
    reason: str | None = None
    source: str | None = None
    agent: str | None = None
    campaign: str | None = None
    keys: Collection[str] | None = None


async def listed(
    connection: AsyncConnection, chosen: CaseFilter, *, before: str | None = None, limit: int = PAGE
) -> list[RowOf]:
    """Cases that `chosen` describes, the newest first, those made before the case of the id `before`; each with its
    `numbers`."""
    query = cases_query(chosen, before=before, limit=limit)
    return await _with_numbers(connection, await _rows(connection, query))


def cases_query(chosen: CaseFilter, *, before: str | None, limit: int) -> Select[Any]:
    """The query of one page of cases."""
    c = cases.c
    demands: list[ColumnElement[bool]] = [
        column == value
        for column, value in (
            (c.tenant, chosen.tenant),
            (c.state, chosen.state),
            (c.state_reason, chosen.reason),
            (c.source, chosen.source),
            (c.agent, chosen.agent),
            (c.campaign, chosen.campaign),
        )
        if value is not None
    ]
    if chosen.keys is not None:
        of_number = select(case_numbers.c.case_id).where(case_numbers.c.match_key.in_(sorted(chosen.keys)))
        demands.append(c.id.in_(of_number))
    if before is not None:
        demands.append(c.id < before)
    return select(cases).where(*demands).order_by(c.id.desc()).limit(limit)


async def case_of(connection: AsyncConnection, *, code: str, tenant: str | None) -> RowOf:
    """The case of that code with its `numbers`. Raises NoSuchCase, AmbiguousCode where several tenants have one."""
    query = select(cases).where(cases.c.code == code).order_by(cases.c.id).limit(2)
    if tenant is not None:
        query = query.where(cases.c.tenant == tenant)
    rows = await _rows(connection, query)
    if not rows:
        raise NoSuchCase(f"there is no case {code!r}")
    if len(rows) > 1:
        raise AmbiguousCode(f"several tenants have a case {code!r}: say which tenant")
    return (await _with_numbers(connection, rows))[0]


async def attempts_of(connection: AsyncConnection, case_id: str) -> list[RowOf]:
    """The newest attempts of a case, MAX_ATTEMPTS at most, oldest first."""
    query = select(attempts).where(attempts.c.case_id == case_id).order_by(attempts.c.id.desc()).limit(MAX_ATTEMPTS)
    return (await _rows(connection, query))[::-1]


async def attempt(connection: AsyncConnection, attempt_id: str, *, tenant: str | None) -> RowOf:
    """One attempt, with `case_code` (None once its case was deleted). Raises NoSuchAttempt."""
    query = (
        select(attempts, cases.c.code.label("case_code"))
        .outerjoin(cases, cases.c.id == attempts.c.case_id)
        .where(attempts.c.id == attempt_id)
    )
    if tenant is not None:
        query = query.where(attempts.c.tenant == tenant)
    row = (await connection.execute(query)).one_or_none()
    if row is None:
        raise NoSuchAttempt(f"there is no attempt {attempt_id!r}")
    return dict(row._mapping)


async def decisions_of(connection: AsyncConnection, case_id: str, *, after: int, limit: int) -> list[RowOf]:
    """The decisions about a case in the order in which they were taken, those after the decision of that id; each with
    the `number` of its attempt, and the dialler's `answer` to that, if it was worth a word."""
    query = _decisions(case_id).where(redial_decisions.c.id > after).order_by(redial_decisions.c.id)
    return await _rows(connection, query.limit(limit))


async def last_decisions_of(connection: AsyncConnection, case_id: str, *, limit: int = PAGE) -> list[RowOf]:
    """The newest decisions about a case, the oldest of them first; each as `decisions_of` has it."""
    query = _decisions(case_id).order_by(redial_decisions.c.id.desc())
    return (await _rows(connection, query.limit(limit)))[::-1]


def _decisions(case_id: str) -> Select[Any]:
    return (
        select(redial_decisions, attempts.c.number, attempts.c.detail.label("answer"))
        .outerjoin(attempts, attempts.c.id == redial_decisions.c.attempt_id)
        .where(redial_decisions.c.case_id == case_id)
    )


async def tally(connection: AsyncConnection) -> list[RowOf]:
    """How many cases stand where: `state`, `state_reason`, `count`."""
    query = (
        select(cases.c.state, cases.c.state_reason, func.count().label("count"))
        .group_by(cases.c.state, cases.c.state_reason)
        .order_by(cases.c.state, cases.c.state_reason)
    )
    return await _rows(connection, query)


async def live_attempts(connection: AsyncConnection) -> list[RowOf]:
    """How many attempts are under way: `dialler`, `state`, `count`, and when the `oldest` of them was decided."""
    a = attempts.c
    query = (
        select(a.dialler, a.state, func.count().label("count"), func.min(a.decided_at).label("oldest"))
        .where(a.state.in_(sorted(LIVE)))
        .group_by(a.dialler, a.state)
        .order_by(a.dialler, a.state)
    )
    return await _rows(connection, query)


async def do_not_call_list(
    connection: AsyncConnection,
    *,
    tenant: str | None,
    keys: Collection[str] | None = None,
    after: tuple[str, str] | None = None,
    limit: int = PAGE,
) -> list[RowOf]:
    """Numbers that must not be called, in their order, those behind (match_key, tenant) `after`; of `keys` only, if
    given."""
    d = do_not_call.c
    query = select(do_not_call)
    if tenant is not None:
        query = query.where(d.tenant == tenant)
    if keys is not None:
        query = query.where(d.match_key.in_(sorted(keys)))
    if after is not None:
        key, of = after
        query = query.where(d.match_key >= key, or_(d.match_key > key, and_(d.match_key == key, d.tenant > of)))
    query = query.order_by(d.match_key, d.tenant).limit(limit)
    return await _rows(connection, query)


async def pauses(connection: AsyncConnection) -> list[RowOf]:
    """What is paused, and since when, by whom and why."""
    query = select(redial_pauses).order_by(redial_pauses.c.scope, redial_pauses.c.name)
    return await _rows(connection, query)


async def _rows(connection: AsyncConnection, query: Select[Any]) -> list[RowOf]:
    return [dict(row._mapping) for row in await connection.execute(query)]


async def _with_numbers(connection: AsyncConnection, rows: Sequence[RowOf]) -> list[RowOf]:
    numbers: dict[str, list[RowOf]] = defaultdict(list)
    for some in in_parts(rows, CASES_AT_ONCE):
        ids = [row["id"] for row in some]
        query = select(case_numbers).where(case_numbers.c.case_id.in_(ids)).order_by(case_numbers.c.position)
        for number in await _rows(connection, query):
            numbers[number["case_id"]].append(number)
    return [{**row, "numbers": numbers[row["id"]]} for row in rows]
