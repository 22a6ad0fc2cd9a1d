"""Decisions about waiting cases: when their time has come, and again when other settings or numbers may have changed
it."""

from __future__ import annotations

from collections.abc import Callable, Collection
from datetime import datetime
from typing import Any

from sqlalchemy import Select, select, update

from cdrhub.redial import case_rows
from cdrhub.redial.carrier import Carrier, Consequences
from cdrhub.redial.decision import Decision, Result, old_news, when_due
from cdrhub.redial.model import Case, CaseState
from cdrhub.redial.surroundings import gather
from cdrhub.store.redial_tables import cases
from cdrhub.store.transaction import Transaction


def due(now: datetime) -> Select[Any]:
    """The ids of cases whose time has come, those that waited longest first."""
    return select(cases.c.id).where(cases.c.next_action_at <= now).order_by(cases.c.next_action_at)


def by_rules(rules: Collection[str], now: datetime) -> Select[Any]:
    """The ids of cases that one of these rules makes wait."""
    return (
        select(cases.c.id)
        .where(cases.c.state == CaseState.WAITING)
        .where(cases.c.state_reason.in_(sorted(rules)), cases.c.next_action_at > now)
        .order_by(cases.c.id)
    )


async def look(
    tx: Transaction,
    ids: Collection[str],
    *,
    now: datetime,
    carrier: Carrier,
    healthy: Callable[[str], bool],
    late: Callable[[datetime], bool] = lambda _moment: False,
    rules: Collection[str] = (),
) -> None:
    """Decide about those of these cases that wait: the due ones and, of the others, those that one of `rules` makes
    wait. `late`: whether what was due at a moment is old news."""
    if not ids:
        return
    locked = await case_rows.locked(tx.connection, ids)
    settings = carrier.settings
    known = await gather(tx.connection, list(locked.values()), now=now, settings=settings, healthy=healthy)
    consequences = Consequences(now=now)
    for case in locked.values():
        if case.state is not CaseState.WAITING or case.next_action_at is None:
            continue
        anew = case.next_action_at > now
        if anew and case.state_reason not in rules:
            continue
        if late(case.next_action_at):
            decision = old_news("it was due long ago")
        else:
            decision = when_due(case, case.next_key, policy=settings.policy, around=known.around(case))
        if _as_before(case, decision) and carrier.dialler(case.source):
            later = update(cases).where(cases.c.id == case.id).values(next_action_at=decision.due_at)
            await tx.connection.execute(later)
            continue
        last = case.attempts[-1] if case.attempts else None
        cause = "anew" if anew else "due"
        known.took(carrier.carry_out(case, decision, consequences, cause=cause, inputs={}, attempt=last))
    await consequences.write(tx)


def _as_before(case: Case, decision: Decision) -> bool:
    """Whether a case waits on, for the same number and by the same rule: that was decided and told already."""
    return (
        decision.result is Result.SCHEDULED
        and decision.number is not None
        and decision.number.key == case.next_key
        and decision.rule == case.state_reason
    )
