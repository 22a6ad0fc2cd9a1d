"""Reading calls: by time, source, queue, agent, number in any spelling, page by page.

Pages are cut by the key of the last row, never by counting, so that the thousandth page costs what the first one does
and rows that arrive meanwhile shift nothing.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, cast
from uuid import UUID

from sqlalchemy import ColumnElement, Row, Select, and_, false, or_, select

from cdrhub.errors import NotFound, UsageError
from cdrhub.model.disposition import State
from cdrhub.model.numbers import NumberPlan, read_number
from cdrhub.model.update import MAX_TEXT
from cdrhub.store.store import Store
from cdrhub.store.suspense import RecordRow
from cdrhub.store.tables import call_legs, calls, records

PAGE = 100
SUFFIX_DIGITS = 7  #: of a number in national spelling; fewer would find strangers

CallRow = Mapping[str, Any]
"""All columns of a call by name; times aware, UTC; `attributes` and `flags` as Python values."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Cursor:
    """The last row of a page: the next one begins behind it."""

    sort_at: datetime
    id: str

    def __str__(self) -> str:
        return f"{self.sort_at.isoformat()}/{self.id}"

    @classmethod
    def parse(cls, text: str) -> Cursor:
        """The cursor that `str` wrote. Raises UsageError."""
        moment, _, call_id = text.partition("/")
        try:
            return cls(sort_at=datetime.fromisoformat(moment), id=str(UUID(call_id)))
        except ValueError as error:
            raise UsageError(f"{text!r} is not a page of this list") from error


@dataclass(frozen=True, kw_only=True, slots=True)
class CallFilter:
    """What calls to list. Times are aware, [since, until) of `sort_at`; everything else must equal.

    `number` in any spelling; `region` (ISO 3166-1) reads a national one. `agent` is an id, an extension or a name;
    `queue` an id or a name; `id` the call's id or the vendor's key.
    """

    since: datetime | None = None
    until: datetime | None = None
    source: str | None = None
    tenant: str | None = None
    queue: str | None = None
    agent: str | None = None
    number: str | None = None
    region: str | None = None
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
    """The call of that id or vendor's key; the newest if a key is in several sources. Raises NotFound."""
    page = await listed(store, CallFilter(id=call, withdrawn=True), limit=1)
    if not page.rows:
        raise NotFound(f"there is no call {call!r}")
    return page.rows[0]


async def legs_of(store: Store, call_id: str) -> list[CallRow]:
    """The legs of a call, in their order."""
    query = select(call_legs).where(call_legs.c.call_id == call_id).order_by(call_legs.c.seq, call_legs.c.leg_key)
    async with store.database.connect() as connection:
        return [_by_name(row) for row in await connection.execute(query)]


async def records_of(store: Store, call_id: str) -> list[RecordRow]:
    """The records of a call in the order of their receipt."""
    query = select(records).where(records.c.call_id == call_id).order_by(records.c.received_at, records.c.id)
    async with store.database.connect() as connection:
        return [RecordRow(**_by_name(row)) for row in await connection.execute(query)]


def _by_name(row: Row[Any]) -> CallRow:
    return cast("CallRow", row._mapping)


def page_query(chosen: CallFilter, *, after: Cursor | None, limit: int) -> Select[Any]:
    """The query of one page."""
    query = select(calls).where(*conditions(chosen))
    if after is not None:
        # Said twice on purpose: the first half alone is a range that every engine finds in the index.
        query = query.where(
            calls.c.sort_at <= after.sort_at, or_(calls.c.sort_at < after.sort_at, calls.c.id < after.id)
        )
    return query.order_by(calls.c.sort_at.desc(), calls.c.id.desc()).limit(limit)


def conditions(chosen: CallFilter) -> list[ColumnElement[bool]]:
    """What `chosen` demands of a row of `calls`."""
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
    if chosen.number is not None:
        found.append(_of_number(chosen.number, chosen.region))
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


def _of_number(text: str, region: str | None) -> ColumnElement[bool]:
    """Calls with that outside party. A number with an E.164 form is found by the index on `external_number`; calls
    between inside parties, and numbers that have none, by what was sent."""
    c = calls.c
    raw = text.strip()[:MAX_TEXT]
    digits = re.sub(r"\D", "", raw)
    spellings = sorted({raw, digits, f"+{digits}"} - {"", "+"})
    if not spellings:
        return false()
    as_sent = or_(*(column.in_(spellings) for column in (c.caller_number, c.callee_number, c.dialed_number)))
    e164 = read_number(raw, replace(NumberPlan(extensions=r"(?!)"), region=region)).e164
    if e164 is not None:
        sides = or_(c.caller_e164 == e164, c.callee_e164 == e164)
        return or_(c.external_number == e164, and_(c.external_number.is_(None), or_(sides, as_sent)))
    national = digits.lstrip("0")
    if len(national) >= SUFFIX_DIGITS:
        return or_(c.external_number.endswith(national), as_sent)
    return as_sent
