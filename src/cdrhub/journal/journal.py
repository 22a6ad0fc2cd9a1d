"""The journal as the hub uses it: append, read, checkpoint, for one event loop.

**What is guaranteed.** `append` returns when its records, and the position that goes with them, are fsynced in one
transaction. They keep their order and stay until a checkpoint covers them; after a crash at most what was already in
the database is read again. Whoever is cancelled loses nothing: his write lands or does not, as a whole.

**Group commit.** Whatever waits when the writer becomes free is committed together: alone when idle, some thousand
records under load. No delay is added to gather more; the fsync before is the delay.

**Reading.** Recent records are also kept in memory, bounded, so that a pipeline that keeps up reads no SQL. What is
no longer there comes from disk, over a connection of its own. Which way a record came cannot be told. A group that
turns out to be damaged on disk is set aside, said at level error and passed over: one bad block must not keep all
that lies behind it from the database. A disk that gives nothing, or a process without a free descriptor, is waited
for: records are taken meanwhile if they can be written. A file that contradicts itself, or is no database any more, is
an error: whether it is met at the opening, by a read or, once all that is in memory is in the database, by a write.

**Poison.** A record that kills the process (not one that raises) must be found without an fsync for every batch. So
each start notes once, durably, which entry is the first that is not yet in the database. If that is the same entry
at SUSPECT_STARTS starts in a row and none of them ended cleanly, the pipeline goes record by record, and only then
marks each before it decodes it (`mark_in_flight`). A process may die by another hand while a mark stands, so one death
accuses nobody: the record at whose mark NAMED_STARTS starts in a row ended is named (`named`), and the pipeline
suspends it. After the first of them the hub tries the record before it takes any others, so that it stands marked for
no longer than it takes; a start that ended before the mark does not count. An advance of the checkpoint or a clean
stop begins the count anew.
"""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

import structlog

from cdrhub.errors import CdrhubError, IntakeRefused, JournalError, JournalFull
from cdrhub.journal.file import (
    DATABASE_NAME,
    FORGET_POSITION,
    NAMED_STARTS,
    PROBE,
    REMEMBER_POSITION,
    REMEMBER_REVISION,
    SUSPECT_STARTS,
    DamagedGroup,
    DirectoryLock,
    ReadableFile,
    Run,
    State,
    Unreadable,
    WritableFile,
    is_spoilt,
    spoilt,
)
from cdrhub.journal.jobs import Read, Write, commit_group, fail, noting, succeed, writable
from cdrhub.journal.lane import Lane
from cdrhub.journal.log_damage import kept_logs
from cdrhub.journal.packing import Entry, pack, size_of
from cdrhub.journal.reserve import is_full
from cdrhub.journal.tail import Tail
from cdrhub.model.record import RawRecord, Revision

log = structlog.get_logger(__name__)

DEFAULT_MAX_BYTES = 4 * 1024**3
RESERVE_BYTES = 16 * 1024 * 1024  #: of the limit are for inferences; a tenth of a small limit
APPEND_MAX_BYTES = 256 * 1024 * 1024  #: of one append; SQLite's own limit of a BLOB is 1 GB
GROUP_BYTES = 4 * 1024 * 1024  #: after which a group takes no further append
TAIL_BYTES = 16 * 1024 * 1024  #: of recent records kept in memory
DELETE_SECONDS = 0.2  #: after which they are deleted in any case
ROOM_SHARE = 0.9  #: of the limit, below which a journal that was full takes records again
RETRY_SECONDS = 0.5  #: after a failure of the disk, before the journal tries by itself whether it works again


@dataclass(frozen=True, kw_only=True, slots=True)
class JournalStats:
    """How full the journal is and how it does."""

    depth: int  #: records that are not yet in the database
    bytes: int  #: that they take, with those not yet deleted
    oldest_received_at: datetime | None  #: of the oldest one, or a little before; None when there is none
    groups: int  #: committed since the start
    damaged: int  #: records that were set aside because they could not be read, ever
    last_commit_seconds: float


