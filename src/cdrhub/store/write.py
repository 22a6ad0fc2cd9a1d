"""The write protocol: how a batch of decoded records becomes calls, legs, coverage and facts, in one transaction.

1. records, in the order of their keys: this decides what is new; what is not has no effect;
2. calls that are missing, in the order of their keys;
3. calls that exist, locked in the same order, folded anew from all their records;
4. facts; 5. commit.

The second and the third are in folding.py.

A value that the database refuses costs its own record only: the batch is halved until that record is found, and it
is suspended.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial

import structlog

from cdrhub.errors import DecodeError, Reason, StoreError
from cdrhub.model.agent import AgentState
from cdrhub.model.inference import Coverage
from cdrhub.model.record import RawRecord
from cdrhub.model.update import CallUpdate, Ignored, storable_json
from cdrhub.store.agent_states import add_states
from cdrhub.store.batch import Item, Written
from cdrhub.store.engine import Database, RacedError, RefusedError
from cdrhub.store.folding import Folded, FoldError, Folding, Group, record_key
from cdrhub.store.rows import (
    COVERAGE_COLUMNS,
    FACT_COLUMNS,
    SUSPENDED,
    Row,
    coverage_row,
    record_row,
    storable_detail,
)
from cdrhub.store.source_facts import coverage_facts, suspense_facts
from cdrhub.store.tables import MAX_CONTENT_TYPE, coverage, outbox
from cdrhub.store.tally import counted, counted_ignored, merged
from cdrhub.store.transaction import CallKey, RecordKey, Transaction
from cdrhub.store.trouble import NO_SUCH_VALUE

log = structlog.get_logger(__name__)

CAREFUL_BATCHES = 32  #: batches written without guessing after a guess was wrong
RACES = 50  #: after so many lost races something else is wrong, and which record it is must be found
REFUSED_BODY_BYTES = 65_536  #: kept of a body that the database refuses whole
UNKNOWN_CONTENT = "application/octet-stream"  #: RFC 2046, 4.5.1: of a record whose own content type is refused


@dataclass(frozen=True, kw_only=True, slots=True)
class _Expected:
    """A batch as it is written if all of its records are new, which nearly always they are."""

    items: Mapping[RecordKey, Item]
    groups: Mapping[CallKey, Group]
    rows: Sequence[Row]  #: of `records`, in the order of their keys
    spans: Sequence[tuple[RecordKey, Row]]  #: of `coverage`


class BatchWriter:
    """Writes batches. One object may write several batches at once if their calls are disjoint."""

    def __init__(self, database: Database, *, clock: Callable[[], datetime], folding: Folding) -> None:
        self._database = database
        self._clock = clock
        self._folding = folding
        self._careful = 0

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
                expected = await self._expected(items)
                written, outcome = await self._database.write(partial(self._attempt, items, expected, careful=careful))
            except RacedError:
                self._careful = CAREFUL_BATCHES
                self._folding.memory.clear()
            except FoldError as error:
                log.exception("fold failed", action="decoder_bug", source=error.key[0])
                items = [_as_bug(item, error) if _call_key(item) == error.key else item for item in items]
            except RefusedError as error:
                return await self._bisect(items, error)
            else:
                self._folding.remember(outcome)
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

    async def _expected(self, items: Sequence[Item]) -> _Expected:
        """What can be done before the transaction, while another lane is in its own. Raises RefusedError."""
        unique = {(item.record.source, item.record.digest): item for item in reversed(items)}
        groups = self._folding.grouped(unique.values())
        await self._folding.fold_ahead(groups.values())
        try:
            rows, spans = _record_rows(unique.values(), groups)
        except NO_SUCH_VALUE as error:
            raise RefusedError(self._database.explain(error)) from error
        return _Expected(items=unique, groups=groups, rows=rows, spans=spans)

    async def _attempt(
        self, items: Sequence[Item], expected: _Expected, tx: Transaction, *, careful: bool
    ) -> tuple[Written, Folded]:
        now = self._clock()
        unique, groups, spans = expected.items, expected.groups, expected.spans
        waiting = await tx.any_unopened()
        new = await tx.insert_records(expected.rows, expect_new=not careful)
        if new is not None and len(new) < len(unique):
            unique = {key: item for key, item in unique.items() if key in new}
            groups = self._folding.grouped(unique.values(), like=groups)
            spans = [span for span in spans if span[0] in new]
        await add_states(tx, unique.values(), expect_new=not careful)
        fact_rows = await suspense_facts(tx.connection, unique.values(), now=now)
        if spans:
            fact_rows += await coverage_facts(tx.connection, unique.values(), now=now)
            await tx.append(coverage, COVERAGE_COLUMNS, [row for _, row in spans])
        if fact_rows:
            await tx.append(outbox, FACT_COLUMNS, fact_rows)
        outcome = await self._folding.write_groups(tx, groups, now=now, expect_new=not careful, waiting=waiting)
        written = counted(
            items,
            unique.values(),
            created=outcome.created,
            updated=outcome.updated,
            conflicts=outcome.conflicts,
            settled=outcome.settled,
            public=outcome.public + len(fact_rows),
        )
        return written, outcome


def _call_key(item: Item) -> CallKey | None:
    """Whose call this record is of; None if it is of none."""
    return (item.owner, item.outcome.call_key) if isinstance(item.outcome, CallUpdate) else None


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
            rows.append(record_row(item, group.call_id if group.is_open else None))
        elif isinstance(outcome, DecodeError):
            rows.append(record_row(item, None, state=SUSPENDED, reason=outcome.reason.value, detail=outcome.detail))
        elif isinstance(outcome, AgentState):
            rows.append(record_row(item, None))
        elif isinstance(outcome, Coverage):
            rows.append(record_row(item, None))
            spans.append((record_key(item), coverage_row(item.record.source, outcome)))
    rows.sort()
    return rows, spans


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
