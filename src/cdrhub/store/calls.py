"""Reading calls: by time, source, queue, agent, number in any spelling, page by page.

Pages are cut by the key of the last row, never by counting, so that the thousandth page costs what the first one does
and rows that arrive meanwhile shift nothing.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, cast
from uuid import UUID

from sqlalchemy import ColumnElement, FromClause, Row, Select, Text, false, func, or_, select, union
from sqlalchemy import cast as as_type

from cdrhub.errors import NotFound, UsageError
from cdrhub.model.disposition import State
from cdrhub.store.call_numbers import places_of
from cdrhub.store.store import Store
from cdrhub.store.suspense import RecordRow
from cdrhub.store.tables import call_legs, calls, records

PAGE = 100
LOOKED_THROUGH = 10_000  #: of the newest calls, for numbers of which nothing says what they are
PREFIX_CHARACTERS = 8  #: of an id, at least; an id begins with the time, calls of one minute share that much

_ID_BEGINNING = re.compile(rf"[0-9a-f-]{{{PREFIX_CHARACTERS},35}}")
_ANY_ID = "00000000-0000-0000-0000-000000000000"

CallRow = Mapping[str, Any]
"""All columns of a call by name; times aware, UTC; `attributes` and `flags` as Python values."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Cursor:
    """The last row of a page: the next one begins behind it."""

    sort_at: datetime
    id: str

    def __str__(self) -> str:
        moment = self.sort_at.astimezone(UTC).replace(tzinfo=None).isoformat()
        return f"{moment}Z/{self.id}"  # no plus sign, which a query takes for a blank

    @classmethod
    def parse(cls, text: str) -> Cursor:
        """The cursor that `str` wrote. Raises UsageError."""
        written, _, call_id = text.partition("/")
        try:
            moment = datetime.fromisoformat(written)
            if moment.tzinfo is None:
                raise ValueError("a moment without a zone")
            return cls(sort_at=moment.astimezone(UTC), id=str(UUID(call_id)))
        except (ValueError, OverflowError) as error:
            raise UsageError(f"{text!r} is not a page of this list") from error


@dataclass(frozen=True, kw_only=True, slots=True)
class CallFilter:
    """What calls to list. Times are aware, [since, until) of `sort_at`; everything else must equal.

    `number` in any spelling, also as it was sent; `region` (ISO 3166-1) reads a national one, and `readings` are what
    it means to others, in E.164. `agent` is an id, an extension or a name; `queue` an id or a name; `id` the call's id
    or the vendor's key.
    """

    since: datetime | None = None
    until: datetime | None = None
    source: str | None = None
    tenant: str | None = None
    queue: str | None = None
    agent: str | None = None
    number: str | None = None
    region: str | None = None
    readings: frozenset[str] = frozenset()
    disposition: str | None = None
    direction: str | None = None
    state: str | None = None
    id: str | None = None
    withdrawn: bool = False  #: withdrawn calls too


@dataclass(frozen=True, kw_only=True, slots=True)
class Page:
    """Some calls, newest first, and where the next page begins (None: there is none)."""

    rows: Sequence[CallRow]
    next: Cursor | None


async def listed(store: Store, chosen: CallFilter, *, after: Cursor | None = None, limit: int = PAGE) -> Page:
    """One page of the calls that `chosen` describes. Raises StoreUnavailable."""
    query = page_query(chosen, after=after, limit=limit + 1)
    async with store.database.connect() as connection:
        rows = [_by_name(row) for row in await connection.execute(query)]
    if len(rows) <= limit:
        return Page(rows=rows, next=None)
    last = rows[limit - 1]
    return Page(rows=rows[:limit], next=Cursor(sort_at=last["sort_at"], id=last["id"]))


async def each(store: Store, chosen: CallFilter, *, limit: int | None = None) -> AsyncIterator[CallRow]:
    """All calls that `chosen` describes (or the newest `limit`), newest first; one page in memory at a time."""
    after: Cursor | None = None
    left = limit
    while left is None or left > 0:
        page = await listed(store, chosen, after=after, limit=PAGE if left is None else min(PAGE, left))
        for row in page.rows:
            yield row
        if left is not None:
            left -= len(page.rows)
        if page.next is None:
            return
        after = page.next


async def one(store: Store, call: str) -> CallRow:
    """The call of that id or vendor's key; the newest if a key is in several sources. The first eight or more
    characters of an id do if no other call begins so. Raises NotFound, UsageError if several do."""
    page = await listed(store, CallFilter(id=call, withdrawn=True), limit=1)
    if page.rows:
        return page.rows[0]
    beginning = call.lower()
    if not _ID_BEGINNING.fullmatch(beginning):
        raise NotFound(
            f"there is no call {call!r}: give its id, {PREFIX_CHARACTERS} characters or more of it, or its call_key"
        )
    async with store.database.connect() as connection:
        rows = [_by_name(row) for row in await connection.execute(_beginning_query(beginning))]
    if not rows:
        raise NotFound(f"there is no call whose id begins with {call!r}")
    if len(rows) > 1:
        two = " and ".join(sorted(row["id"] for row in rows))
        raise UsageError(f"several calls have an id that begins with {call!r}, as {two}: give more of it, or all")
    return rows[0]


