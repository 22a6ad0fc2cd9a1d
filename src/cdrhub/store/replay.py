"""Replay: calls folded anew from their stored records, with a decoder or settings that may differ from then.

It works on the union of old and new calls: a record may move to another call; a call that is left without records is
*withdrawn* and says what replaced it. Attached columns (id, case, attempt, what was announced) stay. Calls whose
records retention has emptied are left as they are; so are, and are told as *failed*, those that cannot be folded or
that the database refuses: a call that was understood once is worth more than its records in suspense.

Nothing is decided, for no `call.settled` is ever written here; and nobody is told, unless the caller gives an
`Announce`, which writes public facts into the same transaction. A call that waits for its own decision goes on waiting
for it: the engine decides about it, and tells of it, as it would have without the replay.

A dry run writes nothing and finds the same differences; a replay of what was just replayed finds none.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from typing import Any, Protocol

import orjson
from sqlalchemy import ColumnElement, func, select, update

from cdrhub.errors import DecodeError, Reason, StoreError
from cdrhub.model.call import Call
from cdrhub.model.disposition import State
from cdrhub.model.update import CallUpdate, Ignored
from cdrhub.parts import in_parts
from cdrhub.store.batch import Item, Outcome, Reread
from cdrhub.store.engine import RacedError, RefusedError
from cdrhub.store.folding import FoldError, fold_call, new_call_id
from cdrhub.store.outbox import SETTLED
from cdrhub.store.rows import (
    APPLIED,
    FOLDED_COLUMNS,
    IGNORED,
    LEG_COLUMNS,
    SUSPENDED,
    UNOPENED_COLUMNS,
    Row,
    call_row,
    leg_rows,
    storable_detail,
)
from cdrhub.store.store import Store
from cdrhub.store.tables import call_legs, calls, outbox, records, unopened
from cdrhub.store.transaction import KEYS_PER_STATEMENT, CallKey, StoredRecord, Transaction

CALLS_AT_ONCE = 200
RACES = 10

_LEG_VALUES = [name for name in LEG_COLUMNS if name not in ("call_id", "leg_key", "hour")]  #: what records say of one

Progress = Callable[[int, int], None]
"""Told how many calls are done, of how many."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Difference:
    """What replaying changed of one call, or of one state of an agent (then without key and id): each field's old and
    new value.

    `what` is changed, created, withdrawn, suspended (one of its records is not understood any more) or failed (it
    stays as it is; the fields name its records and say why). `event` is the type of the event that tells of it, None
    where nobody is told.
    """

    what: str
    source: str
    call_key: str
    call_id: str
    fields: Mapping[str, tuple[Any, Any]] = field(default_factory=dict)
    event: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Altered:
    """A call with columns that changed, or that was made or withdrawn; none that waits for its decision."""

    columns: Mapping[str, Any]
    """Its row as it now stands; in a dry run as it would, and of a call that would be made only what is folded."""
    before: str | None  #: its state until now, None if it is new


class Announce(Protocol):
    """Tells of calls, in the transaction that changed them, which holds their locks; in a dry run it only says what it
    would tell."""

    async def __call__(
        self, tx: Transaction, altered: Sequence[Altered], *, now: datetime, dry_run: bool
    ) -> Mapping[str, str]:
        """The types of the events by the ids of the calls."""
        ...


@dataclass(slots=True)
class _Union:
    """Calls that exchange records, and all of those."""

    records: dict[int, StoredRecord] = field(default_factory=dict)
    items: dict[int, Item] = field(default_factory=dict)
    rows: dict[str, dict[str, Any]] = field(default_factory=dict)  #: old calls by id
    sealed: set[str] = field(default_factory=set)

    def ids(self) -> dict[CallKey, str]:
        """The old calls by their keys."""
        return {(row["source"], row["call_key"]): call_id for call_id, row in self.rows.items()}

    def by_key(self) -> dict[CallKey, list[StoredRecord]]:
        """The records of each new call."""
        found: dict[CallKey, list[StoredRecord]] = {}
        for number, item in self.items.items():
            if isinstance(item.outcome, CallUpdate):
                found.setdefault((item.owner, item.outcome.call_key), []).append(self.records[number])
        return found

    def leave(self, key: CallKey, its: Iterable[StoredRecord]) -> None:
        """Leave alone the call of this key and those that its records are in."""
        self.sealed |= {str(record.call_id) for record in its}
        self.sealed |= {call_id for known, call_id in self.ids().items() if known == key}
        self.leave_sealed()

    def leave_sealed(self) -> None:
        """Leave alone every call with a record that now belongs to a sealed one, and so on: a sealed call cannot be
        folded anew, so no record may move into it."""
        ids = self.ids()
        while True:
            entangled = {
                str(self.records[number].call_id)
                for number, item in self.items.items()
                if isinstance(item.outcome, CallUpdate) and ids.get((item.owner, item.outcome.call_key)) in self.sealed
            }
            self.sealed |= entangled
            for number in [n for n, record in self.records.items() if record.call_id in self.sealed]:
                del self.records[number], self.items[number]
            if not entangled:
                return


