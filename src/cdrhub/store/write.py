"""The write protocol: how a batch of decoded records becomes calls, legs, coverage and facts, in one transaction.

1. records, in the order of their keys: this decides what is new; what is not has no effect;
2. calls that are missing, in the order of their keys;
3. calls that exist, locked in the same order, folded anew from all their records;
4. facts; 5. commit.

A call is never changed step by step: it is what the fold makes of all its records, so it does not matter in which
batches they came. Records of a recent call are remembered as updates, so that they need not be read and decoded
again; the row's revision tells whether that memory is still the truth.

A value that the database refuses costs its own record only: the batch is halved until that record is found, and it
is suspended.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial

import structlog
import uuid_utils

from cdrhub.errors import DecodeError, Reason, StoreError
from cdrhub.model.agent import AgentState
from cdrhub.model.call import Call
from cdrhub.model.fold import fold
from cdrhub.model.inference import Coverage
from cdrhub.model.record import RawRecord
from cdrhub.model.update import CallUpdate, Ignored, storable_json
from cdrhub.store.agent_states import add_states
from cdrhub.store.batch import Item, Redecode, Written
from cdrhub.store.engine import Database, RacedError, RefusedError
from cdrhub.store.memory import Memory, Remembered
from cdrhub.store.outbox import SETTLED, facts
from cdrhub.store.rows import (
    COVERAGE_COLUMNS,
    FACT_COLUMNS,
    FOLDED_COLUMNS,
    LEG_COLUMNS,
    SUSPENDED,
    UNOPENED_COLUMNS,
    Row,
    call_row,
    leg_rows,
    record_row,
    storable_detail,
)
from cdrhub.store.source_facts import coverage_facts, suspense_facts
from cdrhub.store.tables import MAX_CONTENT_TYPE, call_legs, coverage, outbox, unopened
from cdrhub.store.tally import counted, counted_ignored, merged
from cdrhub.store.transaction import CallKey, KnownCall, RecordKey, StoredRecord, Transaction
from cdrhub.turns import Turn

log = structlog.get_logger(__name__)

REMEMBERED_UPDATES = 8_192  #: updates of recent calls kept in memory; about 3 KB each
CAREFUL_BATCHES = 32  #: batches written without guessing after a guess was wrong
RACES = 50  #: after so many lost races something else is wrong, and which record it is must be found
REFUSED_BODY_BYTES = 65_536  #: kept of a body that the database refuses whole
UNKNOWN_CONTENT = "application/octet-stream"  #: RFC 2046, 4.5.1: of a record whose own content type is refused

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

    @property
    def settle_seconds(self) -> float:
        return max(item.settle_seconds for item in self.items)

    @property
    def body_bytes(self) -> int:
        """The size of the records in this batch."""
        return sum(len(item.record.body) for item in self.items)

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
    """What the stored records of a call say, and the size of their bodies."""

    updates: tuple[CallUpdate, ...]
    body_bytes: int


@dataclass(slots=True)
class Outcome:
    """What writing the groups of a batch did: counted, and remembered after the commit."""

    created: int = 0
    updated: int = 0
    conflicts: list[str] = field(default_factory=list)  #: sources of calls that became flagged
    settled: int = 0  #: facts, as in store.batch.Written
    public: int = 0
    remember: dict[CallKey, Remembered | None] = field(default_factory=dict)

    async def tell(self, tx: Transaction, told: Sequence[Row]) -> None:
        """Write these facts."""
        settled = sum(row[_FACT_TYPE] == SETTLED for row in told)
        self.settled += settled
        self.public += len(told) - settled
        await tx.append(outbox, FACT_COLUMNS, told)


class CallWriter:
    """Writes batches. One object may write several batches at once if their calls are disjoint."""

    def __init__(
        self, database: Database, *, clock: Callable[[], datetime], redecode: Redecode | None, remembered: int
    ) -> None:
        self._database = database
        self._clock = clock
        self._careful = 0
        self.memory = Memory(remembered)
        self.redecode = redecode

    # -- a batch ---------------------------------------------------------------------------------------------------

    async def write(self, batch: Sequence[Item]) -> Written:
        """Write a batch. Raises StoreUnavailable, and what `redecode` raises for records of unknown settings."""
        ignored = [item for item in batch if isinstance(item.outcome, Ignored)]
        kept = [item for item in batch if not isinstance(item.outcome, Ignored)] if ignored else batch
        written = await self._write(kept) if kept else Written()
        return merged([written, counted_ignored(ignored)]) if ignored else written

    async def _write(self, items: Sequence[Item]) -> Written:
        for _ in range(RACES):
            careful = self._careful > 0
            try:
                written, outcome = await self._database.write(partial(self._attempt, items, careful=careful))
            except RacedError:
                self._careful = CAREFUL_BATCHES
                self.memory.clear()
            except FoldError as error:
                log.exception("fold failed", action="decoder_bug", source=error.key[0])
                items = [_as_bug(item, error) if call_key(item) == error.key else item for item in items]
            except RefusedError as error:
                return await self._bisect(items, error)
            else:
                self.remember(outcome)
                if careful:
                    self._careful = CAREFUL_BATCHES if written.duplicates else self._careful - 1
                return written
        return await self._bisect(items, RefusedError(f"lost {RACES} races against other writers"))

    async def _bisect(self, items: Sequence[Item], error: RefusedError) -> Written:
        """Find the record that the database refuses."""
        if len(items) > 1:
            middle = len(items) // 2
            return merged([await self._write(items[:middle]), await self._write(items[middle:])])
        item = items[0]
        outcome = item.outcome
        if isinstance(outcome, DecodeError) and outcome.reason is Reason.STORE_REFUSED:
            bare = _bare(item.record)
            if bare == item.record:
                raise StoreError(f"the database refuses even the bare record: {error}") from error
            cut = "" if len(bare.body) == len(item.record.body) else f" (first {REFUSED_BODY_BYTES} bytes kept)"
            return await self._write([_suspended(replace(item, record=bare), f"{outcome.detail}{cut}")])
        log.error("a record is refused", action="store_refused", source=item.record.source)
        return await self._write([_suspended(item, str(error))])

    async def _attempt(self, items: Sequence[Item], tx: Transaction, *, careful: bool) -> tuple[Written, Outcome]:
        now = self._clock()
        unique = {(item.record.source, item.record.digest): item for item in reversed(items)}
        groups = self.grouped(unique.values())
        rows, spans = _record_rows(unique.values(), groups)
        waiting = await tx.any_unopened()
        new = await tx.insert_records(rows, expect_new=not careful)
        if new is not None and len(new) < len(unique):
            unique = {key: item for key, item in unique.items() if key in new}
            groups = self.grouped(unique.values(), like=groups)
            spans = [span for span in spans if span[0] in new]
        await add_states(tx, unique.values(), expect_new=not careful)
        told = await suspense_facts(tx.connection, unique.values(), now=now)
        if spans:
            told += await coverage_facts(tx.connection, unique.values(), now=now)
            await tx.append(coverage, COVERAGE_COLUMNS, [row for _, row in spans])
        if told:
            await tx.append(outbox, FACT_COLUMNS, told)
        outcome = await self.write_groups(tx, groups, now=now, expect_new=not careful, waiting=waiting)
        written = counted(
            items,
            unique.values(),
            created=outcome.created,
            updated=outcome.updated,
            conflicts=outcome.conflicts,
            settled=outcome.settled,
            public=outcome.public + len(told),
        )
        return written, outcome

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

    def remember(self, outcome: Outcome) -> None:
        """After the commit: what was written is the truth."""
        for key, remembered in outcome.remember.items():
            if remembered is None:
                self.memory.drop(key)
            else:
                self.memory.put(key, remembered)

    # -- calls -----------------------------------------------------------------------------------------------------

    async def write_groups(
        self, tx: Transaction, groups: Mapping[CallKey, Group], *, now: datetime, expect_new: bool, waiting: bool
    ) -> Outcome:
        """Make or fold anew the calls of these records, which are inserted already."""
        outcome = Outcome()
        if waiting:
            await self._join_waiting(tx, groups)
        fresh = [group for group in groups.values() if group.remembered is None]
        created = await self._create(tx, fresh, outcome, now=now, expect_new=expect_new)
        existing = [groups[key] for key in sorted(groups.keys() - created)]
        if existing:
            await self.refold(tx, existing, outcome, now=now)
        return outcome

    async def _join_waiting(self, tx: Transaction, groups: Mapping[CallKey, Group]) -> None:
        """Add the records that came before anything opened their call."""
        for key, waiting in (await tx.unopened_of(sorted(groups))).items():
            groups[key].waiting = waiting

    async def _create(
        self, tx: Transaction, groups: Sequence[Group], outcome: Outcome, *, now: datetime, expect_new: bool
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
            call = fold_call(group.key, group.updates)
            if not call.opened:
                closed.append(group)
                continue
            first = group.items[0]
            rows.append(
                call_row(
                    call,
                    call_id=group.call_id,
                    item=first,
                    record_count=len(group.items) + len(group.waiting),
                    revision=1,
                    received=group.received,
                    now=now,
                )
            )
            folded[group.call_id] = (group, call)
        rows.sort()
        inserted = await tx.insert_calls(rows, expect_new=expect_new)
        made = folded.values() if inserted is None else [folded[call_id] for call_id in inserted]
        done = await self._keep_unopened(tx, closed, now=now)
        legs: list[Row] = []
        told: list[Row] = []
        for group, call in made:
            done.add(group.key)
            outcome.created += 1
            if "conflict" in call.flags:
                outcome.conflicts.append(group.key[0])
            if call.legs:
                legs += leg_rows(group.call_id, call, received_at=group.received[0])
            told += facts(
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
                    call_id=group.call_id, revision=1, updates=tuple(group.updates), body_bytes=group.body_bytes
                )
        await tx.append(call_legs, LEG_COLUMNS, legs)
        await outcome.tell(tx, told)
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
        again = (self.again(one.record, group.key) for one in stored if one.record is not None)
        group.updates += [update for update in again if update is not None]

    async def refold(self, tx: Transaction, groups: Sequence[Group], outcome: Outcome, *, now: datetime) -> None:
        """Fold calls anew that exist already."""
        known = {(call.source, call.call_key): call for call in await tx.lock_calls([g.key for g in groups])}
        if len(known) < len(groups):
            raise RacedError  # remembered, and gone from the database since
        wrong = [g for g in groups if g.call_id != known[g.key].id or g.waiting or not _opens(g.updates)]
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
        told: list[Row] = []
        replaced: list[str] = []
        sealed: list[tuple[Group, KnownCall]] = []
        turn = Turn()
        for group in groups:
            await turn.give_way()
            call = known[group.key]
            outcome.updated += 1
            before: Remembered | Earlier | None = group.remembered
            if call.id in earlier:
                before = earlier[call.id]
                if before is None:
                    sealed.append((group, call))
                    outcome.remember[group.key] = None
                    continue
            assert before is not None  # noqa: S101  (what is not remembered was read)
            updates = (*before.updates, *group.updates)
            folded = fold_call(group.key, updates)
            rows.append(_updated_row(group, call, folded, now=now))
            replaced.append(call.id)
            legs += leg_rows(call.id, folded, received_at=min(call.first_received_at, group.received[0]))
            told += _facts(group, call, folded, now=now)
            if "conflict" in folded.flags and "conflict" not in call.flags:
                outcome.conflicts.append(group.key[0])
            outcome.remember[group.key] = Remembered(
                call_id=call.id,
                revision=call.revision + 1,
                updates=_distinct(updates),
                body_bytes=before.body_bytes + group.body_bytes,
            )
        await tx.update_calls(rows)
        await tx.delete_legs(replaced)
        if sealed:
            told += await self._complete_sealed(tx, sealed, now=now)
        await tx.append(call_legs, LEG_COLUMNS, legs)
        await outcome.tell(tx, told)

    async def _earlier(self, tx: Transaction, calls: Sequence[KnownCall]) -> dict[str, Earlier | None]:
        """What all records of these calls say; None for a call with a record whose body is gone.

        A record that today's decoder does not read as one of this call any more says nothing of it: the others do,
        and `replay` puts the rest in order.
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
            read[call_id] = self._read(its, keys[call_id])
        return read

    def _read(self, stored: Sequence[StoredRecord], key: CallKey) -> Earlier | None:
        bodies = [one.record for one in stored if one.record is not None]
        if len(bodies) < len(stored):
            return None
        again = (self.again(record, key) for record in bodies)
        return Earlier(
            tuple(update for update in again if update is not None), sum(len(record.body) for record in bodies)
        )

    def again(self, record: RawRecord, key: CallKey) -> CallUpdate | None:
        """What a stored record says of this call; None if today's decoder reads it otherwise."""
        if self.redecode is None:
            raise StoreError("an old record must be decoded again, and the store was not told how")
        outcome = self.redecode(record)
        return outcome if isinstance(outcome, CallUpdate) and outcome.call_key == key[1] else None

    async def _complete_sealed(
        self, tx: Transaction, sealed: Sequence[tuple[Group, KnownCall]], *, now: datetime
    ) -> list[Row]:
        """Calls whose records are gone keep what they have; late records fill what is empty, and are flagged."""
        rows = await tx.call_rows([call.id for _, call in sealed])
        updated: list[Row] = []
        told: list[Row] = []
        for group, call in sealed:
            late = fold_call(group.key, group.updates)
            row = rows[call.id]
            values = {name: row[name] if row[name] is not None else getattr(late, name) for name in FOLDED_COLUMNS}
            completed = Call(
                call_key=call.call_key,
                attributes={**late.attributes, **row["attributes"]},
                flags=tuple(sorted({*row["flags"], "late"})),
                final=late.final,
                **values,
            )
            updated.append(_updated_row(group, call, completed, now=now, sort_at=row["sort_at"]))
            told += _facts(group, call, completed, now=now)
        await tx.update_calls(sorted(updated))
        return told