def _beginning_query(beginning: str) -> Select[Any]:
    """Two calls at most whose id begins so: a range, which every engine finds by the primary key."""
    first = beginning + _ANY_ID[len(beginning) :]
    last = beginning + _ANY_ID[len(beginning) :].replace("0", "f")
    try:
        bounds = str(UUID(first)), str(UUID(last))
    except ValueError:  # hyphens elsewhere than in an id
        return select(calls).where(false())
    return select(calls).where(calls.c.id.between(*bounds)).limit(2)


async def legs_of(store: Store, call_id: str) -> list[CallRow]:
    """The legs of a call, in their order."""
    query = select(call_legs).where(call_legs.c.call_id == call_id).order_by(call_legs.c.seq, call_legs.c.leg_key)
    async with store.database.connect() as connection:
        return [_by_name(row) for row in await connection.execute(query)]


async def each_with_legs(store: Store, chosen: CallFilter) -> AsyncIterator[tuple[CallRow, Sequence[CallRow]]]:
    """All calls that `chosen` describes, newest first, each with its legs in no order; one page in memory at a time."""
    after: Cursor | None = None
    while True:
        page = await listed(store, chosen, after=after)
        legs: dict[str, list[CallRow]] = {row["id"]: [] for row in page.rows}
        query = select(call_legs).where(call_legs.c.call_id.in_(list(legs)))
        async with store.database.connect() as connection:
            for leg in await connection.execute(query):
                legs[leg.call_id].append(_by_name(leg))
        for row in page.rows:
            yield row, legs[row["id"]]
        if page.next is None:
            return
        after = page.next


async def records_of(store: Store, call_id: str) -> list[RecordRow]:
    """The records of a call in the order of their receipt."""
    query = select(records).where(records.c.call_id == call_id).order_by(records.c.received_at, records.c.id)
    async with store.database.connect() as connection:
        return [RecordRow.of(row) for row in await connection.execute(query)]


async def unnamed(store: Store) -> list[tuple[str, str, int]]:
    """Inside numbers that behaved like a queue or an IVR and that nothing names (flag `kind_assumed`), among the newest
    LOOKED_THROUGH calls: source, number and how many calls, the most first."""
    c = calls.c
    newest = (
        select(c.source, c.callee_number, as_type(c.flags, Text).label("flags"))
        .order_by(c.sort_at.desc(), c.id.desc())
        .limit(LOOKED_THROUGH)
        .subquery()
    )
    count = func.count()
    query = (
        select(newest.c.source, newest.c.callee_number, count)
        .where(newest.c.flags.contains('"kind_assumed"'), newest.c.callee_number.is_not(None))
        .group_by(newest.c.source, newest.c.callee_number)
        .order_by(count.desc(), newest.c.source, newest.c.callee_number)
    )
    async with store.database.connect() as connection:
        return [(source, number, many) for source, number, many in await connection.execute(query)]


def _by_name(row: Row[Any]) -> CallRow:
    return cast("CallRow", row._mapping)


def page_query(chosen: CallFilter, *, after: Cursor | None, limit: int) -> Select[Any]:
    """The query of one page."""
    found = conditions(chosen)
    if after is not None:
        # Said twice on purpose: the first half alone is a range that every engine finds in the index.
        found += [calls.c.sort_at <= after.sort_at, or_(calls.c.sort_at < after.sort_at, calls.c.id < after.id)]
    query = select(calls)
    if chosen.number is None:
        query = query.where(*found)
    elif places := places_of(chosen.number, region=chosen.region, readings=chosen.readings):
        # The newest of each place, which an index has in this order, and the newest of those.
        newest = [_newest(select(calls.c.id, calls.c.sort_at).where(place, *found), calls, limit) for place in places]
        all_places = union(*(select(one.subquery()) for one in newest)).subquery()
        its = _newest(select(all_places), all_places, limit).subquery()
        query = query.join(its, its.c.id == calls.c.id)
    else:
        query = query.where(false())
    return _newest(query, calls, limit)


def _newest(query: Select[Any], rows: FromClause, limit: int) -> Select[Any]:
    return query.order_by(rows.c.sort_at.desc(), rows.c.id.desc()).limit(limit)


def conditions(chosen: CallFilter) -> list[ColumnElement[bool]]:
    """What `chosen` demands of a row of `calls`, but for the number."""
    c = calls.c
    found: list[ColumnElement[bool]] = []
    if chosen.since is not None:
        found.append(c.sort_at >= chosen.since)
    if chosen.until is not None:
        found.append(c.sort_at < chosen.until)
    for column, value in (
        (c.source, chosen.source),
        (c.tenant, chosen.tenant),
        (c.disposition, chosen.disposition),
        (c.direction, chosen.direction),
        (c.state, chosen.state),
    ):
        if value is not None:
            found.append(column == value)
    if chosen.queue is not None:
        found.append(or_(c.queue == chosen.queue, c.queue_id == chosen.queue))
    if chosen.agent is not None:
        agent = chosen.agent
        found.append(or_(c.agent_id == agent, c.agent_extension == agent, c.agent_name == agent))
    if chosen.id is not None:
        found.append(_of_id(chosen.id))
    if not chosen.withdrawn and chosen.state is None:
        found.append(c.state != State.WITHDRAWN.value)
    return found


def _of_id(text: str) -> ColumnElement[bool]:
    by_key = calls.c.call_key == text
    try:
        return or_(calls.c.id == str(UUID(text)), by_key)
    except ValueError:
        return by_key
