"""One write transaction: the few things that the write protocol asks of an engine.

What is said here in SQLAlchemy Core is the same on all three; the engines' own modules replace what is hot or
different. Rows are those of `rows.py`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Table, delete, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from cdrhub.model.record import RawRecord
from cdrhub.parts import in_parts
from cdrhub.store.rows import APPLIED, Row
from cdrhub.store.tables import call_legs, calls, records, unopened

CallKey = tuple[str, str]
"""(source, call_key) of a call, in the order of its locks."""

RecordKey = tuple[str, bytes]
"""(source, digest) of a record, in the order of its locks."""

KEYS_PER_STATEMENT = 500


@dataclass(frozen=True, kw_only=True, slots=True)
class KnownCall:
    """A call that the database has, locked until the end of the transaction."""

    id: str
    source: str
    call_key: str
    state: str
    flags: tuple[str, ...]
    record_count: int
    revision: int
    first_received_at: datetime
    last_received_at: datetime


@dataclass(frozen=True, kw_only=True, slots=True)
class StoredRecord:
    """A record that the database has. `record` is None once retention emptied its body; a repaired body stands in
    for the original one."""

    id: int
    key: RecordKey
    call_id: str | None
    state: str
    received_at: datetime
    decoder_revision: int
    record: RawRecord | None


KNOWN_CALL_COLUMNS = (
    calls.c.id,
    calls.c.source,
    calls.c.call_key,
    calls.c.state,
    calls.c.flags,
    calls.c.record_count,
    calls.c.revision,
    calls.c.first_received_at,
    calls.c.last_received_at,
)


def known_call(row: Sequence[Any]) -> KnownCall:
    """Of KNOWN_CALL_COLUMNS."""
    call_id, source, call_key, state, flags, record_count, revision, first, last = row
    return KnownCall(
        id=call_id,
        source=source,
        call_key=call_key,
        state=state,
        flags=tuple(flags),
        record_count=record_count,
        revision=revision,
        first_received_at=first,
        last_received_at=last,
    )


def stored_record(row: Any) -> StoredRecord:
    """Of a row with all columns of `records`."""
    body = row.body if row.repaired_body is None else row.repaired_body
    return StoredRecord(
        id=row.id,
        key=(row.source, row.digest),
        call_id=row.call_id,
        state=row.state,
        received_at=row.received_at,
        decoder_revision=row.decoder_revision,
        record=None
        if body is None
        else RawRecord(
            source=row.source,
            received_at=row.received_at,
            content_type=row.content_type,
            body=body,
            digest=row.digest,
            config_revision=row.config_revision,
            event_id=row.event_id,
            attributes=row.attributes,
        ),
    )


def by_source(
    keys: Iterable[tuple[str, Any]], *, at_once: int = KEYS_PER_STATEMENT
) -> Iterator[tuple[str, Sequence[Any]]]:
    """`keys` as (source, some of its keys), in their order; every engine finds `key IN (…) AND source = …` by the
    unique index, and MariaDB would not find `(source, key) IN (…)`."""
    grouped: dict[str, list[Any]] = defaultdict(list)
    for source, key in keys:
        grouped[source].append(key)
    for source, its in grouped.items():
        for some in in_parts(its, at_once):
            yield source, some


class Transaction(ABC):
    """A transaction on one connection, begun and ended by its `Database`."""

    def __init__(self, connection: AsyncConnection) -> None:
        self.connection = connection

    # -- hot: each engine in its own way ---------------------------------------------------------------------------

    @abstractmethod
    async def insert_records(self, rows: Sequence[Row], *, expect_new: bool) -> set[RecordKey] | None:
        """Insert records and say which are new; None means all. `expect_new` is a guess: a wrong one may raise a
        unique violation, after which the batch is written again without guessing."""

    @abstractmethod
    async def insert_calls(self, rows: Sequence[Row], *, expect_new: bool) -> set[str] | None:
        """Insert calls that are missing and say the ids of those; None means all. `expect_new` as above."""

    @abstractmethod
    async def lock_calls(self, keys: Sequence[CallKey]) -> list[KnownCall]:
        """The calls of these keys that exist, locked in the order of the keys."""

    @abstractmethod
    async def update_calls(self, rows: Sequence[Row]) -> None:
        """Set UPDATED_COLUMNS of locked calls."""

    @abstractmethod
    async def append(self, table: Table, columns: Sequence[str], rows: Sequence[Row]) -> None:
        """Insert rows that cannot be there yet."""

    @asynccontextmanager
    async def keeping_plans(self) -> AsyncIterator[None]:
        """Within, a statement keeps the plan that it was given first: for those that need the same one whatever they
        are asked and however much there is, since for each of their conditions there is one index."""
        yield

    # -- the same everywhere ---------------------------------------------------------------------------------------

    async def any_unopened(self) -> bool:
        """Whether there is any record of a call that is not open yet. First statement of every batch."""
        row = await self.connection.execute(select(unopened.c.source).limit(1))
        return row.first() is not None

    async def unopened_of(self, keys: Iterable[CallKey]) -> dict[CallKey, list[RecordKey]]:
        """The records that wait for these calls to open."""
        found: dict[CallKey, list[RecordKey]] = defaultdict(list)
        for source, some in by_source(keys):
            rows = await self.connection.execute(
                select(unopened).where(unopened.c.call_key.in_(some), unopened.c.source == source)
            )
            for row in rows:
                found[row.source, row.call_key].append((row.record_source, row.digest))
        return found

    async def forget_unopened(self, keys: Iterable[CallKey]) -> None:
        """These calls are open now."""
        for source, some in by_source(keys):
            await self.connection.execute(
                delete(unopened).where(unopened.c.call_key.in_(some), unopened.c.source == source)
            )

    async def records_of(self, call_ids: Sequence[str]) -> list[StoredRecord]:
        """The applied records of these calls."""
        return await self._records(
            *(records.c.call_id.in_(some) for some in in_parts(call_ids, KEYS_PER_STATEMENT)), state=APPLIED
        )

    async def records_by_key(self, keys: Iterable[RecordKey]) -> list[StoredRecord]:
        """The records of these keys, whatever their state."""
        return await self._records(
            *(
                records.c.digest.in_(digests) & (records.c.source == source)
                for source, digests in by_source(sorted(keys))
            )
        )

    async def locked_records(self, ids: Sequence[int]) -> list[StoredRecord]:
        """The records of these numbers, whatever their state, in their order, locked until the transaction ends."""
        return await self._records(*(records.c.id.in_(some) for some in in_parts(ids, KEYS_PER_STATEMENT)), lock=True)

    async def _records(
        self, *conditions: ColumnElement[bool], state: str | None = None, lock: bool = False
    ) -> list[StoredRecord]:
        found: list[StoredRecord] = []
        for condition in conditions:
            query = select(records).where(condition).order_by(records.c.id)
            if state is not None:
                query = query.where(records.c.state == state)
            if lock:
                query = query.with_for_update()
            found += map(stored_record, await self.connection.execute(query))
        return found

    async def link_records(self, links: Iterable[tuple[RecordKey, str | None]]) -> None:
        """Say whose call these records are."""
        grouped: dict[tuple[str, str | None], list[bytes]] = defaultdict(list)
        for (source, digest), call_id in links:
            grouped[source, call_id].append(digest)
        for (source, call_id), digests in grouped.items():
            for some in in_parts(digests, KEYS_PER_STATEMENT):
                its = records.c.digest.in_(some), records.c.source == source
                await self.connection.execute(update(records).where(*its).values(call_id=call_id))

    async def call_rows(self, call_ids: Sequence[str]) -> dict[str, dict[str, Any]]:
        """All columns of these calls."""
        found: dict[str, dict[str, Any]] = {}
        for some in in_parts(call_ids, KEYS_PER_STATEMENT):
            rows = await self.connection.execute(select(calls).where(calls.c.id.in_(some)))
            found |= {row.id: dict(row._mapping) for row in rows}
        return found

    async def delete_legs(self, call_ids: Sequence[str]) -> None:
        """Remove the legs of these calls, to be written anew."""
        for some in in_parts(call_ids, KEYS_PER_STATEMENT):
            await self.connection.execute(delete(call_legs).where(call_legs.c.call_id.in_(some)))