def new_call_id() -> str:
    """A UUIDv7: ids of calls rise with the time, which keeps their index small."""
    return str(uuid_utils.uuid7())


def call_key(item: Item) -> CallKey | None:
    """Whose call this record is of; None if it is of none."""
    return (item.owner, item.outcome.call_key) if isinstance(item.outcome, CallUpdate) else None


def record_key(item: Item) -> RecordKey:
    """The identity of a record."""
    return item.record.source, item.record.digest


def _opens(updates: Iterable[CallUpdate]) -> bool:
    return any(update.opens for update in updates)


def _record_rows(
    items: Iterable[Item], groups: Mapping[CallKey, Group]
) -> tuple[list[Row], list[tuple[RecordKey, Row]]]:
    """The rows of `records` in the order of their keys, and those of `coverage`."""
    rows: list[Row] = []
    spans: list[tuple[RecordKey, Row]] = []
    for item in items:
        outcome = item.outcome
        if type(outcome) is CallUpdate:
            group = groups[item.owner, outcome.call_key]
            known = group.remembered is not None or outcome.opens or _opens(group.updates)
            rows.append(record_row(item, group.call_id if known else None))
        elif isinstance(outcome, DecodeError):
            rows.append(record_row(item, None, state=SUSPENDED, reason=outcome.reason.value, detail=outcome.detail))
        elif isinstance(outcome, AgentState):
            rows.append(record_row(item, None))
        elif isinstance(outcome, Coverage):
            rows.append(record_row(item, None))
            spans.append((record_key(item), coverage_row(item.record.source, outcome)))
    rows.sort()
    return rows, spans