async def replay(
    store: Store,
    *,
    reread: Reread,
    since: datetime | None = None,
    until: datetime | None = None,
    source: str | None = None,
    dry_run: bool = False,
    announce: Announce | None = None,
    progress: Progress | None = None,
) -> AsyncIterator[Difference]:
    """Fold anew every call with a record received in [since, until) from `source`, and yield what that changed; tell of
    it by `announce`.

    Without `dry_run` what is yielded is committed. Raises StoreUnavailable; running it again goes on where it stopped.
    """
    chosen = [records.c.call_id.is_not(None), *applied(since=since, until=until, source=source)]
    total = await _count(store, chosen) if progress is not None else 0
    done = 0
    told: set[tuple[str, CallKey]] = set()
    last: str | None = None
    while call_ids := await _next_calls(store, chosen, last):
        last = call_ids[-1]
        for difference in await _some(store, call_ids, reread=reread, dry_run=dry_run, announce=announce):
            name = (difference.what, (difference.source, difference.call_key))
            if name not in told:
                told.add(name)
                yield difference
        done += len(call_ids)
        if progress is not None:
            progress(done, max(total, done))


def applied(*, since: datetime | None, until: datetime | None, source: str | None) -> list[ColumnElement[bool]]:
    """Conditions of records that are applied, received in [since, until) from `source`; None demands nothing."""
    found = [records.c.state == APPLIED]
    if since is not None:
        found.append(records.c.received_at >= since)
    if until is not None:
        found.append(records.c.received_at < until)
    if source is not None:
        found.append(records.c.source == source)
    return found


async def _count(store: Store, chosen: Sequence[ColumnElement[bool]]) -> int:
    async with store.database.connect() as connection:
        return await connection.scalar(select(func.count(records.c.call_id.distinct())).where(*chosen)) or 0


async def _next_calls(store: Store, chosen: Sequence[ColumnElement[bool]], last: str | None) -> Sequence[str]:
    query = select(records.c.call_id).where(*chosen).group_by(records.c.call_id).order_by(records.c.call_id)
    if last is not None:
        query = query.where(records.c.call_id > last)
    async with store.database.connect() as connection:
        return (await connection.scalars(query.limit(CALLS_AT_ONCE))).all()


async def _some(
    store: Store, call_ids: Sequence[str], *, reread: Reread, dry_run: bool, announce: Announce | None
) -> list[Difference]:
    for _ in range(RACES):
        try:
            differences = await store.database.write(
                partial(_in_transaction, call_ids, reread=reread, dry_run=dry_run, announce=announce, store=store)
            )
        except RacedError:
            continue
        except RefusedError as error:
            if len(call_ids) == 1:
                return [await _refused(store, call_ids[0], error)]
            half = partial(_some, store, reread=reread, dry_run=dry_run, announce=announce)
            middle = len(call_ids) // 2
            return [*await half(call_ids[:middle]), *await half(call_ids[middle:])]
        for difference in differences:
            store.folding.memory.drop((difference.source, difference.call_key))
        return differences
    raise StoreError("the calls that are replayed change faster than they can be replayed")


async def _refused(store: Store, call_id: str, error: RefusedError) -> Difference:
    """What is told of a call of which the database refuses what it would become."""
    async with store.database.connect() as connection:
        named = select(calls.c.source, calls.c.call_key).where(calls.c.id == call_id)
        call = (await connection.execute(named)).one()
        its = select(records.c.id).where(records.c.call_id == call_id).order_by(records.c.id)
        fields = unchanged(await connection.scalars(its), error)
    return Difference(what="failed", source=call.source, call_key=call.call_key, call_id=call_id, fields=fields)


