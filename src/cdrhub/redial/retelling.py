"""Tells of the calls that a replay changed, as the engine tells of those that settle, and decides nothing.

It is not the engine, on purpose: public facts are written in the replay's own transaction, cases and attempts are only
read, and no `call.settled` is written, which is the only thing that the engine takes. So old calls that are read anew
can be told to everybody, and make nobody's telephone ring. But for one: of a call that now reads as answered, of an
attempt of a case that goes on, the engine tells, and the case is contacted. Who was reached is rung no more.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from sqlalchemy import insert

from cdrhub.model.disposition import Disposition, State
from cdrhub.redial import case_rows
from cdrhub.redial.announced import announced
from cdrhub.redial.announcing import WITHDRAWN, Announcement, announcement
from cdrhub.redial.carrying import Told
from cdrhub.redial.model import Attempt, Case
from cdrhub.store.outbox import SETTLED
from cdrhub.store.replay import Altered
from cdrhub.store.tables import outbox
from cdrhub.store.transaction import Transaction

_LIVING = frozenset({State.QUEUED, State.RINGING, State.ANSWERED})


async def retell(tx: Transaction, altered: Sequence[Altered], *, now: datetime, dry_run: bool) -> dict[str, str]:
    """Write what is to be told of these calls, whose locks the transaction holds; the types of the events by the ids
    of the calls. A dry run writes nothing."""
    told = await announced(tx.connection, [one.columns["id"] for one in altered])
    stand = [replace(one, columns={**one.columns, "announced": told.get(one.columns["id"])}) for one in altered]
    news = [(one.columns, said) for one in stand if (said := _said(one)) is not None]
    if news and not dry_run:
        await _write(tx, news, now=now)
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


async def _write(tx: Transaction, news: Sequence[tuple[Mapping[str, Any], Announcement]], *, now: datetime) -> None:
    cases = await case_rows.read(tx.connection, {columns["case_id"] for columns, _ in news} - {None})
    told = Told(now=now)
    for columns, said in news:
        case = cases.get(columns["case_id"])
        attempt = case.attempt(columns["attempt_id"]) if case is not None else None
        if case is None or attempt is None or not _reached(columns, case, attempt):
            told.call(said, columns, case=case, attempt=attempt)
            continue
        fact = {"call_id": columns["id"], "source": columns["source"], "revision": columns["revision"], "due_at": now}
        await tx.connection.execute(insert(outbox).values(type=SETTLED, **fact))
    await told.write(tx)


def _reached(columns: Mapping[str, Any], case: Case, attempt: Attempt) -> bool:
    """Whether a call that had not reached the person of a case which goes on has done so."""
    if case.closed or attempt.round != case.round or attempt.outcome is Disposition.ANSWERED:
        return False
    return bool(columns["state"] == State.ENDED and columns["disposition"] == Disposition.ANSWERED)