class Journal:
    """See the module. Made by `open`; all of it belongs to the event loop that opened it."""

    def __init__(self, directory: Path, *, max_bytes: int, tail_bytes: int, append_max_bytes: int) -> None:
        self._directory = directory
        self._readable = ReadableFile(directory / DATABASE_NAME)  # of the reader's thread
        self._max_bytes: Final = max_bytes
        self._append_max_bytes: Final = append_max_bytes
        self._reserve: Final = min(RESERVE_BYTES, max_bytes // 10)
        self._loop = asyncio.get_running_loop()
        self._writer: Lane[Write] = Lane(
            "journal-writer",
            setup=self._open_file,
            work=self._commit,
            teardown=self._close_file,
            weigh=lambda write: write.bytes,
            limit=GROUP_BYTES,
        )
        self._reader: Lane[Read] = Lane(
            "journal-reader",
            setup=lambda: None,
            work=self._read_file,
            teardown=self._readable.close,
            weigh=lambda _: 1,
            limit=1,
        )
        # Of the writer's thread, and of the loop's until it is open.
        self._file: WritableFile
        self._lock: DirectoryLock
        # Of the loop's thread. The writer only looks at `_checkpoint`.
        self._state: State
        self._run: Run
        self._positions: dict[tuple[str, str], str] = {}
        self._revisions: dict[str, Revision] = {}
        self._damaged: list[range] = []
        self._checkpoint = 0
        self._tail = Tail(first=1, max_bytes=tail_bytes)
        self._queued_bytes = 0
        self._groups = 0
        self._full = False
        self._failing = False
        self._spoilt: JournalError | None = None  #: what a write met in a file that is damaged
        self._unreadable = False
        self._began_run = False
        self._waiters: set[asyncio.Future[None]] = set()
        self._tending: asyncio.TimerHandle | None = None
        self._closing: asyncio.Task[None] | None = None

    @classmethod
    async def open(
        cls,
        directory: Path,
        *,
        max_bytes: int = DEFAULT_MAX_BYTES,
        tail_bytes: int = TAIL_BYTES,
        append_max_bytes: int = APPEND_MAX_BYTES,
    ) -> Journal:
        """The journal in `directory`, which is made if need be. It keeps recent records in memory up to `tail_bytes`
        and takes up to `append_max_bytes` in one append.

        Raises JournalLocked while another process holds it, JournalError when it cannot be used.
        """
        journal = cls(directory, max_bytes=max_bytes, tail_bytes=tail_bytes, append_max_bytes=append_max_bytes)
        try:
            await journal._writer.start()
        except (sqlite3.Error, OSError, TypeError, ValueError) as error:
            if is_spoilt(error):
                raise spoilt(directory / DATABASE_NAME, error) from error
            why = "its disk is full" if is_full(error) else error
            raise JournalError(f"the journal in {directory} cannot be opened: {why}") from error
        state = journal._file.state
        if (kept := journal._file.kept_log) is not None:
            log.error(
                "the journal's log was damaged: records that were acknowledged may be missing; a copy of it is kept",
                action="journal_damaged",
                file=str(kept.file),
                removed=[str(older) for older in kept.removed],
            )
        journal._state = state
        journal._checkpoint = journal._beyond_damaged(state.checkpoint)
        journal._tail = Tail(first=state.last + 1, max_bytes=tail_bytes)
        try:
            await journal._reader.start()
        except BaseException:
            await journal._writer.stop()
            raise
        return journal

    # ------------------------------------------------------------------ writing

    async def append(
        self,
        records: Sequence[RawRecord],
        *,
        position: tuple[str, str, str] | None = None,
        reserved: bool = False,
    ) -> None:
        """Make records durable, in order, all or none; returns when they are.

        `position` is (source, key, value), remembered in the same transaction; what is no Unicode in it (a file name
        may be that) is written as backslash escapes. `reserved` may use the part of the limit that is kept for the
        hub's own conclusions. Raises JournalFull at the limit and IntakeRefused when the disk fails; both pass by
        themselves (see `room`). What can never be taken is a JournalError: more than `append_max_bytes`, a value that
        cannot be written; TypeError if an attribute is no JSON value.
        """
        self._check_open()
        size = size_of(records)
        if size > self._append_max_bytes:
            raise JournalError(
                f"{size} bytes in one append to the journal in {self._directory}; at most {self._append_max_bytes} are "
                "taken: send fewer at once"
            )
        limit = self._max_bytes if reserved else self._max_bytes - self._reserve
        used = self._state.bytes + self._queued_bytes
        # An empty journal takes anything, so that no record is too large for ever.
        if records and used + size > limit and (self._queued_bytes or self._depth):
            self._full = True
            raise JournalFull(f"the journal in {self._directory} holds {used} bytes, its limit is {limit}")
        write = Write(self._loop.create_future(), records=records, payload=pack(records), bytes=size)
        if position is not None:
            source, key, value = (writable(text) for text in position)
            write.statements = ((REMEMBER_POSITION, (source, key, value)),)
            write.landed = lambda: self._positions.__setitem__((source, key), value)
        await self._write(write)

    async def forget_positions(self, source: str, keys: Sequence[str]) -> None:
        """Forget what is remembered under these keys, all of it or nothing. Raises IntakeRefused."""
        gone = [(writable(source), writable(key)) for key in keys]

        def landed() -> None:
            for place in gone:
                self._positions.pop(place, None)

        statements = tuple((FORGET_POSITION, place) for place in gone)
        await self._write(Write(self._loop.create_future(), statements=statements, landed=landed))

    async def room(self) -> None:
        """Wait until the journal takes records again, whether it was full or its disk failed. Raises JournalError
        when the journal is closed."""
        while not self.accepting:
            self._check_open(JournalError)
            await self._change()

    async def checkpoint(self, seq: int) -> None:
        """Every entry up to `seq` is in the database. Written along with a later group, or soon: what a crash takes
        of it is read again. Raises JournalError for an entry that does not exist."""
        if seq > self._state.last:
            raise JournalError(f"checkpoint {seq} is beyond the last entry {self._state.last}")
        if seq > self._checkpoint:
            self._move_checkpoint(self._beyond_damaged(seq))

    async def remember_revision(self, revision: Revision) -> None:
        """Keep decode settings under their revision, durably and for ever. Raises IntakeRefused."""
        if revision.revision not in self._revisions:
            row = (revision.revision, revision.source, revision.system, revision.settings)
            await self._write(
                Write(
                    self._loop.create_future(),
                    statements=((REMEMBER_REVISION, row),),
                    landed=lambda: self._revisions.__setitem__(revision.revision, revision),
                )
            )

    # ------------------------------------------------------------------ reading

    async def read(self, *, after: int, limit: int, max_bytes: int) -> list[Entry]:
        """Durable entries behind `after` and the checkpoint, in order: at most `limit`, with bodies of at most
        `max_bytes` in sum, but at least one if there is one. A damaged group leaves a gap; a disk that does not give
        them is waited for. Raises JournalError when the file is no database any more, or closed."""
        while True:
            first = self._beyond_damaged(max(after, self._checkpoint)) + 1
            last = self._state.last
            if first > last or limit < 1:
                return []
            if first >= self._tail.first:
                return self._tail.read(first, last=last, limit=limit, max_bytes=max_bytes)
            self._check_open(JournalError)
            answer: asyncio.Future[list[Entry]] = self._loop.create_future()
            self._reader.submit(Read(answer, after=first - 1, last=last, limit=limit, max_bytes=max_bytes))
            try:
                entries = await answer
            except DamagedGroup as group:
                self._was_read()
                await self._set_aside(group)
            except Unreadable as error:
                if not self._unreadable:
                    self._unreadable = True
                    said = "the journal cannot be read: records wait in it"
                    log.error(said, action="journal_unreadable", error=str(error))
                await asyncio.sleep(RETRY_SECONDS)
            else:
                self._was_read()
                return entries

    def _was_read(self) -> None:
        if self._unreadable:
            self._unreadable = False
            log.info("the journal can be read again", action="journal_recovered")

    async def wait_beyond(self, seq: int) -> None:
        """Wait until there is an entry to read behind `seq`. Raises JournalError when the journal is closed, or is
        damaged and all that it took is in the database."""
        while self._state.last <= self._beyond_damaged(max(seq, self._checkpoint)):
            self._check_open(JournalError)
            if self._spoilt and not self._depth:
                raise self._spoilt
            await self._change()

    def position(self, source: str, key: str) -> str | None:
        """The value that was durably remembered last."""
        return self._positions.get((writable(source), writable(key)))

    def revisions(self) -> Collection[Revision]:
        """Every remembered revision of decode settings."""
        return self._revisions.values()

    @property
    def append_max_bytes(self) -> int:
        """What one append may hold, counted by `size_of`."""
        return self._append_max_bytes

    @property
    def accepting(self) -> bool:
        """Whether an append would be taken, as far as is known."""
        return self._closing is None and not (self._full or self._failing)

    @property
    def readable(self) -> bool:
        """Whether the disk gave what was read last."""
        return not self._unreadable

    @property
    def kept_logs(self) -> Sequence[Path]:
        """Copies of logs that were damaged when the journal was opened, now or before, until somebody removes them."""
        return kept_logs(self._directory / DATABASE_NAME)

    @property
    def stats(self) -> JournalStats:
        """How full the journal is and how it does."""
        oldest = self._tail.received_at(self._checkpoint + 1) or self._state.oldest
        return JournalStats(
            depth=self._depth,
            bytes=self._state.bytes,
            oldest_received_at=oldest if self._depth else None,
            groups=self._groups,
            damaged=sum([len(entries) for entries in self._damaged]),
            last_commit_seconds=self._state.seconds,
        )

    # ------------------------------------------------------------------ poison

    async def begin_run(self) -> int:
        """Note durably that a process works on this journal; call once, before the first read.

        Returns at how many starts in a row before this one the entry that is now the first was in flight and the
        process did not end cleanly; 0 after a clean stop or with nothing to do. From SUSPECT_STARTS on, go record
        by record; beyond them the first has died alone at its mark.
        """
        await self._note_run(self._run.followed_by(first=self._checkpoint + 1, depth=self._depth))
        self._began_run = True
        return self._run.deaths

    @property
    def in_flight(self) -> int | None:
        """The entry that was marked last and neither cleared nor passed by the checkpoint."""
        return self._run.first if self._run.marked and self._run.first > self._checkpoint else None

    @property
    def named(self) -> int | None:
        """The first entry, if so many starts in a row ended at its mark that it must be the reason."""
        run = self._run
        return run.first if run.deaths >= SUSPECT_STARTS + NAMED_STARTS and run.first > self._checkpoint else None

    async def mark_in_flight(self, entry: int) -> None:
        """Note durably, with the checkpoint, that nothing but this entry is worked on. An fsync: for suspects."""
        await self._note_run(self._run.at_mark(entry))

    async def clear_in_flight(self) -> None:
        """Nothing that could kill is under way: begin the count of deaths anew."""
        await self._note_run(Run(running=True, first=self._checkpoint + 1))

    # ------------------------------------------------------------------ closing

    async def close(self, *, clean: bool = True) -> None:
        """Write what was appended, then close the files and end the threads. Idempotent, also when cancelled.

        A run that ends because something failed is not `clean`: it counts as a death (see the module, Poison)."""
        if self._closing is None:
            self._closing = asyncio.create_task(self._close(clean=clean))
        await asyncio.shield(self._closing)

    async def _close(self, *, clean: bool) -> None:
        if self._tending is not None:
            self._tending.cancel()
        run = Run(running=False, first=self._checkpoint + 1)
        statements = noting(run) if clean and self._began_run else ()
        goodbye = Write(self._loop.create_future(), statements=statements, flush=True)
        self._writer.submit(goodbye)
        self._wake()
        try:
            await goodbye.answer
        except CdrhubError as error:
            # Nothing is lost by it: the next start reads again what this one did since its last commit.
            log.warning("the journal could not note its end", action="journal_close", error=str(error))
        finally:
            await self._reader.stop()
            await self._writer.stop()

    # ------------------------------------------------------------------ in the writer's thread

    def _open_file(self) -> None:
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._lock = DirectoryLock(self._directory)
        with contextlib.ExitStack() as undone:
            undone.callback(self._lock.release)
            self._file = WritableFile(self._directory / DATABASE_NAME)
            undone.callback(self._file.give_up)
            self._positions = self._file.positions()
            self._revisions = {known.revision: known for known in self._file.revisions()}
            self._run = self._file.run()
            self._damaged = self._file.damaged()
            undone.pop_all()

    def _commit(self, writes: list[Write]) -> None:
        try:
            state = commit_group(self._file, writes, checkpoint=self._checkpoint)
        except (sqlite3.Error, OSError, MemoryError, JournalError) as error:
            self._file.make_way(error, checkpoint=self._checkpoint)
            refusal = f"the journal in {self._directory} cannot write: {error}"
            damage = spoilt(self._directory / DATABASE_NAME, error) if is_spoilt(error) else None
            self._writer.post(self._refused, writes, IntakeRefused(damage or refusal), damage)
        except Exception as error:  # noqa: BLE001 - one of them cannot be written, and the others shall be
            if len(writes) > 1:
                for write in writes:
                    self._commit([write])
            else:
                self._writer.post(self._impossible, writes[0], error)
        else:
            self._writer.post(self._committed, writes, state)

    def _close_file(self) -> None:
        try:
            self._file.close()
        except sqlite3.Error as error:
            log.warning("the journal's log stays beside it", action="journal_close", error=str(error))
        finally:
            self._lock.release()

    # ------------------------------------------------------------------ in the reader's thread

    def _read_file(self, reads: list[Read]) -> None:
        for read in reads:
            try:
                entries = self._readable.read(
                    after=read.after, last=read.last, limit=read.limit, max_bytes=read.max_bytes
                )
            except Exception as error:  # noqa: BLE001 - belongs to the one who waits
                self._reader.post(fail, read.answer, error)
            else:
                self._reader.post(succeed, read.answer, entries)

    # ------------------------------------------------------------------ in the loop's thread

    async def _write(self, write: Write) -> None:
        self._check_open()
        self._queued_bytes += write.bytes
        self._writer.submit(write)
        await write.answer

    def _committed(self, writes: list[Write], state: State) -> None:
        records = [record for write in writes for record in write.records]
        first = state.last - len(records) + 1
        if first != self._state.last + 1:
            # A refused group landed after all; it is on disk only, and the tail has no holes.
            self._tail.forget(upto=first - 1)
        self._state = state
        if self._failing and any(write.records or write.probe for write in writes):  # others need not the same room
            self._failing = False
            log.info("the journal writes again", action="journal_recovered")
        self._groups += 1
        for write in writes:
            self._queued_bytes -= write.bytes
            if write.landed is not None:
                write.landed()
            if not write.answer.done():
                write.answer.set_result(None)
        if records:
            self._tail.add(first, records)
            self._tail.forget(upto=self._checkpoint)
        if self._full:
            used = state.bytes + self._queued_bytes
            self._full = bool(self._depth) and used > ROOM_SHARE * (self._max_bytes - self._reserve)
        self._wake()

    def _refused(self, writes: list[Write], error: IntakeRefused, damage: JournalError | None) -> None:
        self._spoilt = self._spoilt or damage
        if not self._failing:
            self._failing = True
            log.error("the journal cannot write: records are refused", action="journal_failed", error=str(error))
        self._tend_in(RETRY_SECONDS)
        for write in writes:
            self._queued_bytes -= write.bytes
            fail(write.answer, error)
        self._wake()

    def _impossible(self, write: Write, error: Exception) -> None:
        """This one can never be written; nothing is wrong with the journal."""
        self._queued_bytes -= write.bytes
        refusal = JournalError(f"the journal in {self._directory} cannot write this: {error}")
        refusal.__cause__ = error
        fail(write.answer, refusal)
        self._wake()

    def _move_checkpoint(self, seq: int) -> None:
        self._checkpoint = seq
        self._tail.forget(upto=seq)
        if self._spoilt:
            self._wake()
        if self._full:
            self._tend()
        else:
            self._tend_in(DELETE_SECONDS)

    def _beyond_damaged(self, seq: int) -> int:
        """`seq`, or the last of the entries behind it that were all set aside."""
        for entries in self._damaged:
            if seq + 1 in entries:
                seq = entries[-1]
        return seq

    async def _set_aside(self, group: DamagedGroup) -> None:
        """Keep a damaged group for a person to look at, durably, then pass over it."""
        log.error(
            "a group of the journal is damaged: it is kept in the table `damaged`, its records are passed over",
            action="journal_damaged",
            file=str(self._directory / DATABASE_NAME),
            first=group.first,
            last=group.last,
            error=group.why,
        )
        entries = range(group.first, group.last + 1)
        while True:
            self._check_open(JournalError)
            try:
                await self._write(Write(self._loop.create_future(), damaged=group))
            except IntakeRefused:
                if self._spoilt:
                    raise self._spoilt from None
                await asyncio.sleep(RETRY_SECONDS)
            else:
                break
        if entries not in self._damaged:
            self._damaged = sorted([*self._damaged, entries], key=lambda each: each.start)
        if (beyond := self._beyond_damaged(self._checkpoint)) > self._checkpoint:
            self._move_checkpoint(beyond)
            self._wake()

    def _tend_in(self, seconds: float) -> None:
        if self._tending is None and self._closing is None:
            self._tending = self._loop.call_later(seconds, self._tend)

    def _tend(self) -> None:
        """Delete what is behind the checkpoint, and see whether a disk that failed works again."""
        if self._tending is not None:
            self._tending.cancel()
            self._tending = None
        if self._closing is None and (self._failing or self._checkpoint > self._state.checkpoint):
            answer: asyncio.Future[None] = self._loop.create_future()
            answer.add_done_callback(asyncio.Future.exception)  # `_refused` has told it and comes here again
            probing = ((PROBE, ()),) if self._failing else ()
            self._writer.submit(Write(answer, statements=probing, flush=True, probe=self._failing))

    async def _note_run(self, run: Run) -> None:
        await self._write(Write(self._loop.create_future(), statements=noting(run), flush=True))
        self._run = run

    @property
    def _depth(self) -> int:
        return self._state.last - self._checkpoint

    def _check_open(self, error: type[CdrhubError] = IntakeRefused) -> None:
        if self._closing is not None:
            raise error(f"the journal in {self._directory} is closed")

    async def _change(self) -> None:
        """Wait for the next commit, refusal or the close."""
        waiter: asyncio.Future[None] = self._loop.create_future()
        self._waiters.add(waiter)
        try:
            await waiter
        finally:
            self._waiters.discard(waiter)

    def _wake(self) -> None:
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)
        self._waiters.clear()