async def _in_transaction(
    call_ids: Sequence[str],
    tx: Transaction,
    *,
    reread: Reread,
    dry_run: bool,
    announce: Announce | None,
    store: Store,
) -> list[Difference]:
    union = await _gather(tx, call_ids, reread=reread)
    plan = _Plan(now=store.clock(), dry_run=dry_run)
    folded = plan.fold(union)
    by_key = union.by_key()
    lost = [union.records[n] for n, item in union.items.items() if not isinstance(item.outcome, CallUpdate)]
    old = {key: union.rows[call_id] for key, call_id in union.ids().items() if call_id not in union.sealed}
    for call in await tx.lock_calls(sorted(old.keys() | by_key.keys())):
        known = old.get((call.source, call.call_key))
        if known is None or known["revision"] != call.revision:
            raise RacedError  # written by somebody else since it was read
    for key, its in sorted(by_key.items()):
        await plan.refold(tx, key, folded[key], its=its, union=union, old=old.get(key))
    await plan.withdraw(tx, old, by_key, union)
    await plan.set_aside(tx, lost, union)
    waiting = await plan.keep_waiting(tx)
    if announce is not None:
        await plan.announce(tx, announce, waiting)
    return plan.differences


async def _gather(tx: Transaction, call_ids: Sequence[str], *, reread: Reread) -> _Union:
    """The given calls, and every call that gets or gives a record of theirs.

    Rows are read before their records: a record that arrives in between has raised the row's revision by the time
    the row is locked.
    """
    union = _Union()
    todo = set(call_ids)
    await tx.any_unopened()
    while todo:
        union.rows |= await tx.call_rows(sorted(todo))
        found = await tx.records_of(sorted(todo))
        union.sealed |= {str(r.call_id) for r in found if r.record is None}
        keys: set[CallKey] = set()
        for stored in found:
            if stored.record is not None and stored.call_id in union.rows and stored.call_id not in union.sealed:
                item = reread(stored.record)
                if not item.configured:
                    row = union.rows[stored.call_id]
                    item = replace(item, owner=row["source"], system=row["system"], tenant=row["tenant"])
                union.records[stored.id], union.items[stored.id] = stored, item
                if isinstance(item.outcome, CallUpdate):
                    keys.add((item.owner, item.outcome.call_key))
        todo = {call.id for call in await tx.lock_calls(sorted(keys))} - union.rows.keys() if keys else set()
    union.leave_sealed()
    return union


@dataclass(frozen=True, slots=True)
class _Turn:
    """What a call turns into: its row until now (None if it is new), and the columns that differ."""

    old: Mapping[str, Any] | None
    columns: Mapping[str, Any]

    @property
    def state(self) -> str:
        return str(self.columns["state"] if "state" in self.columns or self.old is None else self.old["state"])


