"""Replay of agents' states: their stored records read anew, with a decoder or settings that may differ from then.

A record is one state or none, so there is nothing to fold: a row is changed, made or taken away. What is not understood
any more goes into suspense, and so does what is a record of a call now: `cdrhub suspense replay` lets it take the same
way into its call as one that just arrived. Records that retention has emptied are left as they are.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from functools import partial
from typing import Any

from sqlalchemy import delete, or_, select, update

from cdrhub.model.agent import AgentState
from cdrhub.model.record import INFERENCE
from cdrhub.store.agent_states import (
    AGENT_STATE_COLUMNS,
    AgentStateRow,
    add_states,
    known_states,
    message_digest,
    state_row,
)
from cdrhub.store.batch import Item, Reread
from cdrhub.store.engine import RefusedError
from cdrhub.store.replay import Difference, applied, relabel, unchanged, what_became
from cdrhub.store.rows import APPLIED, SUSPENDED
from cdrhub.store.store import Store
from cdrhub.store.tables import agent_states, records
from cdrhub.store.transaction import RecordKey, StoredRecord, Transaction

RECORDS_AT_ONCE = 500

_KEY = frozenset({"source", "digest"})
_COMPARED = tuple(name for name in AGENT_STATE_COLUMNS if name not in _KEY | {"tenant", "received_at"})


async def replay_states(
    store: Store,
    *,
    reread: Reread,
    since: datetime | None = None,
    until: datetime | None = None,
    source: str | None = None,
    dry_run: bool = False,
) -> AsyncIterator[Difference]:
    """Read anew every record of an agent received in [since, until) from `source`, and yield what that changed.

    Without `dry_run` what is yielded is committed. Raises StoreUnavailable; running it again goes on where it stopped.
    """
    last = 0
    chosen = [
        records.c.call_id.is_(None),
        records.c.content_type != INFERENCE,
        or_(records.c.body.is_not(None), records.c.repaired_body.is_not(None)),
        *applied(since=since, until=until, source=source),
    ]
    while True:
        query = select(records.c.id).where(records.c.id > last, *chosen).order_by(records.c.id).limit(RECORDS_AT_ONCE)
        async with store.database.connect() as connection:
            ids = (await connection.scalars(query)).all()
        if not ids:
            return
        last = ids[-1]
        for difference in await _written(store, ids, reread=reread, dry_run=dry_run):
            yield difference


async def _written(store: Store, ids: Sequence[int], *, reread: Reread, dry_run: bool) -> list[Difference]:
    """One transaction; halved where the database refuses a value: that record stays as it is."""
    try:
        return await store.database.write(partial(_some, ids, reread=reread, dry_run=dry_run))
    except RefusedError as error:
        if len(ids) == 1:
            async with store.database.connect() as connection:
                source = await connection.scalar(select(records.c.source).where(records.c.id == ids[0]))
            fields = unchanged(ids, error)
            return [Difference(what="failed", source=str(source), call_key="", call_id="", fields=fields)]
        middle = len(ids) // 2
        halves = (ids[:middle], ids[middle:])
        return [one for half in halves for one in await _written(store, half, reread=reread, dry_run=dry_run)]


async def _some(ids: Sequence[int], tx: Transaction, *, reread: Reread, dry_run: bool) -> list[Difference]:
    await tx.any_unopened()
    stored = await tx.locked_records(ids)
    read = [
        (one, reread(one.record))
        for one in stored
        if one.record is not None and one.state == APPLIED and one.call_id is None
    ]
    known = await known_states(tx, (key for _, item in read for key in _keys(item)))
    differences: list[Difference] = []
    states: list[tuple[StoredRecord, Item]] = []
    for one, item in read:
        row = next((known[key] for key in _keys(item) if key in known), None)
        if isinstance(item.outcome, AgentState):
            states.append((one, item))
            if fields := _changes(one, item, item.outcome, row):
                differences.append(_difference("created" if row is None else "changed", item, fields))
                if row is not None and not dry_run:
                    await _change(tx, item, item.outcome, row)
        elif row is not None:
            differences.append(await _take_away(tx, one, item, row, dry_run=dry_run))
    if not dry_run:
        await add_states(tx, (item for _, item in states), expect_new=False)
        await relabel(tx, states)
    return differences


def _keys(item: Item) -> tuple[RecordKey, ...]:
    """The keys under which the row of a record may stand: that of the state it tells or, if it no longer tells one,
    those that an earlier one can have had."""
    if isinstance(item.outcome, AgentState):
        return ((item.owner, message_digest(item.record, item.outcome.event_id)),)
    record = item.record
    return ((item.owner, message_digest(record, record.event_id)), (item.owner, record.digest))


def _difference(what: str, item: Item, fields: dict[str, tuple[Any, Any]]) -> Difference:
    return Difference(what=what, source=item.owner, call_key="", call_id="", fields=fields)


def _changes(one: StoredRecord, item: Item, state: AgentState, row: AgentStateRow | None) -> dict[str, tuple[Any, Any]]:
    """Each column's old and new value, where they differ, under the agent and the number of the record."""
    new = _by_name(item, state)
    before = {name: None if row is None else row[name] for name in new}
    return {
        f"agent {state.agent_id}, record {one.id}.{name}": (before[name], new[name])
        for name in new
        if before[name] != new[name]
    }


def _by_name(item: Item, state: AgentState) -> dict[str, Any]:
    values = dict(zip(AGENT_STATE_COLUMNS, state_row(item, state), strict=True)) | {"flags": list(state.flags)}
    return {name: values[name] for name in _COMPARED}


async def _change(tx: Transaction, item: Item, state: AgentState, row: AgentStateRow) -> None:
    await tx.connection.execute(
        update(agent_states).where(agent_states.c.id == row["id"]).values(_by_name(item, state))
    )


async def _take_away(
    tx: Transaction, one: StoredRecord, item: Item, row: AgentStateRow, *, dry_run: bool
) -> Difference:
    """A record that says nothing of an agent any more."""
    state, reason, detail = what_became(item.outcome, "it is a record of a call now")
    if not dry_run:
        await tx.connection.execute(delete(agent_states).where(agent_states.c.id == row["id"]))
        await tx.connection.execute(
            update(records).where(records.c.id == one.id).values(state=state, reason=reason, detail=detail)
        )
    after = state if detail is None else f"{state}: {detail}"
    return _difference(
        "suspended" if state == SUSPENDED else "withdrawn",
        item,
        {f"agent {row['agent_id']}, record {one.id}": (row["state"], after)},
    )