def coverage_row(source: str, span: Coverage) -> Row:
    """The row of `coverage`."""
    return (span.hub, source, span.since, span.until, span.state, storable_detail(span.detail))


def fold_call(key: CallKey, updates: Iterable[CallUpdate]) -> Call:
    """The call of these updates. Raises FoldError."""
    try:
        return fold(updates)
    except Exception as error:
        raise FoldError(key, error) from error


def _distinct(updates: Iterable[CallUpdate]) -> tuple[CallUpdate, ...]:
    return tuple({update.digest: update for update in updates}.values())


def _updated_row(group: Group, known: KnownCall, call: Call, *, now: datetime, sort_at: datetime | None = None) -> Row:
    first, last = group.received
    first, last = min(first, known.first_received_at), max(last, known.last_received_at)
    row = call_row(
        call,
        call_id=known.id,
        item=group.items[0],
        record_count=known.record_count + len(group.items) + len(group.waiting),
        revision=known.revision + 1,
        received=(first, last),
        now=now,
    )
    return row if sort_at is None else (*row[:5], sort_at, *row[6:])


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


def _suspended(item: Item, detail: str) -> Item:
    """The item of a record that the database refused."""
    flags: set[str] = set()
    record = replace(item.record, attributes=storable_json(dict(item.record.attributes), flags))
    return replace(item, record=record, outcome=DecodeError(Reason.STORE_REFUSED, detail))


def _bare(record: RawRecord) -> RawRecord:
    """What is left of a record without anything that a database might refuse."""
    return replace(
        record,
        body=record.body[:REFUSED_BODY_BYTES],
        attributes={},
        event_id=None,
        content_type=record.content_type if _plain(record.content_type) else UNKNOWN_CONTENT,
    )


def _plain(text: str) -> bool:
    return len(text) <= MAX_CONTENT_TYPE and text.isascii() and text.isprintable()


def _as_bug(item: Item, error: FoldError) -> Item:
    return replace(item, outcome=DecodeError(Reason.DECODER_BUG, storable_detail(str(error))))
