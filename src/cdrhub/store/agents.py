"""Reading states of agents: by time, source and agent, page by page."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, cast

from sqlalchemy import Select, or_, select

from cdrhub.store.agent_states import AgentStateRow
from cdrhub.store.store import Store
from cdrhub.store.tables import agent_states

PAGE = 500


@dataclass(frozen=True, kw_only=True, slots=True)
class AgentStateFilter:
    """Which states to list. Times are aware, [since, until) of `at`; everything else must equal."""

    since: datetime | None = None
    until: datetime | None = None
    source: str | None = None
    tenant: str | None = None
    agent: str | None = None
    kind: str | None = None


async def each_state(
    store: Store, chosen: AgentStateFilter, *, limit: int | None = None
) -> AsyncIterator[AgentStateRow]:
    """The states that `chosen` describes (or the newest `limit`), newest first; one page in memory at a time. Raises
    StoreUnavailable."""
    last: AgentStateRow | None = None
    left = limit
    while left is None or left > 0:
        size = PAGE if left is None else min(PAGE, left)
        async with store.database.connect() as connection:
            rows = (await connection.execute(_page(chosen, after=last).limit(size))).all()
        for row in rows:
            last = cast("AgentStateRow", row._mapping)
            yield last
        if len(rows) < size:
            return
        if left is not None:
            left -= len(rows)


def _page(chosen: AgentStateFilter, *, after: AgentStateRow | None) -> Select[Any]:
    c = agent_states.c
    query = select(agent_states).order_by(c.at.desc(), c.id.desc())
    if chosen.since is not None:
        query = query.where(c.at >= chosen.since)
    if chosen.until is not None:
        query = query.where(c.at < chosen.until)
    for column, value in (
        (c.source, chosen.source),
        (c.tenant, chosen.tenant),
        (c.agent_id, chosen.agent),
        (c.kind, chosen.kind),
    ):
        if value is not None:
            query = query.where(column == value)
    if after is not None:
        # Said twice on purpose: the first half alone is a range that every engine finds in the index.
        query = query.where(c.at <= after["at"], or_(c.at < after["at"], c.id < after["id"]))
    return query
