"""The pipeline: journal → decode → fold and write, one transaction a batch.

It always reads from the journal; recovery after a crash is its normal way of working. Records are dealt to *lanes*
by call, by agent or, the coverage, by source, so that batches in flight never share one, and each lane writes its
batches one after the other. The journal's checkpoint moves only over a contiguous prefix of what is in the database.

While the database is away the pipeline waits and tries again; senders notice nothing, for they are answered by the
journal.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import structlog

from cdrhub.errors import DecodeError, Reason, StoreDamaged, StoreUnavailable
from cdrhub.hub.decoders import Decoders, DecodingWaits, UnknownRevision
from cdrhub.hub.landmark import Landmark
from cdrhub.hub.ownership import Ownership
from cdrhub.journal import Entry, Journal
from cdrhub.metrics import Metrics
from cdrhub.model.agent import AgentState
from cdrhub.model.inference import Coverage
from cdrhub.model.record import RawRecord, Revision
from cdrhub.model.update import CallUpdate, Ignored
from cdrhub.store.batch import Item, Outcome, Written
from cdrhub.store.engine import RefusedError
from cdrhub.throttle import Throttle
from cdrhub.turns import Turn, in_thread_if_large

log = structlog.get_logger(__name__)

DATABASE_AWAY = (
    "the database is away: records wait in the journal; if its address or password is wrong, correct it and restart"
)
DATABASE_DAMAGED = "the database is damaged: records wait in the journal until it is restored"
DATABASE_BACK = "the database is back"
SETTINGS_REFUSED = "the database does not take a source's decode settings: its records can be replayed with others only"
READ_BYTES = 8 * 1024 * 1024  #: of record bodies in one read of the journal
FIRST_RECORDS = 50  #: in the first read after a start, twice as many in each further one: so a daemon that is killed
#: again and again gets on, and is not taken for one that its first records kill
SUSPECT_RECORDS = 7 * FIRST_RECORDS  #: three reads: what may be in hand before the first record is in the database
FIRST_RETRY_SECONDS = 0.2
LAST_RETRY_SECONDS = 15.0
LANE_RETRY_SECONDS = 1.0  #: after which a lane tries again if another one has found the database there meanwhile
EXHAUSTED_SECONDS = 1.0  #: until a record is decoded again for which the machine lacked something
HELD_UP_SECONDS = 10.0  #: that a batch may take before a person is told
HELD_UP_BY = "another client may hold a lock, or its disk be slow"


def waiting_for(error: StoreUnavailable | None) -> str:
    """That records wait in the journal for the database, and what ails that."""
    return DATABASE_DAMAGED if isinstance(error, StoreDamaged) else "the database is away: records wait in the journal"


def say_away(error: StoreUnavailable) -> None:
    """Say it in the log."""
    if isinstance(error, StoreDamaged):
        log.error(DATABASE_DAMAGED, action="database_damaged", error=str(error))
    else:
        log.warning(DATABASE_AWAY, action="database_away", error=str(error))


class Writer(Protocol):
    """The part of the store that the pipeline uses."""

    async def write(self, batch: Sequence[Item]) -> Written:
        """Write one batch in one transaction. Raises StoreUnavailable while the database is away."""

    async def remember_revision(self, revision: Revision) -> None:
        """Keep decode settings under their revision. Raises StoreUnavailable, RefusedError."""

    async def revisions(self) -> Sequence[Revision]:
        """Every revision of decode settings that the database knows."""


@dataclass(slots=True)
class _Chunk:
    """One read of the journal: done when every lane has written its part."""

    last: int
    parts: int = 0
    done: int = 0


@dataclass(slots=True, eq=False)
class _Part:
    """A lane's share of a chunk."""

    chunk: _Chunk
    items: list[Item] = field(default_factory=list)