@dataclass(slots=True)
class _Plan:
    """Writes the new calls, and notes how they differ from the old ones."""

    now: datetime
    dry_run: bool
    differences: list[Difference] = field(default_factory=list)
    turns: dict[str, _Turn] = field(default_factory=dict)  #: calls by id whose rows are written, or would be

    def fold(self, union: _Union) -> dict[CallKey, Call]:
        """The new calls. One that cannot be folded is left alone, with all calls that it exchanges records with; then
        the others, which may have lost records by that, are folded again."""
        while True:
            folded: dict[CallKey, Call] = {}
            failed: list[tuple[CallKey, list[StoredRecord]]] = []
            for key, its in sorted(union.by_key().items()):
                outcomes = (union.items[record.id].outcome for record in its)
                try:
                    folded[key] = fold_call(key, [update for update in outcomes if isinstance(update, CallUpdate)])
                except FoldError as error:
                    failed.append((key, its))
                    call_id = union.ids().get(key, str(its[0].call_id))
                    self._tell("failed", key, call_id, unchanged((record.id for record in its), error))
            if not failed:
                return folded
            for key, its in failed:
                union.leave(key, its)

    async def refold(
        self,
        tx: Transaction,
        key: CallKey,
        call: Call,
        *,
        its: Sequence[StoredRecord],
        union: _Union,
        old: Mapping[str, Any] | None,
    ) -> None:
        """Make `call`, of this key and all its records, of the old one."""
        if not call.opened and old is None:
            if not self.dry_run:
                await tx.append(unopened, UNOPENED_COLUMNS, [(*key, *record.key, self.now) for record in its])
                await tx.link_records((record.key, None) for record in its)
            return
        call_id = new_call_id() if old is None else str(old["id"])
        moved = [record for record in its if record.call_id != call_id]
        fields = await self._compare(tx, call, old)
        if moved or fields:
            self.turns[call_id] = _Turn(old, _turned(call, fields, new=old is None))
        if self.dry_run:
            self._tell("created" if old is None else "changed", key, call_id, fields)
            return
        await relabel(tx, ((record, union.items[record.id]) for record in its))
        if moved or fields:
            await tx.link_records((record.key, call_id) for record in moved)
            await self._write(tx, call, call_id=call_id, item=union.items[its[0].id], its=its, old=old)
        self._tell("created" if old is None else "changed", key, call_id, fields)

    async def _write(
        self,
        tx: Transaction,
        call: Call,
        *,
        call_id: str,
        item: Item,
        its: Sequence[StoredRecord],
        old: Mapping[str, Any] | None,
    ) -> None:
        received = [record.received_at for record in its]
        row: Row = call_row(
            call,
            call_id=call_id,
            item=item,
            record_count=len(its),
            revision=1 if old is None else old["revision"] + 1,
            received=(min(received), max(received)),
            now=self.now,
        )
        if old is None:
            if await tx.insert_calls([row], expect_new=False) == set():
                raise RacedError
        else:
            await tx.update_calls([row])
            await tx.delete_legs([call_id])
        await tx.append(call_legs, LEG_COLUMNS, leg_rows(call_id, call, received_at=min(received)))

    async def withdraw(
        self,
        tx: Transaction,
        old: Mapping[CallKey, Mapping[str, Any]],
        by_key: Mapping[CallKey, Sequence[StoredRecord]],
        union: _Union,
    ) -> None:
        """Old calls that no record names any more."""
        gone = {str(row["id"]): (key, row) for key, row in old.items() if key not in by_key}
        heirs: dict[str, CallKey] = {}
        for number, record in sorted(union.records.items()):
            outcome = union.items[number].outcome
            if record.call_id in gone and isinstance(outcome, CallUpdate):
                heirs.setdefault(str(record.call_id), (union.items[number].owner, outcome.call_key))
        new_ids = {(call.source, call.call_key): call.id for call in await tx.lock_calls(sorted(set(heirs.values())))}
        for call_id, (key, row) in gone.items():
            if row["state"] == State.WITHDRAWN:
                continue
            heir = new_ids.get(heirs[call_id]) if call_id in heirs else None
            self._tell("withdrawn", key, call_id, {"state": (row["state"], State.WITHDRAWN.value)})
            self.turns[call_id] = _Turn(row, {"state": State.WITHDRAWN.value})
            if not self.dry_run:
                await tx.connection.execute(
                    update(calls)
                    .where(calls.c.id == call_id)
                    .values(
                        state=State.WITHDRAWN.value,
                        replaced_by=heir,
                        revision=row["revision"] + 1,
                        record_count=0,
                        updated_at=self.now,
                    )
                )

    async def set_aside(self, tx: Transaction, lost: Sequence[StoredRecord], union: _Union) -> None:
        """Records that say nothing of a call any more."""
        for record in lost:
            row = union.rows[str(record.call_id)]
            state, reason, detail = what_became(union.items[record.id].outcome, "it is no record of a call any more")
            self._tell(
                "suspended" if state == SUSPENDED else "changed",
                (row["source"], row["call_key"]),
                str(record.call_id),
                {f"record {record.id}": (APPLIED, state if detail is None else f"{state}: {detail}")},
            )
            if not self.dry_run:
                await tx.connection.execute(
                    update(records)
                    .where(records.c.id == record.id)
                    .values(state=state, reason=reason, detail=detail, call_id=None)
                )

    async def keep_waiting(self, tx: Transaction) -> set[str]:
        """The ids of written calls that ended and wait for their decision. Their facts get the new revision of the
        call: with the old one they would count as overtaken, and the call would never be decided."""
        old = {call_id: turn.old for call_id, turn in self.turns.items() if turn.state == State.ENDED}
        ids = [call_id for call_id, row in old.items() if row is not None]
        waiting: dict[int, str] = {}
        for some in in_parts(ids, CALLS_AT_ONCE):
            query = select(outbox.c.id, outbox.c.call_id, outbox.c.revision).where(
                outbox.c.type == SETTLED, outbox.c.call_id.in_(some)
            )
            for fact_id, call_id, revision in await tx.connection.execute(query):
                row = old[call_id]
                if row is not None and row["revision"] == revision:
                    waiting[fact_id] = call_id
        if waiting and not self.dry_run:
            follow = update(outbox).where(outbox.c.id.in_(sorted(waiting)))
            await tx.connection.execute(follow.values(revision=outbox.c.revision + 1))
        return set(waiting.values())

    async def announce(self, tx: Transaction, announce: Announce, waiting: set[str]) -> None:
        """Tell of the calls that differ; what was told of them before is read under their locks."""
        ids = [call_id for call_id, turn in self.turns.items() if turn.columns and call_id not in waiting]
        if not ids:
            return
        rows = await tx.call_rows(ids)
        altered = []
        for call_id in ids:
            turn = self.turns[call_id]
            columns = rows.get(call_id) or {"id": call_id}
            altered.append(
                Altered(
                    columns={**columns, **turn.columns} if self.dry_run else columns,
                    before=None if turn.old is None else turn.old["state"],
                )
            )
        events = dict(await announce(tx, altered, now=self.now, dry_run=self.dry_run))
        # Of a call's differences its own is the first: those of records that were set aside come after it.
        self.differences = [replace(one, event=events.pop(one.call_id, None)) for one in self.differences]

    async def _compare(self, tx: Transaction, call: Call, old: Mapping[str, Any] | None) -> dict[str, tuple[Any, Any]]:
        """The fields that differ, legs included."""
        new = _comparable(call)
        if old is None:
            return {name: (None, value) for name, value in new.items() if value not in (None, [], {})}
        before = {name: old[name] for name in (*FOLDED_COLUMNS, "attributes", "flags")}
        before |= await _old_legs(tx, str(old["id"]))
        return {
            name: (before.get(name), new.get(name))
            for name in sorted(before.keys() | new.keys())
            if before.get(name) != new.get(name)
        }

    def _tell(self, what: str, key: CallKey, call_id: str, fields: Mapping[str, tuple[Any, Any]]) -> None:
        if fields:
            self.differences.append(
                Difference(what=what, source=key[0], call_key=key[1], call_id=call_id, fields=fields)
            )


