"""Suspense: records that could not be understood, kept until someone repairs, replays or discards them.

Every act is written down with who did it, when and why. The body as it came is never changed: a repair is kept beside
it. A repaired or replayed record takes the same way into its call as one that just arrived.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from typing import Any, Self

from sqlalchemy import Row, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from cdrhub.errors import DecodeError, NotFound, Reason, StoreError, UsageError
from cdrhub.model.agent import AgentState
from cdrhub.model.inference import Coverage
from cdrhub.model.record import RawRecord
from cdrhub.model.update import MAX_TEXT, CallUpdate
from cdrhub.parts import in_parts
from cdrhub.store.agent_states import add_states
from cdrhub.store.batch import Item, Reread
from cdrhub.store.engine import RefusedError
from cdrhub.store.folding import Folded, FoldError, Group
from cdrhub.store.rows import (
    APPLIED,
    COVERAGE_COLUMNS,
    DISCARDED,
    IGNORED,
    SUSPENDED,
    coverage_row,
    storable_detail,
)
from cdrhub.store.store import Store
from cdrhub.store.tables import coverage, record_audit, records
from cdrhub.store.transaction import CallKey, StoredRecord, Transaction

LISTED = 100  #: records listed at once, unless asked for more
AT_ONCE = 500  #: records replayed in one transaction, or discarded with one statement


@dataclass(frozen=True, kw_only=True, slots=True)
class RecordRow:
    """A record as the store has it. `body` is None once retention emptied it."""

    id: int
    source: str
    received_at: datetime
    state: str
    reason: str | None
    detail: str | None
    content_type: str
    body: bytes | None
    repaired_body: bytes | None
    attributes: Mapping[str, Any]
    event_id: str | None
    digest: bytes
    call_id: str | None
    decoder_revision: int
    config_revision: str

    @classmethod
    def of(cls, row: Row[Any]) -> Self:
        """That of a row with all columns of `records`."""
        return cls(**row._mapping)


@dataclass(frozen=True, kw_only=True, slots=True)
class Act:
    """One line of a record's audit."""

    at: datetime
    actor: str
    action: str  #: edited, replayed, discarded
    why: str | None
    before: Any
    after: Any


@dataclass(slots=True)
class Replayed:
    """What a replay of suspended records did. `remaining` has the number and the new reason of those that failed."""

    applied: int = 0
    ignored: int = 0
    skipped: int = 0  #: not in suspense (any more), or their body is gone
    remaining: list[tuple[int, str, str]] = field(default_factory=list)


async def listed(
    store: Store,
    *,
    source: str | None = None,
    reason: str | None = None,
    received_before: datetime | None = None,
    received_since: datetime | None = None,
    after: int = 0,
    limit: int = LISTED,
) -> list[RecordRow]:
    """Records in suspense in the order of their numbers, from the one after number `after`."""
    query = select(records).where(records.c.state == SUSPENDED, records.c.id > after)
    if source is not None:
        query = query.where(records.c.source == source)
    if reason is not None:
        query = query.where(records.c.reason == reason)
    if received_before is not None:
        query = query.where(records.c.received_at < received_before)
    if received_since is not None:
        query = query.where(records.c.received_at >= received_since)
    async with store.database.connect() as connection:
        return [RecordRow.of(row) for row in await connection.execute(query.order_by(records.c.id).limit(limit))]


async def shown(store: Store, record_id: int) -> tuple[RecordRow, list[Act]]:
    """One record, whatever its state, and what was done with it. Raises NotFound."""
    async with store.database.connect() as connection:
        row = (await connection.execute(select(records).where(records.c.id == record_id))).first()
        if row is None:
            raise NotFound(f"there is no record {record_id}")
        audit = await connection.execute(
            select(record_audit).where(record_audit.c.record_id == record_id).order_by(record_audit.c.id)
        )
        return RecordRow.of(row), [
            Act(at=a.at, actor=a.actor, action=a.action, why=a.why, before=a.before, after=a.after) for a in audit
        ]


async def in_suspense(store: Store, record_id: int) -> RecordRow:
    """One record that waits for a person. Raises NotFound, UsageError if it is not in suspense."""
    record, _ = await shown(store, record_id)
    _refuse_unless_suspended(record_id, record.state)
    return record


async def edit(
    store: Store, record_id: int, body: bytes, *, actor: str, why: str | None = None, seen: RecordRow | None = None
) -> None:
    """Keep a repaired body beside the one that came. Raises NotFound, UsageError if it is not in suspense, or was
    repaired by somebody else since it was `seen`."""
    async with store.database.connect(writing=True) as connection:
        await _in_suspense(connection, [record_id])
        if seen is not None:
            present = await connection.scalar(select(records.c.repaired_body).where(records.c.id == record_id))
            if present != seen.repaired_body:
                raise UsageError(
                    f"record {record_id} was repaired meanwhile: look at it with `cdrhub suspense show {record_id}`, "
                    "then edit it again"
                )
        await connection.execute(update(records).where(records.c.id == record_id).values(repaired_body=body))
        await _note(store, connection, [record_id], actor=actor, action="edited", why=why)


async def discard(store: Store, record_ids: Sequence[int], *, actor: str, why: str) -> int:
    """Take records out of suspense for good, and say how many. `why` is required. Raises NotFound, UsageError."""
    if not why.strip():
        raise UsageError("say why the record is discarded")
    async with store.database.connect(writing=True) as connection:
        for some in in_parts(record_ids, AT_ONCE):
            await _in_suspense(connection, some)
            await connection.execute(update(records).where(records.c.id.in_(some)).values(state=DISCARDED))
            await _note(store, connection, some, actor=actor, action="discarded", why=why)
    return len(record_ids)


