"""The journal by its public face: order, positions, limits, cancellation, closing."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sqlite3
import threading
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from cdrhub.errors import IntakeRefused, JournalError, JournalFull, JournalLocked
from cdrhub.journal import Entry, Journal
from cdrhub.journal.file import DATABASE_NAME, FREE_PAGES_KEPT
from cdrhub.journal.jobs import DELETE_RECORDS
from cdrhub.model.record import Revision
from support.journal import ENOUGH_BYTES, RECEIVED_AT, bodies, everything, lines, record


async def until_empty_on_disk(directory: Path) -> int:
    """Rows left when deletion has come to rest; the journal deletes behind the checkpoint by itself."""
    for _ in range(200):
        with contextlib.closing(sqlite3.connect(directory / DATABASE_NAME)) as connection:
            (rows,) = connection.execute("SELECT count(*) FROM groups").fetchone()
        if not rows:
            break
        await asyncio.sleep(0.05)
    return int(rows)


async def fill(journal: Journal, *, reserved: bool) -> None:
    """Append until it refuses."""
    while True:
        await journal.append(lines("x" * 1_000), reserved=reserved)


async def test_what_is_appended_is_read_in_order(tmp_path: Path) -> None:
    journal = await Journal.open(tmp_path / "made" / "here")
    await journal.append(lines("a", "b"))
    await journal.append(lines("c"))
    assert await journal.read(after=0, limit=10, max_bytes=ENOUGH_BYTES) == [
        Entry(seq, each) for seq, each in enumerate(lines("a", "b", "c"), start=1)
    ]
    await journal.close()


async def test_memory_and_disk_give_the_same(tmp_path: Path) -> None:
    them = [
        record("plain"),
        record(b"\x00\xff", attributes={}, event_id="Core/1"),
        record("nested", attributes={"peer": "::1", "live": False, "path": ["a", {"b": None}]}, event_id=""),
        record("large" * 1000),
    ]
    for tail_bytes in (0, 1 << 20):
        directory = tmp_path / str(tail_bytes)
        journal = await Journal.open(directory, tail_bytes=tail_bytes)
        await journal.append(them)
        for reopened in (False, True):
            if reopened:
                await journal.close()
                journal = await Journal.open(directory, tail_bytes=tail_bytes)
            assert [entry.record for entry in await everything(journal)] == them
            for after, limit, max_bytes in (
                (0, 1, 1),
                (1, 2, 8),
                (1, 9, 8),
                (1, 9, 2),
                (2, 9, 1),
                (0, 0, 9),
                (4, 1, 1),
            ):
                window = await journal.read(after=after, limit=limit, max_bytes=max_bytes)
                expected: list[Entry] = []
                for entry in [Entry(seq, each) for seq, each in enumerate(them, start=1)][after : after + limit]:
                    if expected and sum([len(each.record.body) for each in [*expected, entry]]) > max_bytes:
                        break
                    expected.append(entry)
                assert window == expected
        await journal.close()


async def test_bytes_bound_a_read_over_several_groups_on_disk(tmp_path: Path) -> None:
    journal = await Journal.open(tmp_path, tail_bytes=0)
    for body in ("aaaa", "bbbb", "cccc"):
        await journal.append(lines(body))
    assert len(await journal.read(after=0, limit=9, max_bytes=8)) == 2
    assert len(await journal.read(after=0, limit=9, max_bytes=7)) == 1
    assert len(await journal.read(after=0, limit=9, max_bytes=1)) == 1
    await journal.close()


async def test_the_number_bounds_a_read_over_several_groups_on_disk(tmp_path: Path) -> None:
    journal = await Journal.open(tmp_path, tail_bytes=0)
    for group in (("a", "b"), ("c", "d"), ("e", "f")):
        await journal.append(lines(*group))
    for limit in range(1, 8):
        found = await journal.read(after=0, limit=limit, max_bytes=ENOUGH_BYTES)
        assert [entry.seq for entry in found] == [1, 2, 3, 4, 5, 6][:limit]
    await journal.close()


async def test_a_checkpoint_hides_deletes_and_survives(tmp_path: Path) -> None:
    journal = await Journal.open(tmp_path)
    await journal.append(lines("a", "b", "c"))
    await journal.checkpoint(2)
    assert await bodies(journal) == ["c"]
    assert journal.stats.depth == 1
    await journal.close()
    journal = await Journal.open(tmp_path)
    assert [entry.seq for entry in await everything(journal)] == [3]
    await journal.checkpoint(3)
    assert await until_empty_on_disk(tmp_path) == 0
    await journal.close()
    journal = await Journal.open(tmp_path)
    await journal.append(lines("d"))
    assert [entry.seq for entry in await everything(journal)] == [4], "a number is never used again"
    await journal.close()


async def test_a_checkpoint_neither_goes_back_nor_ahead(tmp_path: Path) -> None:
    journal = await Journal.open(tmp_path)
    await journal.append(lines("a", "b"))
    await journal.checkpoint(2)
    await journal.checkpoint(1)
    assert await bodies(journal) == []
    with pytest.raises(JournalError, match="beyond"):
        await journal.checkpoint(3)
    await journal.close()


async def test_many_records_behind_the_checkpoint_go_with_the_next_group(tmp_path: Path) -> None:
    journal = await Journal.open(tmp_path)
    await journal.append(lines(*map(str, range(DELETE_RECORDS))))
    await journal.checkpoint(DELETE_RECORDS)
    await journal.append(lines("next"))
    with contextlib.closing(sqlite3.connect(tmp_path / DATABASE_NAME)) as connection:
        assert connection.execute("SELECT count, last FROM groups").fetchall() == [(1, DELETE_RECORDS + 1)]
    await journal.close()


async def test_a_file_that_grew_shrinks_again(tmp_path: Path) -> None:
    journal = await Journal.open(tmp_path)
    body = "x" * 1_000_000
    for _ in range(40):
        await journal.append(lines(body))
    await journal.checkpoint(40)
    for number in range(41, 80):
        await journal.append(lines("small"))
        await journal.checkpoint(number)
        await journal.mark_in_flight(number)  # takes the checkpoint along
    await journal.close()
    assert (tmp_path / DATABASE_NAME).stat().st_size < (FREE_PAGES_KEPT + 100) * 4096


async def test_a_position_is_remembered_with_its_records(tmp_path: Path) -> None:
    journal = await Journal.open(tmp_path)
    assert journal.position("lagos", "cdr.log") is None
    await journal.append(lines("a"), position=("lagos", "cdr.log", "100"))
    await journal.append(lines("b"), position=("lagos", "cdr.log", "200"))
    await journal.append([], position=("abuja", "cdr.log", "7"))
    assert journal.position("lagos", "cdr.log") == "200"
    await journal.close()
    journal = await Journal.open(tmp_path)
    assert (journal.position("lagos", "cdr.log"), journal.position("abuja", "cdr.log")) == ("200", "7")
    assert await bodies(journal) == ["a", "b"]
    await journal.close()


async def test_positions_are_forgotten_for_good(tmp_path: Path) -> None:
    journal = await Journal.open(tmp_path)
    for key in ("read:a", "read:b", "read:\udcff"):
        await journal.append([], position=("lagos", key, "1 2"))
    await journal.append([], position=("abuja", "read:a", "3 4"))
    await journal.forget_positions("lagos", ["read:a", "read:\udcff", "read:unknown"])
    for _ in range(2):
        assert [journal.position("lagos", key) for key in ("read:a", "read:b", "read:\udcff")] == [None, "1 2", None]
        assert journal.position("abuja", "read:a") == "3 4"
        await journal.close()
        journal = await Journal.open(tmp_path)
    await journal.close()


async def test_a_refused_append_leaves_its_position(tmp_path: Path) -> None:
    journal = await Journal.open(tmp_path, max_bytes=10_000)
    await journal.append(lines("x" * 8_000), position=("lagos", "cdr.log", "8000"))
    with pytest.raises(JournalFull):
        await journal.append(lines("x" * 8_000), position=("lagos", "cdr.log", "16000"))
    assert journal.position("lagos", "cdr.log") == "8000"
    await journal.close()


def revision(settings: str) -> Revision:
    return Revision(revision="r1", source="lagos", system="3cx", settings=settings)


async def test_settings_are_kept_under_their_revision(tmp_path: Path) -> None:
    journal = await Journal.open(tmp_path)
    await journal.remember_revision(revision('{"zone":"UTC"}'))
    await journal.remember_revision(revision("the first stays"))
    await journal.close()
    journal = await Journal.open(tmp_path)
    assert list(journal.revisions()) == [revision('{"zone":"UTC"}')]
    await journal.close()


async def test_a_full_journal_refuses_keeps_its_reserve_and_takes_again(tmp_path: Path) -> None:
    journal = await Journal.open(tmp_path, max_bytes=100_000)
    with pytest.raises(JournalFull, match="limit"):
        await fill(journal, reserved=False)
    held = journal.stats.depth
    assert journal.stats.bytes <= 90_000
    assert not journal.accepting
    await journal.append(lines("an inference"), reserved=True)
    waiting = asyncio.create_task(journal.room())
    await asyncio.sleep(0.05)
    assert not waiting.done()
    await journal.checkpoint(held + 1)
    await waiting
    assert journal.accepting
    await journal.append(lines("again"))
    assert await bodies(journal) == ["again"]
    await journal.close()


async def test_the_reserve_ends_too(tmp_path: Path) -> None:
    journal = await Journal.open(tmp_path, max_bytes=10_000)
    with pytest.raises(JournalFull):
        await fill(journal, reserved=True)
    assert 8_000 < journal.stats.bytes <= 10_000
    await journal.close()


async def test_senders_that_wait_for_room_all_get_through(tmp_path: Path) -> None:
    journal = await Journal.open(tmp_path, max_bytes=20_000)

    async def send(name: int) -> None:
        for number in range(20):
            while True:
                try:
                    await journal.append(lines(f"{name}.{number}".ljust(1_500, "x")))
                except JournalFull:
                    await journal.room()
                else:
                    break

    seen: list[str] = []

    async def drain() -> None:
        while len(seen) < 100:
            await journal.wait_beyond(0)
            for entry in await journal.read(after=0, limit=3, max_bytes=ENOUGH_BYTES):
                seen.append(entry.record.body.decode().rstrip("x"))
                await journal.checkpoint(entry.seq)

    await asyncio.gather(drain(), *(send(name) for name in range(5)))
    assert sorted(seen) == sorted(f"{name}.{number}" for name in range(5) for number in range(20))
    await journal.close()


async def test_what_waits_to_be_written_counts_as_well(tmp_path: Path) -> None:
    journal = await Journal.open(tmp_path, max_bytes=20_000)
    await journal.append(lines("first"))
    ends = await asyncio.gather(*(journal.append(lines("x" * 1_000)) for _ in range(40)), return_exceptions=True)
    refused = [end for end in ends if end is not None]
    assert {type(end) for end in refused} == {JournalFull}
    assert journal.stats.bytes <= 18_000
    assert journal.stats.depth == 1 + 40 - len(refused)
    await journal.close()


async def test_what_was_refused_takes_no_room(tmp_path: Path) -> None:
    journal = await Journal.open(tmp_path, max_bytes=100_000)
    await journal.append(lines("first"))
    with contextlib.closing(sqlite3.connect(tmp_path / DATABASE_NAME, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(IntakeRefused, match="cannot write"):
            await journal.append(lines("x" * 80_000))
        other.execute("ROLLBACK")
    async with asyncio.timeout(20):
        await journal.room()
    await journal.append(lines("x" * 80_000))
    assert journal.stats.depth == 2
    await journal.close()


async def test_an_empty_journal_takes_what_is_larger_than_its_limit(tmp_path: Path) -> None:
    journal = await Journal.open(tmp_path, max_bytes=1_000)
    await journal.append(lines("x" * 5_000))
    with pytest.raises(JournalFull):
        await journal.append(lines("y"))
    await journal.close()


async def test_whoever_is_cancelled_harms_nobody(tmp_path: Path) -> None:
    journal = await Journal.open(tmp_path)
    callers = [asyncio.create_task(journal.append(lines(f"{number}a", f"{number}b"))) for number in range(50)]
    await asyncio.sleep(0)
    for caller in callers[::2]:
        caller.cancel()
    ends = await asyncio.gather(*callers, return_exceptions=True)
    assert all(end is None for end in ends[1::2])
    waiting = asyncio.create_task(journal.wait_beyond(1_000))
    await asyncio.sleep(0)
    waiting.cancel()
    await journal.append(lines("after"))
    found = await bodies(journal)
    for number in range(50):
        pair = [f"{number}a", f"{number}b"]
        if number % 2 or pair[0] in found:
            assert found[found.index(pair[0]) :][:2] == pair, "a group lands as a whole"
    assert found[-1] == "after"
    assert journal.stats.bytes > 0
    await journal.close()


async def test_waiting_for_an_entry_ends_when_it_is_durable(tmp_path: Path) -> None:
    journal = await Journal.open(tmp_path)
    await journal.append(lines("a"))
    await journal.wait_beyond(0)
    await journal.checkpoint(1)
    waiting = asyncio.create_task(journal.wait_beyond(0))
    await asyncio.sleep(0.01)
    assert not waiting.done(), "what the checkpoint covers is not there to be read"
    await journal.append(lines("b"))
    await waiting
    await journal.close()


async def test_stats_tell_depth_age_and_commits(tmp_path: Path) -> None:
    journal = await Journal.open(tmp_path)
    assert (journal.stats.depth, journal.stats.oldest_received_at) == (0, None)
    await journal.append(lines("a", "b"))
    stats = journal.stats
    assert (stats.depth, stats.oldest_received_at, stats.groups) == (2, RECEIVED_AT, 1)
    assert stats.last_commit_seconds > 0
    await journal.close()
    journal = await Journal.open(tmp_path)
    assert (journal.stats.depth, journal.stats.oldest_received_at) == (2, RECEIVED_AT)
    assert journal.stats.bytes == stats.bytes
    await journal.close()


async def test_closing_writes_what_was_appended_and_is_idempotent(tmp_path: Path) -> None:
    journal = await Journal.open(tmp_path)
    callers = [asyncio.create_task(journal.append(lines(str(number)))) for number in range(20)]
    waiting = asyncio.create_task(journal.wait_beyond(100))
    await asyncio.sleep(0)
    await asyncio.gather(journal.close(), journal.close())
    await asyncio.gather(*callers)
    with pytest.raises(JournalError, match="closed"):
        await waiting
    with pytest.raises(IntakeRefused, match="closed"):
        await journal.append(lines("late"))
    with pytest.raises(JournalError, match="closed"):
        await journal.room()
    await journal.close()
    journal = await Journal.open(tmp_path)
    assert await bodies(journal) == [str(number) for number in range(20)]
    await journal.close()


async def test_whoever_is_cancelled_while_it_closes_leaves_it_to_be_closed(tmp_path: Path) -> None:
    journal = await Journal.open(tmp_path)
    closing = asyncio.create_task(journal.close())
    await asyncio.sleep(0)
    closing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await closing
    await journal.close()
    await (await Journal.open(tmp_path)).close()


async def test_the_directory_is_locked_while_it_is_open(tmp_path: Path) -> None:
    journal = await Journal.open(tmp_path)
    with pytest.raises(JournalLocked, match=f"{tmp_path}.*pid {os.getpid()}.*data_dir"):
        await Journal.open(tmp_path)
    await journal.append(lines("still mine"))
    await journal.close()
    await (await Journal.open(tmp_path)).close()


async def test_what_is_no_journal_is_an_error_that_names_it(tmp_path: Path) -> None:
    (tmp_path / DATABASE_NAME).write_bytes(b"not a database at all, but long enough to be looked at" * 100)
    with pytest.raises(JournalError, match=str(tmp_path)):
        await Journal.open(tmp_path)
    with pytest.raises(JournalError, match=str(tmp_path)):
        await Journal.open(tmp_path / DATABASE_NAME)


async def test_a_journal_of_a_later_version_is_not_touched(tmp_path: Path) -> None:
    await (await Journal.open(tmp_path)).close()
    with contextlib.closing(sqlite3.connect(tmp_path / DATABASE_NAME)) as connection:
        connection.execute("PRAGMA user_version = 99")
    with pytest.raises(JournalError, match=r"format 99.* until it is empty, then move the file away"):
        await Journal.open(tmp_path)


async def test_a_journal_of_the_format_before_is_taken_over(tmp_path: Path) -> None:
    journal = await Journal.open(tmp_path)
    await journal.append(lines("a", "b", "c"))
    await journal.checkpoint(1)
    await journal.close()
    with contextlib.closing(sqlite3.connect(tmp_path / DATABASE_NAME)) as connection:
        connection.executescript("ALTER TABLE progress DROP COLUMN checkpoint_again; PRAGMA user_version = 2")
    for _ in range(2):
        journal = await Journal.open(tmp_path)
        assert await bodies(journal) == ["b", "c"]
        await journal.close()


async def test_a_file_name_that_is_no_unicode_is_a_position_like_any_other(tmp_path: Path) -> None:
    key = os.fsdecode(b"read:caf\xe9.txt")
    journal = await Journal.open(tmp_path)
    await asyncio.gather(
        journal.append(lines("a")),
        journal.append(lines("b"), position=("lagos", key, "1 2")),
        journal.append(lines("c"), position=("lagos", "read:café.txt", "3 4")),
    )
    for reopened in (False, True):
        if reopened:
            await journal.close()
            journal = await Journal.open(tmp_path)
        assert journal.position("lagos", key) == "1 2"
        assert journal.position("lagos", "read:café.txt") == "3 4"
        assert await bodies(journal) == ["a", "b", "c"]
    await journal.close()


async def test_what_cannot_be_written_fails_alone_and_costs_nobody_a_record(tmp_path: Path) -> None:
    journal = await Journal.open(tmp_path)
    unwritable: Any = 2**64  # neither sqlite3.Error nor OSError: OverflowError, within the transaction
    together = [
        journal.append(lines("before")),
        journal.remember_revision(revision(unwritable)),
        journal.append(lines("beside"), position=("lagos", "cdr.log", "7")),
    ]
    ends = await asyncio.gather(*together, return_exceptions=True)
    assert [type(end) for end in ends] == [type(None), JournalError, type(None)]
    with pytest.raises(JournalError, match="cannot write this"):
        await journal.remember_revision(revision(unwritable))
    assert journal.accepting
    for number in range(5):
        await journal.append(lines(str(number)))
    with contextlib.closing(sqlite3.connect(tmp_path / DATABASE_NAME)) as other:
        assert other.execute("SELECT sum(count) FROM groups").fetchone() == (7,), "durable, not only in a transaction"
    await journal.append(lines("5"), position=("lagos", "cdr.log", "8"))
    await journal.close()
    journal = await Journal.open(tmp_path)
    assert await bodies(journal) == ["before", "beside", "0", "1", "2", "3", "4", "5"]
    assert journal.position("lagos", "cdr.log") == "8"
    await journal.close()


async def test_an_append_over_the_limit_is_no_matter_of_waiting(tmp_path: Path) -> None:
    journal = await Journal.open(tmp_path, append_max_bytes=1_000)
    with pytest.raises(JournalError, match="at most 1000"):
        await journal.append(lines("x" * 1_000))
    await journal.append(lines("x" * 900))
    assert journal.accepting
    await journal.close()


async def test_only_its_owner_can_read_it(tmp_path: Path) -> None:
    journal = await Journal.open(tmp_path / "private")
    await journal.append(lines("a"))
    modes = {path.name: path.stat().st_mode & 0o777 for path in (tmp_path / "private").iterdir()}
    assert set(modes.values()) == {0o600}, modes
    assert (tmp_path / "private").stat().st_mode & 0o777 == 0o700
    await journal.close()


def open_files() -> Counter[Path]:
    """What this process has open: files, sockets, pipes."""
    return Counter(link.readlink() for link in Path("/proc/self/fd").iterdir() if link.is_symlink())


async def test_nothing_leaks_over_thirty_openings(tmp_path: Path) -> None:
    await (await Journal.open(tmp_path)).close()
    threads, files = threading.active_count(), open_files()
    for number in range(30):
        journal = await Journal.open(tmp_path, tail_bytes=0)
        await journal.append(lines(str(number)))
        await everything(journal)
        with pytest.raises(JournalLocked):
            await Journal.open(tmp_path)
        await journal.close()
    assert threading.active_count() == threads
    assert open_files() - files == Counter()  # others may close what they had
