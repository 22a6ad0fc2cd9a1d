"""Folding: the calls of a batch, made where they are missing and folded anew where they are there.

It works inside a transaction in which the records are inserted already (write.py): the calls that are missing in the
order of their keys, then those that exist, locked in the same order.

A call is never changed step by step: it is what the fold makes of all its records, so it does not matter in which
batches they came. Records of a recent call are remembered as updates, so that they need not be read and decoded
again; the row's revision tells whether that memory is still the truth.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime

import uuid_utils

from cdrhub.errors import StoreError
from cdrhub.model.call import Call
from cdrhub.model.fold import fold
from cdrhub.model.record import RawRecord
from cdrhub.model.update import CallUpdate
from cdrhub.store.batch import Item, Redecode
from cdrhub.store.engine import RacedError
from cdrhub.store.memory import Memory, Remembered, quoted_bytes
from cdrhub.store.outbox import SETTLED, facts
from cdrhub.store.rows import FACT_COLUMNS, FOLDED_COLUMNS, LEG_COLUMNS, UNOPENED_COLUMNS, Row, call_row, leg_rows
from cdrhub.store.tables import call_legs, outbox, unopened
from cdrhub.store.transaction import CallKey, KnownCall, RecordKey, StoredRecord, Transaction
from cdrhub.turns import Turn, in_thread_if_large

REMEMBERED_UPDATES = 8_192  #: updates of recent calls kept in memory; about 3 KB each

_FACT_TYPE = FACT_COLUMNS.index("type")


class FoldError(StoreError):
    """Our own code failed on the records of one call; please report it."""

    def __init__(self, key: CallKey, cause: Exception) -> None:
        super().__init__(f"{type(cause).__name__}: {cause}")
        self.key = key


@dataclass(slots=True)
class Group:
    """The records of one call in one batch."""

    key: CallKey
    call_id: str
    items: list[Item]
    updates: list[CallUpdate]
    remembered: Remembered | None = None
    waiting: Sequence[RecordKey] = ()  #: earlier records that did not open the call
    received_before: Sequence[datetime] = ()  #: when those were received
    folded: Call | None = None  #: what the fold makes of `remembered` and `updates`, if it was done ahead

    @property
    def settle_seconds(self) -> float:
        return max(item.settle_seconds for item in self.items)

    @property
    def is_open(self) -> bool:
        """Whether the call is known to exist, or one of these records opens it."""
        return self.remembered is not None or any(update.opens for update in self.updates)

    @property
    def quoted(self) -> int:
        """What the updates of this batch quote of their records, in bytes."""
        return sum(
            quoted_bytes(item.outcome, body_bytes=len(item.record.body))
            for item in self.items
            if isinstance(item.outcome, CallUpdate)
        )

    @property
    def received(self) -> tuple[datetime, datetime]:
        """The first and the last receipt."""
        if len(self.items) == 1 and not self.received_before:
            moment = self.items[0].record.received_at
            return moment, moment
        moments = [*self.received_before, *(item.record.received_at for item in self.items)]
        return min(moments), max(moments)

    @property
    def links(self) -> Iterator[RecordKey]:
        """The records that belong to the call."""
        yield from self.waiting
        yield from map(record_key, self.items)


@dataclass(frozen=True, slots=True)
class Earlier:
    """What the stored records of a call say, and how much of them that quotes, in bytes."""

    updates: tuple[CallUpdate, ...]
    quoted: int


@dataclass(slots=True)
class Folded:
    """What writing the groups of a batch did: counted, and remembered after the commit."""

    created: int = 0
    updated: int = 0
    conflicts: list[str] = field(default_factory=list)  #: sources of calls that became flagged
    settled: int = 0  #: facts, as in store.batch.Written
    public: int = 0
    remember: dict[CallKey, Remembered | None] = field(default_factory=dict)

    async def tell(self, tx: Transaction, fact_rows: Sequence[Row]) -> None:
        """Write these facts."""
        settled = sum(row[_FACT_TYPE] == SETTLED for row in fact_rows)
        self.settled += settled
        self.public += len(fact_rows) - settled
        await tx.append(outbox, FACT_COLUMNS, fact_rows)


class Folding:
    """Makes calls, and folds them anew. Several batches may be in hand at once if their calls are disjoint."""

    def __init__(self, *, redecode: Redecode | None, remembered: int) -> None:
        self.memory = Memory(remembered)
        self.redecode = redecode

    def grouped(self, items: Iterable[Item], *, like: Mapping[CallKey, Group] | None = None) -> dict[CallKey, Group]:
        """The calls of these items. `like` is a grouping of more of them, whose ids are kept."""
        groups: dict[CallKey, Group] = {}
        for item in items:
            update = item.outcome
            if type(update) is not CallUpdate:
                continue
            key = (item.owner, update.call_key)
            group = groups.get(key)
            if group is not None:
                group.items.append(item)
                group.updates.append(update)
            elif like is not None:
                groups[key] = Group(key, like[key].call_id, [item], [update], like[key].remembered)
            else:
                known = self.memory.get(key)
                call_id = new_call_id() if known is None else known.call_id
                groups[key] = Group(key, call_id, [item], [update], known)
        return groups

    async def fold_ahead(self, groups: Iterable[Group]) -> None:
        """Fold these calls before the transaction, which then holds its locks (on SQLite: the only writer) for a
        shorter time. The result counts if nobody wrote them meanwhile and all of their records are new. What cannot be
        folded is left to the transaction, for the record at fault may be one that is there already."""
        turn = Turn()
        for group in groups:
            await turn.give_way()
            before = () if group.remembered is None else group.remembered.updates
            with suppress(FoldError):
                group.folded = fold_call(group.key, (*before, *group.updates))

    def remember(self, outcome: Folded) -> None:
        """After the commit: what was written is the truth."""
        for key, remembered in outcome.remember.items():
            if remembered is None:
                self.memory.drop(key)
            else:
                self.memory.put(key, remembered)

    async def write_groups(
        self, tx: Transaction, groups: Mapping[CallKey, Group], *, now: datetime, expect_new: bool, waiting: bool
    ) -> Folded:
        """Make or fold anew the calls of these records, which are inserted already. The groups stay as they are: the
        transaction may be tried again."""
        outcome = Folded()
        if waiting:
            groups = await self._with_waiting(tx, groups)
        fresh = [group for group in groups.values() if group.remembered is None]
        created = await self._create(tx, fresh, outcome, now=now, expect_new=expect_new)
        existing = [groups[key] for key in sorted(groups.keys() - created)]
        if existing:
            if any(group.waiting for group in existing):
                existing = await self._still_waiting(tx, existing)
            await self.refold(tx, existing, outcome, now=now)
        return outcome

    async def _with_waiting(self, tx: Transaction, groups: Mapping[CallKey, Group]) -> dict[CallKey, Group]:
        """The groups, with the records that came before anything opened their call."""
        waiting = await tx.unopened_of(sorted(groups))
        return {
            key: replace(group, waiting=waiting[key], folded=None) if key in waiting else group
            for key, group in groups.items()
        }

    async def _still_waiting(self, tx: Transaction, groups: Sequence[Group]) -> list[Group]:
        """These groups of existing calls, with the records that still wait for them now that the calls are locked:
        another writer that made a call meanwhile has taken, and counted, what waited for it."""
        await tx.lock_calls([group.key for group in groups])
        waiting = await tx.unopened_of(group.key for group in groups if group.waiting)
        return [replace(group, waiting=waiting.get(group.key, ())) for group in groups]

    async def _create(
        self, tx: Transaction, groups: Sequence[Group], outcome: Folded, *, now: datetime, expect_new: bool
    ) -> set[CallKey]:
        """Insert the calls that are missing; says the keys that are done with."""
        folded: dict[str, tuple[Group, Call]] = {}
        rows: list[Row] = []
        closed: list[Group] = []
        turn = Turn()
        for group in groups:
            await turn.give_way()
            if group.waiting:
                await self._take_waiting(tx, group)
            call = group.folded or fold_call(group.key, group.updates)
            if call.opened:
                folded[group.call_id] = (group, call)
                rows.append(_first_row(group, call, now=now))
            else:
                closed.append(group)
        inserted = await tx.insert_calls(sorted(rows), expect_new=expect_new)
        made = folded.values() if inserted is None else [folded[call_id] for call_id in inserted]
        done = await self._keep_unopened(tx, closed, now=now)
        legs: list[Row] = []
        fact_rows: list[Row] = []
        for group, call in made:
            done.add(group.key)
            outcome.created += 1
            if "conflict" in call.flags:
                outcome.conflicts.append(group.key[0])
            if call.legs:
                legs += leg_rows(group.call_id, call, received_at=group.received[0])
            fact_rows += facts(
                call,
                call_id=group.call_id,
                item=group.items[0],
                revision=1,
                before=None,
                now=now,
                settle_seconds=group.settle_seconds,
            )
            if not call.final:
                outcome.remember[group.key] = Remembered(
                    call_id=group.call_id, revision=1, updates=tuple(group.updates), quoted=group.quoted
                )
        await tx.append(call_legs, LEG_COLUMNS, legs)
        await outcome.tell(tx, fact_rows)
        opened = [group for group, _ in made if group.waiting]
        if opened:
            await tx.link_records((key, group.call_id) for group in opened for key in group.links)
            await tx.forget_unopened(group.key for group in opened)
        return done

    async def _keep_unopened(self, tx: Transaction, groups: Sequence[Group], *, now: datetime) -> set[CallKey]:
        """Records that open no call wait for one that does, unless the call is there already."""
        if not groups:
            return set()
        known = {(call.source, call.call_key) for call in await tx.lock_calls(sorted(g.key for g in groups))}
        still = [group for group in groups if group.key not in known]
        rows = [(*group.key, *record_key(item), now) for group in still for item in group.items]
        await tx.append(unopened, UNOPENED_COLUMNS, rows)
        return {group.key for group in still}

    async def _take_waiting(self, tx: Transaction, group: Group) -> None:
        stored = await tx.records_by_key(group.waiting)
        group.received_before = [record.received_at for record in stored]
        bodies = [one.record for one in stored if one.record is not None]
        again = [await self.again(record, group.key) for record in bodies]
        group.updates = [*group.updates, *(update for update in again if update is not None)]

    async def refold(self, tx: Transaction, groups: Sequence[Group], outcome: Folded, *, now: datetime) -> None:
        """Fold calls anew that exist already."""
        known = {(call.source, call.call_key): call for call in await tx.lock_calls([g.key for g in groups])}
        if len(known) < len(groups):
            raise RacedError  # remembered, and gone from the database since
        wrong = [g for g in groups if g.call_id != known[g.key].id or g.waiting]
        if wrong:
            await tx.link_records((key, known[g.key].id) for g in wrong for key in g.links)
            await tx.forget_unopened(g.key for g in wrong if g.waiting)
        forgotten = [
            known[g.key]
            for g in groups
            if g.waiting or g.remembered is None or g.remembered.revision != known[g.key].revision
        ]
        earlier = await self._earlier(tx, forgotten)
        rows: list[Row] = []
        legs: list[Row] = []
        fact_rows: list[Row] = []
        replaced: list[str] = []
        sealed: list[tuple[Group, KnownCall]] = []
        turn = Turn()
        for group in groups:
            await turn.give_way()
            call = known[group.key]
            outcome.updated += 1
            before = earlier.get(call.id, group.remembered)
            if before is None:  # it was read anew, and bodies of its records are gone
                sealed.append((group, call))
                outcome.remember[group.key] = None
                continue
            updates = (*before.updates, *group.updates)
            ahead = group.folded if before is group.remembered else None
            folded = ahead or fold_call(group.key, updates)
            rows.append(_updated_row(group, call, folded, now=now))
            replaced.append(call.id)
            legs += leg_rows(call.id, folded, received_at=min(call.first_received_at, group.received[0]))
            fact_rows += _facts(group, call, folded, now=now)
            if "conflict" in folded.flags and "conflict" not in call.flags:
                outcome.conflicts.append(group.key[0])
            outcome.remember[group.key] = Remembered(
                call_id=call.id,
                revision=call.revision + 1,
                updates=_distinct(updates),
                quoted=before.quoted + group.quoted,
            )
        await tx.update_calls(rows)
        await tx.delete_legs(replaced)
        if sealed:
            fact_rows += await self._complete_sealed(tx, sealed, now=now)
        await tx.append(call_legs, LEG_COLUMNS, legs)
        await outcome.tell(tx, fact_rows)

    async def _earlier(self, tx: Transaction, calls: Sequence[KnownCall]) -> dict[str, Earlier | None]:
        """What all records of these calls say; None for a call with a record whose body is gone.

        A record that today's decoder no longer reads as one of this call is left out; `replay` puts that in order.
        """
        if not calls:
            return {}
        keys = {call.id: (call.source, call.call_key) for call in calls}
        stored: dict[str, list[StoredRecord]] = {call.id: [] for call in calls}
        for record in await tx.records_of(list(keys)):
            stored[str(record.call_id)].append(record)
        read: dict[str, Earlier | None] = {}
        turn = Turn()
        for call_id, its in stored.items():
            await turn.give_way()
            read[call_id] = await self._read(its, keys[call_id])
        return read

    async def _read(self, stored: Sequence[StoredRecord], key: CallKey) -> Earlier | None:
        bodies = [one.record for one in stored if one.record is not None]
        if len(bodies) < len(stored):
            return None
        again = [(await self.again(record, key), len(record.body)) for record in bodies]
        updates = [(update, size) for update, size in again if update is not None]
        quoted = sum(quoted_bytes(update, body_bytes=size) for update, size in updates)
        return Earlier(tuple(update for update, _ in updates), quoted)

    async def again(self, record: RawRecord, key: CallKey) -> CallUpdate | None:
        """What a stored record says of this call; None if today's decoder reads it otherwise."""
        if self.redecode is None:
            raise StoreError("an old record must be decoded again, and the store was not told how")
        outcome = await in_thread_if_large(len(record.body), self.redecode, record)
        return outcome if isinstance(outcome, CallUpdate) and outcome.call_key == key[1] else None

    async def _complete_sealed(
        self, tx: Transaction, sealed: Sequence[tuple[Group, KnownCall]], *, now: datetime
    ) -> list[Row]:
        """Complete calls whose records are gone: late records fill empty columns only, and the call is flagged
        `late`."""
        rows = await tx.call_rows([call.id for _, call in sealed])
        updated: list[Row] = []
        fact_rows: list[Row] = []
        for group, call in sealed:
            late = fold_call(group.key, group.updates)
            row = rows[call.id]
            values = {name: row[name] if row[name] is not None else getattr(late, name) for name in FOLDED_COLUMNS}
            if values["recording_state"] == "none":  # as empty as the URL that comes late
                values["recording_state"] = late.recording_state
            completed = Call(
                call_key=call.call_key,
                attributes={**late.attributes, **row["attributes"]},
                flags=tuple(sorted({*row["flags"], "late"})),
                final=late.final,
                **values,
            )
            updated.append(_updated_row(group, call, completed, now=now, sort_at=row["sort_at"]))
            fact_rows += _facts(group, call, completed, now=now)
        await tx.update_calls(sorted(updated))
        return fact_rows


