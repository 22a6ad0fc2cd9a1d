"""What the event loop asks of the journal's two threads, and what the writer's makes of it.

A job carries the future that its caller waits for. The threads never touch a future: they post to the loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from cdrhub.journal.file import NOTE_RUN, DamagedGroup, Group, Run, State, Statement, WritableFile
from cdrhub.journal.packing import Entry, microseconds
from cdrhub.model.record import RawRecord

DELETE_RECORDS = 5_000  #: behind the checkpoint are deleted along with the next group


@dataclass(slots=True, eq=False)
class Write:
    """What one caller wants written."""

    answer: asyncio.Future[None]
    records: Sequence[RawRecord] = ()
    payload: bytes = b""
    bytes: int = 0
    statements: tuple[Statement, ...] = ()
    landed: Callable[[], None] | None = None  #: called in the loop when it is durable
    flush: bool = False  #: delete what is behind the checkpoint, however little it is
    damaged: DamagedGroup | None = None  #: a group to set aside
    probe: bool = False  #: asks whether records could be written


@dataclass(slots=True, eq=False)
class Read:
    """What one caller wants read: entries behind `after` up to `last`, at most `limit` and so many bytes of bodies."""

    answer: asyncio.Future[list[Entry]]
    after: int
    last: int
    limit: int
    max_bytes: int


def commit_group(file: WritableFile, writes: Sequence[Write], *, checkpoint: int) -> State:
    """Write everything in one transaction and say how the file stands then. What is behind `checkpoint` is deleted
    along with it if it is much or a write demands it. Raises what `file` does; nothing is written then."""
    if any(write.records or write.probe for write in writes):
        file.require_room()
    for damaged in [write.damaged for write in writes if write.damaged is not None]:
        file.set_aside(damaged.last, why=damaged.why)
    known = file.state.checkpoint
    if checkpoint - known < DELETE_RECORDS and not any(write.flush for write in writes):
        checkpoint = known
    first = next((write.records[0] for write in writes if write.records), None)
    group = None
    if first is not None:
        group = Group(
            payload=b"".join([write.payload for write in writes]),
            count=sum([len(write.records) for write in writes]),
            bytes=sum([write.bytes for write in writes]),
            received_at=microseconds(first.received_at),
        )
    statements = [statement for write in writes for statement in write.statements]
    return file.commit(group, statements, checkpoint=checkpoint)


def noting(run: Run) -> tuple[Statement, ...]:
    """What notes how far a process came."""
    return ((NOTE_RUN, (int(run.running), run.first, run.first if run.marked else None, run.deaths)),)


def writable(text: str) -> str:
    """Text that SQLite takes. The bytes of a file name that is not UTF-8 are lone surrogates (PEP 383), which it does
    not: they become escapes."""
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()


def succeed(answer: asyncio.Future[list[Entry]], entries: list[Entry]) -> None:
    """Give a reader what he asked for, unless he is gone."""
    if not answer.done():
        answer.set_result(entries)


def fail(answer: asyncio.Future[None] | asyncio.Future[list[Entry]], error: Exception) -> None:
    """Tell a caller that it did not work, unless he is gone."""
    if not answer.done():
        answer.set_exception(error)