async def relabel(tx: Transaction, read: Iterable[tuple[StoredRecord, Item]]) -> None:
    """Note the decoder revision and the settings with which records were read, where they differ from before."""
    revised: dict[tuple[str, int], list[int]] = {}
    for stored, item in read:
        known = stored.record.config_revision if stored.record is not None else ""
        if (known, stored.decoder_revision) != (item.record.config_revision, item.decoder_revision):
            revised.setdefault((item.record.config_revision, item.decoder_revision), []).append(stored.id)
    for (config_revision, decoder_revision), ids in revised.items():
        for some in in_parts(ids, KEYS_PER_STATEMENT):
            await tx.connection.execute(
                update(records)
                .where(records.c.id.in_(some))
                .values(config_revision=config_revision, decoder_revision=decoder_revision)
            )


def unchanged(numbers: Iterable[int], error: StoreError) -> dict[str, tuple[str, str]]:
    """What is told of the records of a call that stays as it is."""
    return {f"record {number}": (APPLIED, f"{APPLIED}: {error}") for number in numbers}


def what_became(outcome: Outcome, otherwise: str) -> tuple[str, str | None, str | None]:
    """State, reason and detail of a record that no longer says what it did. One that now says something of another kind
    goes into suspense with the detail `otherwise`, and is left to a replay from there."""
    if isinstance(outcome, DecodeError):
        return SUSPENDED, outcome.reason.value, storable_detail(outcome.detail)
    if isinstance(outcome, Ignored):
        return IGNORED, None, None
    return SUSPENDED, Reason.BAD_VALUE.value, otherwise


def _turned(call: Call, fields: Mapping[str, tuple[Any, Any]], *, new: bool) -> dict[str, Any]:
    """The columns of `calls` that differ; all that are folded where the call is new."""
    return {name: getattr(call, name) for name in FOLDED_COLUMNS if new or name in fields}


def _comparable(call: Call) -> dict[str, Any]:
    values: dict[str, Any] = {name: getattr(call, name) for name in FOLDED_COLUMNS}
    values["attributes"] = orjson.loads(orjson.dumps(call.attributes))
    values["flags"] = list(call.flags)
    for leg in call.legs:
        values |= {f"leg {leg.leg_key}.{name}": getattr(leg, name) for name in _LEG_VALUES}
    return values


async def _old_legs(tx: Transaction, call_id: str) -> dict[str, Any]:
    rows = await tx.connection.execute(select(call_legs).where(call_legs.c.call_id == call_id))
    return {
        f"leg {row.leg_key}.{name}": value
        for row in rows
        for name, value in row._mapping.items()
        if name in _LEG_VALUES
    }