class Pipeline:
    """Moves records from the journal into the database until it is stopped."""

    def __init__(
        self,
        *,
        journal: Journal,
        store: Writer,
        decoders: Decoders,
        ownership: Callable[[str, str], Ownership],
        metrics: Metrics,
        observer: Callable[[RawRecord, Outcome], None],
        lanes: int,
        batch_records: int,
        wrote: Callable[[Written], None] = lambda _written: None,
        patience: float = HELD_UP_SECONDS,
    ) -> None:
        """`observer` sees each decoded record: it must be quick and must not raise. `wrote` is called after each batch
        is committed. A batch that takes longer than `patience` seconds is a problem."""
        self._journal = journal
        self._store = store
        self._decoders = decoders
        self._ownership = ownership
        self._metrics = metrics
        self._observer = observer
        self._lanes = lanes
        self._batch_records = batch_records
        self._wrote = wrote
        self._patience = patience
        self._chunks: deque[_Chunk] = deque()
        self._queues: list[asyncio.Queue[_Part]] = []
        self._remembered: set[str] = set()
        self._owners: dict[str, Ownership] = {}
        self._poison: int | None = None
        self._throttle = Throttle()
        self._away: StoreUnavailable | None = None  #: what the last batch met that was tried and met no database
        self._there = asyncio.Event()  #: the last batch that was tried is in the database
        #: A record that is in the database, one of the newest.
        self.landmark: Landmark | None = None
        #: What the machine lacks to decode the next record (None), or an older one for what a lane writes.
        self._undecoded: dict[_Part | None, str] = {}
        self._in_hand: dict[_Part, float] = {}  #: what lanes write, and since when
        self._read_to = 0
        self._written_to = 0
        self._progress = asyncio.Event()
        #: Of a run with `suspect`: set once the first record went by, or what it waits for is not its fault.
        self.tried = asyncio.Event()

    async def run(self, *, suspect: bool = False) -> None:
        """Work until cancelled.

        With `suspect` the first records go one by one, each marked in the journal before it is decoded: several
        starts before this one died while they were in flight. A record at whose mark several more starts have died is
        taken to be the cause: it is suspended without being decoded again.
        """
        self._queues = [asyncio.Queue(maxsize=1) for _ in range(self._lanes)]
        at_once = self._batch_records * self._lanes
        records = min(FIRST_RECORDS, at_once)
        one_by_one = min(SUSPECT_RECORDS, at_once) if suspect else 0
        if suspect:
            log.warning("several starts ended with the same records in hand: one by one now", action="one_by_one")
        self._poison = self._journal.named
        async with asyncio.TaskGroup() as group:
            for queue in self._queues:
                group.create_task(self._lane(queue))
            while True:
                await self._journal.wait_beyond(self._read_to)
                limit = 1 if one_by_one else records
                entries = await self._journal.read(after=self._read_to, limit=limit, max_bytes=READ_BYTES)
                if not entries:
                    self._progress.set()  # what was left was damaged: the journal has passed over it
                    continue
                records = min(2 * records, at_once)
                self._read_to = entries[-1].seq
                if one_by_one:
                    await self._journal.mark_in_flight(self._read_to)
                await self._deal(entries)
                if one_by_one:
                    await self._drained()
                    self.tried.set()
                    one_by_one -= 1
                    if not one_by_one or self._read_to == self._poison:
                        await self._journal.clear_in_flight()

    @property
    def problem(self) -> str | None:
        """Why records wait in the journal, in words; None while they do not."""
        if self._away is not None:
            return waiting_for(self._away)
        for lacking in self._undecoded.values():
            return f"records cannot be decoded and wait in the journal: {lacking}"
        waited = time.monotonic() - min(self._in_hand.values(), default=math.inf)
        if waited > self._patience:
            return f"the database has not taken a batch for {waited:.0f} s: {HELD_UP_BY}"
        return None

    async def drain(self) -> None:
        """Wait until everything the journal holds is in the database."""
        while self._journal.stats.depth:
            self._progress.clear()
            await self._progress.wait()

    async def _drained(self) -> None:
        while self._chunks:
            self._progress.clear()
            await self._progress.wait()

    async def _deal(self, entries: Sequence[Entry]) -> None:
        """Decode entries and give each lane its part of them."""
        chunk = _Chunk(last=entries[-1].seq)
        parts = [_Part(chunk=chunk) for _ in range(self._lanes)]
        turn = Turn()
        for entry in entries:
            item = await self._item(entry)
            parts[self._lane_of(item)].items.append(item)
            await turn.give_way()
        filled = [(number, part) for number, part in enumerate(parts) if part.items]
        chunk.parts = len(filled)
        self._chunks.append(chunk)
        for number, part in filled:
            await self._queues[number].put(part)

    async def _item(self, entry: Entry) -> Item:
        record = entry.record
        outcome: Outcome
        if entry.seq == self._poison:
            outcome = DecodeError(Reason.POISON, "the daemon died each time it worked on this record")
        else:
            outcome = await self._decoded(record)
        self._observe(record, outcome)
        its = self._owners.get(record.source) or self._own(record)
        return its.item(record, outcome)

    async def _decoded(self, record: RawRecord) -> Outcome:
        """What the record says; waits while the machine lacks what its decoder needs."""
        while True:
            try:
                outcome = await in_thread_if_large(len(record.body), self._decoders.decode, record)
            except UnknownRevision:
                await self.learn_revisions(record.config_revision)
            except DecodingWaits as error:
                await self._wait_to_decode(error, part=None)
            else:
                self._undecoded.pop(None, None)
                return outcome

    async def _wait_to_decode(self, error: DecodingWaits, *, part: _Part | None) -> None:
        self._undecoded[part] = str(error)
        if self._throttle.allows("decoding_waits"):
            log.error("records cannot be decoded and wait", action="decoding_waits", error=str(error))
        await self._wait_unmarked(EXHAUSTED_SECONDS)

    def _own(self, record: RawRecord) -> Ownership:
        known = self._decoders.revisions().get(record.config_revision)
        its = self._ownership(record.source, known.system if known is not None else "")
        self._owners[record.source] = its
        return its

    def forget_ownership(self) -> None:
        """The configuration changed: ask again what sources' records are filed under."""
        self._owners.clear()

    def _observe(self, record: RawRecord, outcome: Outcome) -> None:
        if isinstance(outcome, Ignored):
            self._metrics.ignored.labels(record.source, outcome.why).inc()
            if outcome.warning:
                log.warning(outcome.warning, action="ignored_message", source=record.source)
        elif isinstance(outcome, CallUpdate | AgentState) and "unmapped_word" in outcome.flags:
            self._metrics.unmapped.labels(record.source).inc()
        self._observer(record, outcome)

    def _lane_of(self, item: Item) -> int:
        if self._lanes == 1:
            return 0
        outcome = item.outcome
        if isinstance(outcome, CallUpdate):
            return hash((item.owner, outcome.call_key)) % self._lanes
        if isinstance(outcome, Coverage):  # what is told of it goes by what was seen before
            return hash(item.record.source) % self._lanes
        if isinstance(outcome, AgentState):  # those of one moment are listed as they were written
            return hash((item.owner, outcome.agent_id)) % self._lanes
        return item.record.digest[0] % self._lanes

    async def _lane(self, queue: asyncio.Queue[_Part]) -> None:
        while True:
            part = await queue.get()
            await self._write(part)
            part.chunk.done += 1
            await self._advance()

    async def _advance(self) -> None:
        """Move the checkpoint over every chunk at the front that is wholly in the database."""
        last = self._written_to
        while self._chunks and self._chunks[0].done == self._chunks[0].parts:
            last = self._chunks.popleft().last
        if last != self._written_to:
            self._written_to = last
            await self._journal.checkpoint(last)
            self._progress.set()

    async def _write(self, part: _Part) -> None:
        """Write one batch; comes back only when it is in the database."""
        items = part.items
        retry = FIRST_RETRY_SECONDS
        while True:
            begun = self._in_hand[part] = time.monotonic()
            try:
                await self._remember({item.record.config_revision for item in items})
                written = await self._store.write(items)
            except UnknownRevision as error:
                await self.learn_revisions(error.revision)
            except DecodingWaits as error:  # of an older record of one of these calls
                await self._wait_to_decode(error, part=part)
            except StoreUnavailable as error:
                del self._in_hand[part]  # nothing but the database's absence holds it up now
                self._note_database(away=error)
                self._metrics.database_retries.inc()
                if self._throttle.allows("database_away"):
                    say_away(error)
                await self._wait_unmarked(retry, at_most_until=self._there)
                retry = min(retry * 2, LAST_RETRY_SECONDS)
            else:
                del self._in_hand[part]
                if self._throttle.over("database_away"):
                    log.info(DATABASE_BACK, action="database_back")
                self._note_database(away=None)
                self._undecoded.pop(part, None)
                self._metrics.batch_seconds.observe(time.monotonic() - begun)
                self._metrics.batch_records.observe(len(items))
                if not written.duplicates:  # the first of a duplicate may be older than any backup
                    self._mark(items)
                self._metrics.wrote(written.by_source)
                if written.suspended:
                    self._say_suspended(items)
                self._wrote(written)
                return

    def _mark(self, items: Sequence[Item]) -> None:
        for item in reversed(items):
            if not isinstance(item.outcome, Ignored):  # those are counted, and not kept
                self.landmark = Landmark.of(item.record)
                return

    def _note_database(self, *, away: StoreUnavailable | None) -> None:
        self._away = away
        self._metrics.database_up.set(away is None)
        if away is None:
            self._there.set()
        else:
            self._there.clear()

    async def _wait_unmarked(self, seconds: float, *, at_most_until: asyncio.Event | None = None) -> None:
        """Wait for what is not the record's fault, with its mark taken off, so that a death in the meantime is not
        blamed on it. An event that is set shortens the wait, to LANE_RETRY_SECONDS at least."""
        marked = self._journal.in_flight
        self.tried.set()
        if marked is not None:
            await self._journal.clear_in_flight()
        least = seconds if at_most_until is None else min(seconds, LANE_RETRY_SECONDS)
        await asyncio.sleep(least)
        if at_most_until is not None and least < seconds:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds - least):
                    await at_most_until.wait()
        if marked is not None:
            await self._journal.mark_in_flight(marked)

    def _say_suspended(self, items: Sequence[Item]) -> None:
        for item in items:
            if isinstance(item.outcome, DecodeError):
                source, reason = item.record.source, str(item.outcome.reason)
                if self._throttle.allows((source, reason)):
                    log.warning(
                        "records are in suspense: cdrhub suspense list",
                        action="suspended",
                        source=source,
                        reason=reason,
                    )

    async def _remember(self, revisions: set[str]) -> None:
        """Keep the settings of these revisions in the database before a record points to them. The records are stored
        also where it refuses the settings: those are needed when somebody replays the records with them."""
        for revision in revisions - self._remembered:
            known = self._decoders.revisions().get(revision)
            if known is not None:
                try:
                    await self._store.remember_revision(known)
                except RefusedError as error:
                    log.error(SETTINGS_REFUSED, action="settings_refused", source=known.source, error=str(error))
            self._remembered.add(revision)

    async def learn_revisions(self, wanted: str) -> None:
        """Learn every revision that the database knows; the settings of one that it does not know either are lost."""
        retry = FIRST_RETRY_SECONDS
        while True:
            try:
                self._decoders.learn_all(await self._store.revisions())
            except StoreUnavailable:
                await asyncio.sleep(retry)
                retry = min(retry * 2, LAST_RETRY_SECONDS)
            else:
                break
        if not self._decoders.knows(wanted):
            self._decoders.give_up(wanted)
