"""Tells of the calls that a replay changed, as the engine tells of those that settle, and decides nothing.

It is not the engine, on purpose: public facts are written in the replay's own transaction, cases and attempts are only
read, and no `call.settled` is written, which is all that the engine takes. So old calls that are read anew can be told
to everybody, and make nobody's telephone ring.

There is one exception, also where the replay tells nobody else: a call that now reads as answered by the person of a
case that goes on is given to the engine, which tells of it and contacts the case, so that whoever was reached is not
rung again.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from sqlalchemy import insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from cdrhub.model.disposition import Disposition, State
from cdrhub.redial import case_rows
from cdrhub.redial.announced import announced
from cdrhub.redial.announcing import WITHDRAWN, Announcement, announcement, is_news
from cdrhub.redial.carrier import Consequences
from cdrhub.redial.in_call import number_keys
from cdrhub.redial.model import Case, CaseState
from cdrhub.store.one_of import OneOf
from cdrhub.store.outbox import SETTLED
from cdrhub.store.redial_tables import case_numbers
from cdrhub.store.redial_tables import cases as case_table
from cdrhub.store.replay import Altered
from cdrhub.store.tables import outbox
from cdrhub.store.transaction import Transaction

_LIVING = frozenset({State.QUEUED, State.RINGING, State.ANSWERED})
_GOING_ON = frozenset({CaseState.DIALLING, CaseState.WAITING, CaseState.PAUSED})
_OF_NUMBERS = (
    select(case_table.c.tenant, case_numbers.c.match_key)
    .join(case_table, case_table.c.id == case_numbers.c.case_id)
    .where(OneOf(case_numbers.c.match_key, "keys"), case_table.c.state.in_(sorted(_GOING_ON)))
)


async def retell(
    tx: Transaction, altered: Sequence[Altered], *, now: datetime, dry_run: bool, tell: bool = True
) -> dict[str, str]:
    """Write what is to be told of these calls, whose locks the transaction holds; the types of the events by the ids
    of the calls. A dry run writes nothing. Without `tell` only those are told by which somebody is rung no more."""
    consequences = await announced(tx.connection, [one.columns["id"] for one in altered])
    stand = [replace(one, columns={**one.columns, "announced": consequences.get(one.columns["id"])}) for one in altered]
    news = [(one.columns, said) for one in stand if (said := _said(one)) is not None]
    cases = await case_rows.read(tx.connection, {case_id for columns, _ in news if (case_id := columns.get("case_id"))})
    reached = await _reached(tx.connection, [columns for columns, _ in news], cases)
    if not tell:
        news = [(columns, said) for columns, said in news if columns["id"] in reached]
    if news and not dry_run:
        await _write(tx, news, cases, reached, now=now)
    return {columns["id"]: said.type for columns, said in news}


def _said(one: Altered) -> Announcement | None:
    """What is told of a call. Of one that lives, nothing: its end will be told."""
    state, before = one.columns["state"], one.columns["announced"]
    if before is None and state == State.WITHDRAWN:
        # Its end was never told; its beginning was, if it had not ended.
        return Announcement(type=WITHDRAWN, announced=None) if one.before in _LIVING else None
    if before is None and state != State.ENDED:
        return None
    return announcement(one.columns, announced=before, goes_on=False)


async def _write(
    tx: Transaction,
    news: Sequence[tuple[Mapping[str, Any], Announcement]],
    cases: Mapping[str, Case],
    reached: Collection[str],
    *,
    now: datetime,
) -> None:
    consequences = Consequences(now=now)
    for columns, said in news:
        if columns["id"] in reached:
            fact = {"call_id": columns["id"], "source": columns["source"], "revision": columns["revision"]}
            await tx.connection.execute(insert(outbox).values(type=SETTLED, due_at=now, **fact))
            continue
        case = cases.get(columns["case_id"])
        attempt = case.attempt(columns["attempt_id"]) if case is not None else None
        consequences.call(said, columns, case=case, attempt=attempt)
    await consequences.write(tx)


async def _reached(
    connection: AsyncConnection, news: Sequence[Mapping[str, Any]], cases: Mapping[str, Case]
) -> set[str]:
    """The ids of those calls that now read as answered by the person of a case which goes on: of an attempt of its
    present round, or of no attempt and with one of its numbers."""
    answered = [
        columns
        for columns in news
        if columns["state"] == State.ENDED and columns["disposition"] == Disposition.ANSWERED and is_news(columns)
    ]
    of_attempts = [columns for columns in answered if columns.get("attempt_id") is not None]
    of_none = [columns for columns in answered if columns.get("attempt_id") is None]
    found = {columns["id"] for columns in of_attempts if _is_pending(cases.get(columns["case_id"]), columns)}
    if keys := {key for columns in of_none for key in number_keys(columns)}:
        pending = {tuple(row) for row in await connection.execute(_OF_NUMBERS, {"keys": sorted(keys)})}
        found |= {
            columns["id"]
            for columns in of_none
            if any((columns.get("tenant"), key) in pending for key in number_keys(columns))
        }
    return found


def _is_pending(case: Case | None, columns: Mapping[str, Any]) -> bool:
    """Whether the case goes on, in the round of this call's attempt, which had reached nobody."""
    attempt = case.attempt(columns["attempt_id"]) if case is not None else None
    if case is None or attempt is None or case.state not in _GOING_ON:
        return False
    return attempt.round == case.round and attempt.outcome is not Disposition.ANSWERED
