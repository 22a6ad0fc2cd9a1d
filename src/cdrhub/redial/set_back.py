"""After the clock was set back: what was to wait for seconds must not wait for an hour.

Moments that are still to come stand in the database, because any hub may act on them. When the clock that made them is
set back, they are that much further away. One that is further away than its whole wait is moved to where that would end
if it began now, so that every hub may do this, and do it again. What is meant as a time of day stays: calling windows,
call-backs.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

from sqlalchemy import bindparam, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from cdrhub.redial.decision import Timing
from cdrhub.redial.model import ASKED
from cdrhub.redial.policy import AGENT_BUSY_LOOK, NUMBER_IN_CALL_LOOK, UNHEALTHY_LOOK
from cdrhub.store.outbox import SETTLED
from cdrhub.store.redial_tables import attempts, cases
from cdrhub.store.tables import calls, outbox

_LOOKS: Mapping[str, timedelta] = {
    "number_in_call": NUMBER_IN_CALL_LOOK,
    "number_requested": NUMBER_IN_CALL_LOOK,
    "agent_busy": AGENT_BUSY_LOOK,
    "source_unhealthy": UNHEALTHY_LOOK,
    "redial_paused": UNHEALTHY_LOOK,
}
_DEADLINE = update(attempts).where(attempts.c.id == bindparam("attempt")).values(deadline_at=bindparam("until"))
_DUE = update(outbox).where(outbox.c.id == bindparam("fact")).values(due_at=bindparam("until"))


async def wait_anew(connection: AsyncConnection, *, now: datetime, timing: Timing) -> None:
    """Let nothing wait for longer from `now` on than it was to wait at first: cases that look again in a moment or
    whose agent or network failed, attempts for their first sign or their end, calls until they are settled."""
    waits = {**_LOOKS, "agent_retry": timing.agent_retry, "network_retry": timing.network_retry}
    for reason, wait in waits.items():
        too_far = (cases.c.state_reason == reason) & (cases.c.next_action_at > now + wait)
        await connection.execute(update(cases).where(too_far).values(next_action_at=now + wait))
    asked = select(attempts.c.id, attempts.c.requested_at, attempts.c.deadline_at).where(
        attempts.c.state.in_(sorted(ASKED)), attempts.c.requested_at > now, attempts.c.deadline_at.is_not(None)
    )
    deadlines = [
        {"attempt": row.id, "until": now + (row.deadline_at - row.requested_at)}
        for row in await connection.execute(asked)
    ]
    if deadlines:
        await connection.execute(_DEADLINE, deadlines)
    unsettled = (
        select(outbox.c.id, outbox.c.due_at, calls.c.last_received_at)
        .join(calls, calls.c.id == outbox.c.call_id)
        .where(outbox.c.type == SETTLED, outbox.c.due_at > now, calls.c.last_received_at > now)
        .order_by(outbox.c.id)
    )
    facts = [
        {"fact": row.id, "until": now + max(row.due_at - row.last_received_at, timedelta(0))}
        for row in await connection.execute(unsettled)
    ]
    if facts:
        await connection.execute(_DUE, facts)