def new_call_id() -> str:
    """A UUIDv7: ids of calls rise with the time, which keeps their index small."""
    return str(uuid_utils.uuid7())


def record_key(item: Item) -> RecordKey:
    """The identity of a record."""
    return item.record.source, item.record.digest


def fold_call(key: CallKey, updates: Iterable[CallUpdate]) -> Call:
    """The call of these updates. Raises FoldError; MemoryError, which says nothing of the records."""
    try:
        return fold(updates)
    except MemoryError:
        raise
    except Exception as error:
        raise FoldError(key, error) from error


def _distinct(updates: Iterable[CallUpdate]) -> tuple[CallUpdate, ...]:
    return tuple({update.digest: update for update in updates}.values())


def _first_row(group: Group, call: Call, *, now: datetime) -> Row:
    return call_row(
        call,
        call_id=group.call_id,
        item=group.items[0],
        record_count=len(group.items) + len(group.waiting),
        revision=1,
        received=group.received,
        now=now,
    )


def _updated_row(group: Group, known: KnownCall, call: Call, *, now: datetime, sort_at: datetime | None = None) -> Row:
    first, last = group.received
    first, last = min(first, known.first_received_at), max(last, known.last_received_at)
    return call_row(
        call,
        call_id=known.id,
        item=group.items[0],
        record_count=known.record_count + len(group.items) + len(group.waiting),
        revision=known.revision + 1,
        received=(first, last),
        now=now,
        sort_at=sort_at,
    )


def _facts(group: Group, known: KnownCall, call: Call, *, now: datetime) -> list[Row]:
    """What became true of a call that existed already."""
    return facts(
        call,
        call_id=known.id,
        item=group.items[0],
        revision=known.revision + 1,
        before=known.state,
        now=now,
        settle_seconds=group.settle_seconds,
    )
