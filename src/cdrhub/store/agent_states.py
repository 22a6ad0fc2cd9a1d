"""States of agents in the database: one row for each message that tells one, written with its record.

A row is keyed by its message and by the source whose agents they are, so that the same message over two ways (two hubs,
a live feed and a file) is one row. The message is the vendor's event, where that has an id and can be written in two
ways, else the record. The insertion of the records decides what is new; only a source that is joined `into` another
one, or an event in another encoding, can bring a message that is there already under another record.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, cast

from sqlalchemy import select

from cdrhub.model.agent import AgentState
from cdrhub.model.record import RawRecord, digest_of
from cdrhub.store.batch import Item
from cdrhub.store.rows import Row, json_list
from cdrhub.store.tables import agent_states
from cdrhub.store.transaction import RecordKey, Transaction, by_source

AGENT_STATE_COLUMNS = (
    "source",
    "digest",
    "tenant",
    "agent_id",
    "at",
    "kind",
    "state",
    "state_raw",
    "reason",
    "queue",
    "sequence",
    "flags",
    "received_at",
)

AgentStateRow = Mapping[str, Any]
"""All columns of an agent's state by name; times aware, UTC."""


def message_digest(record: RawRecord, event_id: str | None) -> bytes:
    """What tells a message from all others of its source: the digest of its event's id, else of its record."""
    return record.digest if event_id is None else digest_of(event_id.encode("utf-8", "surrogatepass"))


def state_row(item: Item, state: AgentState) -> Row:
    """The row of AGENT_STATE_COLUMNS; `item` is the record that says so."""
    record = item.record
    return (
        item.owner,
        message_digest(record, state.event_id),
        item.tenant,
        state.agent_id,
        state.at or record.received_at,
        state.kind.value,
        state.state.value,
        state.state_raw,
        state.reason,
        state.queue,
        state.sequence,
        json_list(state.flags),
        record.received_at,
    )


async def add_states(tx: Transaction, items: Iterable[Item], *, expect_new: bool) -> None:
    """Write the states among these items, whose records are inserted already, in the order in which they happened:
    of those that share a moment the last one has the highest id.

    `expect_new` as in `Transaction.insert_records`: a wrong guess raises a unique violation, after which the batch is
    written again without guessing.
    """
    rows: dict[RecordKey, Row] = {}
    for item in items:
        if isinstance(item.outcome, AgentState):
            row = state_row(item, item.outcome)
            rows[row[0], row[1]] = row
    if not rows:
        return
    if not expect_new:
        for key in await known_states(tx, rows):
            del rows[key]
    await tx.append(agent_states, AGENT_STATE_COLUMNS, sorted(rows.values(), key=_in_time))


def _in_time(row: Row) -> tuple[Any, ...]:
    its = dict(zip(AGENT_STATE_COLUMNS, row, strict=True))
    return its["source"], its["at"], its["sequence"] or 0, its["received_at"], its["digest"]


async def known_states(tx: Transaction, keys: Iterable[RecordKey]) -> dict[RecordKey, AgentStateRow]:
    """The rows that are there, by (source, digest)."""
    found: dict[RecordKey, AgentStateRow] = {}
    for source, digests in by_source(sorted(keys)):
        rows = await tx.connection.execute(
            select(agent_states).where(agent_states.c.digest.in_(digests), agent_states.c.source == source)
        )
        found |= {(source, row.digest): cast("AgentStateRow", row._mapping) for row in rows}
    return found