async def replay(
    store: Store,
    record_ids: Sequence[int],
    *,
    reread: Reread,
    actor: str,
    why: str | None = None,
    progress: Callable[[int], None] | None = None,
) -> Replayed:
    """Decode records anew: they become part of their calls, or stay in suspense with their new reason.

    `progress` is called with the number done after each transaction.
    """
    total = Replayed()
    done = 0
    for some in in_parts(record_ids, AT_ONCE):
        await _replay(store, some, total, reread=reread, actor=actor, why=why)
        done += len(some)
        if progress is not None:
            progress(done)
    return total


async def _replay(
    store: Store, record_ids: Sequence[int], total: Replayed, *, reread: Reread, actor: str, why: str | None
) -> None:
    """One transaction; halved where the database refuses a value or our own code fails."""
    try:
        done, outcome = await store.database.write(
            partial(_replay_in, store, record_ids, reread=reread, actor=actor, why=why)
        )
    except (RefusedError, FoldError) as error:
        if len(record_ids) == 1:
            refused = partial(_refused, reread=reread, error=error)
            await _replay(store, record_ids, total, reread=refused, actor=actor, why=why)
            return
        middle = len(record_ids) // 2
        await _replay(store, record_ids[:middle], total, reread=reread, actor=actor, why=why)
        await _replay(store, record_ids[middle:], total, reread=reread, actor=actor, why=why)
        return
    store.folding.remember(outcome)
    total.applied += done.applied
    total.ignored += done.ignored
    total.skipped += done.skipped
    total.remaining += done.remaining


def _refused(record: RawRecord, *, reread: Reread, error: StoreError) -> Item:
    reason = Reason.DECODER_BUG if isinstance(error, FoldError) else Reason.STORE_REFUSED
    return replace(reread(record), outcome=DecodeError(reason, str(error)))


async def _replay_in(
    store: Store, record_ids: Sequence[int], tx: Transaction, *, reread: Reread, actor: str, why: str | None
) -> tuple[Replayed, Folded]:
    now = store.clock()
    waiting = await tx.any_unopened()
    stored = [r for r in await tx.locked_records(record_ids) if r.state == SUSPENDED and r.record is not None]
    done = Replayed(skipped=len(record_ids) - len(stored))
    items = [(record, reread(record.record)) for record in stored if record.record is not None]
    groups = store.folding.grouped(item for _, item in items)
    for record, item in items:
        await _set(tx.connection, record, item, call_id=_call_id(item, groups), done=done)
    await add_states(tx, (item for _, item in items), expect_new=False)
    await tx.append(
        coverage,
        COVERAGE_COLUMNS,
        [coverage_row(i.record.source, i.outcome) for _, i in items if isinstance(i.outcome, Coverage)],
    )
    outcome = await store.folding.write_groups(tx, groups, now=now, expect_new=False, waiting=waiting)
    await _note(store, tx.connection, [r.id for r in stored], actor=actor, action="replayed", why=why)
    return done, outcome


def _call_id(item: Item, groups: Mapping[CallKey, Group]) -> str | None:
    """The id of the call that a record belongs to; None if it belongs to none, or to one that nothing opens yet."""
    if not isinstance(item.outcome, CallUpdate):
        return None
    group = groups[item.owner, item.outcome.call_key]
    return group.call_id if group.is_open else None


async def _set(
    connection: AsyncConnection, record: StoredRecord, item: Item, *, call_id: str | None, done: Replayed
) -> None:
    """Write what became of one record."""
    outcome = item.outcome
    values: dict[str, Any] = {
        "decoder_revision": item.decoder_revision,
        "config_revision": item.record.config_revision,
    }
    if isinstance(outcome, DecodeError):
        detail = storable_detail(outcome.detail)
        values |= {"reason": outcome.reason.value, "detail": detail}
        done.remaining.append((record.id, outcome.reason.value, detail))
    elif isinstance(outcome, CallUpdate | AgentState | Coverage):
        values |= {"state": APPLIED, "call_id": call_id}
        done.applied += 1
    else:
        values |= {"state": IGNORED}
        done.ignored += 1
    await connection.execute(update(records).where(records.c.id == record.id).values(values))


async def _in_suspense(connection: AsyncConnection, record_ids: Sequence[int]) -> None:
    """Lock these records, AT_ONCE at most. Raises NotFound, UsageError for the first that is not in suspense."""
    mine = select(records.c.id, records.c.state).where(records.c.id.in_(record_ids))
    states = {row.id: row.state for row in await connection.execute(mine.order_by(records.c.id).with_for_update())}
    for record_id in record_ids:
        if record_id not in states:
            raise NotFound(f"there is no record {record_id}")
        _refuse_unless_suspended(record_id, states[record_id])


def _refuse_unless_suspended(record_id: int, state: str) -> None:
    if state != SUSPENDED:
        raise UsageError(f"record {record_id} is {state}, not in suspense")


async def _note(
    store: Store,
    connection: AsyncConnection,
    record_ids: Sequence[int],
    *,
    actor: str,
    action: str,
    why: str | None,
) -> None:
    """Write the audit of one act: what state and reason each record has after it."""
    if not record_ids:
        return
    now = store.clock()
    rows = await connection.execute(
        select(records.c.id, records.c.state, records.c.reason, records.c.call_id).where(records.c.id.in_(record_ids))
    )
    await connection.execute(
        insert(record_audit),
        [
            {
                "record_id": row.id,
                "at": now,
                "actor": actor[:MAX_TEXT],
                "action": action,
                "why": None if why is None else storable_detail(why),
                "before": {"state": SUSPENDED},
                "after": {"state": row.state, "reason": row.reason, "call_id": row.call_id},
            }
            for row in rows
        ],
    )
