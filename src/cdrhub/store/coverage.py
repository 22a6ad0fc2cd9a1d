"""Reading the coverage ledger: from when to when a source saw its phone system, and when it was blind.

A stretch is written when it begins, without an end, and once more when it ends; the second row completes the first.
One that was never completed (the hub was killed) is taken to end where the same hub's next one begins. What is told
whole, in one row, lies within others (records that never arrived), unless another begins where it ends (no daemon ran).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, or_, select

from cdrhub.store.store import Store
from cdrhub.store.tables import coverage


@dataclass(frozen=True, kw_only=True, slots=True)
class Stretch:
    """What one hub saw of one source from `since` to `until` (UTC; None: it still lasts)."""

    hub: str
    source: str
    state: str  #: connected, idle, quiet, blind, backfilled
    since: datetime
    until: datetime | None
    detail: str


async def stretches(
    store: Store, *, source: str | None = None, since: datetime | None = None, until: datetime | None = None
) -> list[Stretch]:
    """The stretches that overlap [since, until), in the order of their begin."""
    c = coverage.c
    ended = func.max(c.until)
    query = (
        select(
            c.hub,
            c.source,
            c.state,
            c.since,
            ended.label("until"),
            func.max(c.detail).label("detail"),
            func.count().label("told"),
        )
        .group_by(c.hub, c.source, c.state, c.since)
        .order_by(c.since, c.source, c.hub, c.state)
    )
    if source is not None:
        query = query.where(c.source == source)
    if until is not None:
        query = query.where(c.since < until)
    if since is not None:
        query = query.having(or_(ended.is_(None), ended > since))
    async with store.database.connect() as connection:
        rows = (await connection.execute(query)).all()
    found: list[Stretch] = []
    begun: dict[tuple[str, str], datetime] = {}
    for row in reversed(rows):
        lane = (row.hub, row.source)
        end = row.until if row.until is not None or row.state == "backfilled" else begun.get(lane)
        whole = row.told == 1 and row.until is not None
        if row.state != "backfilled" and (not whole or begun.get(lane) == row.until):
            begun[lane] = row.since
        if since is None or end is None or end > since:
            found.append(
                Stretch(hub=row.hub, source=row.source, state=row.state, since=row.since, until=end, detail=row.detail)
            )
    return found[::-1]
