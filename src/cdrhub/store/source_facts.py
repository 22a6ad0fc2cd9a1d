"""Facts of sources: what a hub does not see, sees again, or hears nothing of; and records that could not be understood.

They are written in the transaction that writes the coverage or keeps the record. A stretch of coverage is told where it
begins and changes what the hub sees: one blind time is told once, though it has several reasons one after the other
(`stopped`, then `started`). Of records that came into suspense together, one fact tells for each source and reason, so
that a port scan does not become a thousand requests.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import groupby
from typing import Any

import orjson
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from cdrhub.errors import DecodeError
from cdrhub.model.inference import Coverage
from cdrhub.store.batch import Item
from cdrhub.store.rows import Row, storable_detail
from cdrhub.store.tables import coverage, records

BLIND = "source.blind"
RECOVERED = "source.recovered"
QUIET = "source.quiet"
SUSPENDED = "record.suspended"

NAMED_RECORDS = 20  #: of one fact, by their numbers
LOOKED_BACK = 200  #: stretches among which the begin of a blind time is looked for; a restart makes two
_UNSEEN = ("blind", "quiet")


@dataclass(frozen=True, kw_only=True, slots=True)
class Seen:
    """What a hub sees of a source since when: stretches of one state in a row are one."""

    state: str
    since: datetime


def turn(before: Seen | None, now: Coverage) -> tuple[str, dict[str, Any]] | None:
    """The type of the fact that a stretch which begins makes true, and what is special to it; None if nothing is new.

    `before` is what the hub saw until then, None if it never said.
    """
    if before is not None and (before.state == now.state or before.since > now.since):
        return None
    since = now.since.astimezone(UTC).isoformat()
    if now.state in _UNSEEN:
        return BLIND if now.state == "blind" else QUIET, {"since": since}
    if before is not None and before.state in _UNSEEN:
        return RECOVERED, {"was": before.state, "since": before.since.astimezone(UTC).isoformat(), "until": since}
    return None


async def coverage_facts(connection: AsyncConnection, items: Iterable[Item], *, now: datetime) -> list[Row]:
    """The rows of `outbox` for stretches that begin. To be asked before they are written into `coverage`."""
    lanes: dict[tuple[str, str], list[tuple[Coverage, Item]]] = defaultdict(list)
    for item in items:
        span = item.outcome
        if isinstance(span, Coverage) and span.until is None:
            lanes[span.hub, item.record.source].append((span, item))
    fact_rows = []
    for (hub, source), begun in lanes.items():
        before = await _seen(connection, hub=hub, source=source)
        for span, item in sorted(begun, key=lambda one: one[0].since):
            fact = turn(before, span)
            if fact is not None:
                fact_rows.append(_coverage_row(*fact, span=span, item=item, now=now))
            if before is None or (before.state != span.state and before.since <= span.since):
                before = Seen(state=span.state, since=span.since)
    return fact_rows


async def _seen(connection: AsyncConnection, *, hub: str, source: str) -> Seen | None:
    c = coverage.c
    query = (
        select(c.state, c.since)
        .where(c.hub == hub, c.source == source, c.until.is_(None))
        .order_by(c.since.desc(), c.id.desc())
        .limit(LOOKED_BACK)
    )
    for state, stretches in groupby(await connection.execute(query), key=lambda row: row.state):
        return Seen(state=state, since=min(row.since for row in stretches))
    return None


def _coverage_row(kind: str, special: dict[str, Any], *, span: Coverage, item: Item, now: datetime) -> Row:
    since = span.since.astimezone(UTC).isoformat()
    snapshot = {
        "key": f"{span.hub}/{item.record.source}/{span.state}/{since}",
        **_whose(item),
        "hub": span.hub,
        "state": span.state,
        **special,
        "detail": storable_detail(span.detail),
    }
    return _row(kind, item, snapshot, now=now)


async def suspense_facts(connection: AsyncConnection, items: Iterable[Item], *, now: datetime) -> list[Row]:
    """The rows of `outbox` for records that are in suspense, and are written already."""
    together: dict[tuple[str, str], list[Item]] = defaultdict(list)
    for item in items:
        if isinstance(item.outcome, DecodeError):
            together[item.record.source, item.outcome.reason.value].append(item)
    return [
        await _suspense_row(connection, its, reason=reason, now=now) for (_, reason), its in sorted(together.items())
    ]


async def _suspense_row(connection: AsyncConnection, items: Sequence[Item], *, reason: str, now: datetime) -> Row:
    its = sorted(items, key=lambda item: (item.record.received_at, item.record.digest))
    first = its[0]
    digests = [item.record.digest for item in its[:NAMED_RECORDS]]
    named = select(records.c.id).where(records.c.digest.in_(digests), records.c.source == first.record.source)
    snapshot = {
        "key": f"{first.record.source}/{first.record.digest.hex()}",
        **_whose(first),
        "reason": reason,
        "detail": storable_detail(str(first.outcome.detail)) if isinstance(first.outcome, DecodeError) else "",
        "count": len(its),
        "records": sorted((await connection.execute(named)).scalars()),
        "received_at": first.record.received_at.astimezone(UTC).isoformat(),
    }
    return _row(SUSPENDED, first, snapshot, now=now)


def _whose(item: Item) -> dict[str, Any]:
    return {"source": item.record.source, "system": item.system, "tenant": item.tenant}


def _row(kind: str, item: Item, snapshot: dict[str, Any], *, now: datetime) -> Row:
    return (None, item.record.source, kind, 0, now, orjson.dumps(snapshot).decode())
