"""A journal that its disk does not give back: damaged groups, and a file that cannot be read or is none any more."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from cdrhub.errors import IntakeRefused, JournalError
from cdrhub.journal import Journal
from cdrhub.journal.file import DATABASE_NAME
from cdrhub.journal.log_damage import KEPT_LOGS
from cdrhub.journal.tail import RECORD_BYTES
from support.descriptors import no_free_descriptor
from support.intake import until
from support.journal import ENOUGH_BYTES, bodies, everything, lines


def damage(directory: Path, last: int, change: str) -> None:
    """Change the payload of the group that ends with entry `last`, as a bad block would."""
    with contextlib.closing(sqlite3.connect(directory / DATABASE_NAME)) as connection:
        connection.execute(f"UPDATE groups SET payload = {change} WHERE last = ?", (last,))
        connection.commit()


CUT = "substr(payload, 1, length(payload) - 1)"
ONE_BYTE_OF_A_BODY = "CAST(substr(payload, 1, length(payload) - 1) || x'7a' AS BLOB)"


@pytest.mark.parametrize("change", [CUT, ONE_BYTE_OF_A_BODY, "x''"])
async def test_a_damaged_group_is_set_aside_and_reading_goes_on(tmp_path: Path, change: str) -> None:
    journal = await Journal.open(tmp_path)
    for group in (("a", "b"), ("c", "d"), ("e",)):
        await journal.append(lines(*group))
    await journal.close()
    damage(tmp_path, 4, change)
    journal = await Journal.open(tmp_path)
    with capture_logs() as said:
        assert [entry.seq for entry in await everything(journal)] == [1, 2, 5]
    errors = [each for each in said if each["log_level"] == "error"]
    assert [(each["first"], each["last"], each["file"]) for each in errors] == [(3, 4, str(tmp_path / DATABASE_NAME))]
    assert journal.stats.damaged == 2
    await journal.checkpoint(2)
    assert journal.stats.depth == 1, "the checkpoint passes what nobody can read"
    assert await bodies(journal) == ["e"]
    await journal.close()
    journal = await Journal.open(tmp_path)
    assert (journal.stats.damaged, journal.stats.depth) == (2, 1)
    assert await bodies(journal) == ["e"]
    await journal.checkpoint(5)
    await journal.close()
    with contextlib.closing(sqlite3.connect(tmp_path / DATABASE_NAME)) as connection:
        assert connection.execute("SELECT last, count FROM damaged").fetchall() == [(4, 2)]
        assert connection.execute("SELECT count(*) FROM groups").fetchone() == (0,)


async def test_a_journal_of_nothing_but_damage_is_empty_and_takes_records(tmp_path: Path) -> None:
    journal = await Journal.open(tmp_path)
    await journal.append(lines("a"))
    await journal.append(lines("b", "c"))
    await journal.close()
    damage(tmp_path, 1, CUT)
    damage(tmp_path, 3, CUT)
    journal = await Journal.open(tmp_path)
    waiting = asyncio.create_task(journal.wait_beyond(0))
    assert await everything(journal) == []
    await waiting
    assert (journal.stats.depth, journal.stats.damaged, journal.stats.bytes) == (0, 3, 0)
    for reopened in (False, True):
        if reopened:
            await journal.close()
            journal = await Journal.open(tmp_path)
        waiting = asyncio.create_task(journal.wait_beyond(0))
        await asyncio.sleep(0.01)
        assert not waiting.done(), "there is nothing to be read"
        waiting.cancel()
    await journal.append(lines("d"))
    assert [entry.seq for entry in await everything(journal)] == [4], "a number is never used again"
    await journal.close()


async def test_what_cannot_be_set_aside_at_the_moment_is_set_aside_later(tmp_path: Path) -> None:
    journal = await Journal.open(tmp_path)
    await journal.append(lines("a"))
    await journal.append(lines("b"))
    await journal.close()
    damage(tmp_path, 1, CUT)
    journal = await Journal.open(tmp_path)
    with contextlib.closing(sqlite3.connect(tmp_path / DATABASE_NAME, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        reading = asyncio.create_task(everything(journal))
        await until(lambda: not journal.accepting)
        other.execute("ROLLBACK")
    assert [entry.seq for entry in await reading] == [2]
    assert journal.stats.damaged == 1
    await journal.close()


async def test_behind_what_was_set_aside_there_is_nothing_to_wait_for_that_is_there(tmp_path: Path) -> None:
    """The first entry is read, and not yet in the database: the checkpoint stands before it."""
    journal = await Journal.open(tmp_path)
    await journal.append(lines("a"))
    await journal.append(lines("b", "c"))
    await journal.close()
    damage(tmp_path, 3, CUT)
    journal = await Journal.open(tmp_path)
    assert [entry.seq for entry in await everything(journal)] == [1]
    waiting = asyncio.create_task(journal.wait_beyond(1))
    await asyncio.sleep(0.01)
    assert not waiting.done()
    await journal.append(lines("d"))
    await waiting
    assert [entry.seq for entry in await everything(journal, after=1)] == [4]
    await journal.close()


async def test_a_journal_that_cannot_be_read_is_waited_for_and_takes_records_meanwhile(tmp_path: Path) -> None:
    """It ended the daemon: the reader opens the file when what is asked for is not in memory any more."""
    journal = await Journal.open(tmp_path, tail_bytes=0)
    await journal.append(lines("a"))
    with no_free_descriptor():
        reading = asyncio.create_task(journal.read(after=0, limit=10, max_bytes=ENOUGH_BYTES))
        await until(lambda: not journal.readable)
        await journal.append(lines("b"))
        assert not reading.done()
    assert [entry.record for entry in await reading] == lines("a", "b")
    assert journal.readable
    await journal.close()


async def test_a_damaged_group_says_as_well_that_the_journal_can_be_read_again(tmp_path: Path) -> None:
    """The next read is from memory, and the hub said for ever that the journal cannot be read."""
    journal = await Journal.open(tmp_path, tail_bytes=RECORD_BYTES + 1)
    await journal.append(lines("a"))
    await journal.append(lines("b"))
    with contextlib.closing(sqlite3.connect(tmp_path / DATABASE_NAME)) as other, other:
        other.execute("UPDATE groups SET payload = x'00' WHERE last = 1")
    with no_free_descriptor():
        reading = asyncio.create_task(journal.read(after=0, limit=10, max_bytes=ENOUGH_BYTES))
        await until(lambda: not journal.readable)
    assert [entry.record for entry in await reading] == lines("b")
    assert journal.readable
    await journal.close()


async def test_a_file_that_contradicts_itself_is_not_waited_for(tmp_path: Path) -> None:
    journal = await Journal.open(tmp_path)
    await journal.append(lines("a"))
    await journal.close()
    file = tmp_path / DATABASE_NAME
    with contextlib.closing(sqlite3.connect(file)) as connection:
        (page,) = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 'groups'").fetchone()
        (size,) = connection.execute("PRAGMA page_size").fetchone()
    journal = await Journal.open(tmp_path)
    with file.open("r+b") as disk:
        disk.seek((page - 1) * size)
        disk.write(b"x" * 100)
    with pytest.raises(JournalError, match="malformed"):
        await asyncio.wait_for(journal.read(after=0, limit=10, max_bytes=ENOUGH_BYTES), 20)
    await journal.close()


@pytest.mark.parametrize(
    ("put_there", "said"),
    [(b"something else, and long enough to have a header" * 100, "not a database"), (None, "no such table")],
)
async def test_a_file_that_is_no_journal_any_more_is_not_waited_for(
    tmp_path: Path, put_there: bytes | None, said: str
) -> None:
    """What is written into a file that was removed is lost with the process, however long that waits."""
    journal = await Journal.open(tmp_path, tail_bytes=0)
    await journal.append(lines("a"))
    for name in ("", "-wal", "-shm"):
        (tmp_path / f"{DATABASE_NAME}{name}").unlink()
    if put_there is not None:
        (tmp_path / DATABASE_NAME).write_bytes(put_there)
    with pytest.raises(JournalError, match=said):
        await journal.read(after=0, limit=10, max_bytes=ENOUGH_BYTES)
    await journal.close()


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE progress SET checkpoint = 'x'",
        "INSERT INTO settings VALUES ('r', 'lagos', '3cx', CAST(x'ff' AS TEXT))",
        "INSERT INTO damaged VALUES (9, 'x', 0, 0, 0, x'', '')",
    ],
)
async def test_a_value_that_was_never_written_is_told_as_damage_of_the_file(tmp_path: Path, change: str) -> None:
    journal = await Journal.open(tmp_path)
    await journal.close()
    with contextlib.closing(sqlite3.connect(tmp_path / DATABASE_NAME)) as connection, connection:
        connection.execute(change)
    for _ in range(2):  # it is no lock that refuses the second
        with pytest.raises(JournalError, match=r"journal\.db is damaged .* move it away") as refused:
            await Journal.open(tmp_path)
        assert "\ufffd" not in str(refused.value)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("UPDATE progress SET checkpoint = 4", "the checkpoint is 4 and 1"),
        ("UPDATE progress SET checkpoint_again = 0", "the checkpoint is 1 and 0"),
        ("UPDATE progress SET checkpoint = 4, checkpoint_again = 4", "entry 3 is there, which the checkpoint 4 covers"),
        ("UPDATE progress SET checkpoint = 900, checkpoint_again = 900", "entry 3 is there"),
        ("UPDATE groups SET count = 1 WHERE last = 5", "ends with entry 5 begins behind entry 4, not 3"),
        ("UPDATE groups SET count = 3 WHERE last = 5", "ends with entry 5 begins behind entry 2, not 3"),
        ("UPDATE groups SET count = 1 WHERE last = 3", "ends with entry 3 begins behind entry 2, not 1"),
        ("UPDATE groups SET last = 4 WHERE last = 5", "ends with entry 4 begins behind entry 2, not 3"),
        ("DELETE FROM groups WHERE last = 3", "ends with entry 5 begins behind entry 3, not 1"),
        ("DELETE FROM groups WHERE last = 5", "ends with entry 6 begins behind entry 5, not 3"),
        ("UPDATE groups SET received_at = 1 << 62 WHERE last = 5", "was received out of all time"),
    ],
)
async def test_numbers_that_contradict_each_other_are_told_at_the_opening(
    tmp_path: Path, change: str, said: str
) -> None:
    """Of a checkpoint, or a count, that another one took the place of, records were passed over without a word."""
    journal = await Journal.open(tmp_path)
    for bodies_of_group in (("a", "b", "c"), ("d", "e"), ("f",)):
        await journal.append(lines(*bodies_of_group))
    await journal.checkpoint(1)
    await journal.close()
    with contextlib.closing(sqlite3.connect(tmp_path / DATABASE_NAME)) as connection, connection:
        connection.execute(change)
    with pytest.raises(JournalError, match=rf"journal\.db is damaged \(.*{said}.*\): move it away"):
        await Journal.open(tmp_path)


async def test_a_group_of_another_number_of_records_is_set_aside(tmp_path: Path) -> None:
    """What begins before the checkpoint can be of any length."""
    journal = await Journal.open(tmp_path)
    await journal.append(lines("a", "b", "c"))
    await journal.append(lines("d"))
    await journal.checkpoint(1)
    await journal.close()
    with contextlib.closing(sqlite3.connect(tmp_path / DATABASE_NAME)) as connection, connection:
        connection.execute("UPDATE groups SET count = 4 WHERE last = 3")
    journal = await Journal.open(tmp_path)
    assert await bodies(journal) == ["d"]
    assert journal.stats.damaged == 4
    await journal.close()
    await (await Journal.open(tmp_path)).close()


async def test_what_is_missing_behind_what_was_read_is_damage(tmp_path: Path) -> None:
    journal = await Journal.open(tmp_path, tail_bytes=0)
    for body in ("a", "b", "c"):
        await journal.append(lines(body))
    with contextlib.closing(sqlite3.connect(tmp_path / DATABASE_NAME)) as connection, connection:
        connection.execute("DELETE FROM groups WHERE last = 2")
    assert await journal.read(after=0, limit=10, max_bytes=ENOUGH_BYTES) != []
    with pytest.raises(JournalError, match=r"journal\.db is damaged \(entry 2 is missing\)"):
        await journal.read(after=1, limit=10, max_bytes=ENOUGH_BYTES)
    await journal.close()


async def test_a_page_that_hides_records_is_told_at_the_opening(tmp_path: Path) -> None:
    """Of a page that says it holds less than it does, SQLite gives the rest without a word."""
    journal = await Journal.open(tmp_path)
    for body in ("a", "b", "c"):
        await journal.append(lines(body))
    await journal.close()
    file = tmp_path / DATABASE_NAME
    with contextlib.closing(sqlite3.connect(file)) as connection:
        (page,) = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 'groups'").fetchone()
        (size,) = connection.execute("PRAGMA page_size").fetchone()
    with file.open("r+b") as disk:
        disk.seek((page - 1) * size + 3)  # https://www.sqlite.org/fileformat.html#b_tree_pages: the number of cells
        disk.write((2).to_bytes(2, "big"))
    with contextlib.closing(sqlite3.connect(file)) as connection:
        assert connection.execute("SELECT last FROM groups").fetchall() == [(1,), (2,)]
    with pytest.raises(JournalError, match=r"journal\.db is damaged .* move it away"):
        await Journal.open(tmp_path)


FRAME = 24 + 4096  #: https://www.sqlite.org/walformat.html: behind a header of 32 bytes


def killed(directory: Path, *, changed_at: int | None = None) -> Path:
    """A copy of a journal at work, as if its process had been killed; a bit of its log is another one."""
    copy = directory.with_name(f"{directory.name}_killed")
    copy.mkdir()
    (copy / DATABASE_NAME).write_bytes((directory / DATABASE_NAME).read_bytes())
    log = bytearray((directory / f"{DATABASE_NAME}-wal").read_bytes())
    if changed_at is not None:
        log[changed_at] ^= 1
    (copy / f"{DATABASE_NAME}-wal").write_bytes(log)
    return copy


@pytest.mark.parametrize(
    ("changed_at", "left"),
    [(17, []), (32 + 100, []), (-3 * FRAME + 100, ["a", "b"])],
    ids=["header", "first frame", "last commit but two"],
)
async def test_a_damaged_log_is_kept_and_told(tmp_path: Path, changed_at: int, left: list[str]) -> None:
    """SQLite reads what is before the damage and cuts the rest without a word."""
    journal = await Journal.open(tmp_path / "data")
    for body in ("a", "b", "c", "d", "e"):
        await journal.append(lines(body))
    copy = killed(tmp_path / "data", changed_at=changed_at)
    await journal.close()
    damaged = (copy / f"{DATABASE_NAME}-wal").read_bytes()
    with capture_logs() as said:
        journal = await Journal.open(copy)
    (kept,) = journal.kept_logs
    assert [(each["action"], each["file"]) for each in said] == [("journal_damaged", str(kept))]
    assert kept.read_bytes() == damaged
    assert await bodies(journal) == left
    await journal.append(lines("f"))
    again = killed(copy)
    assert list(journal.kept_logs) == [kept], "until somebody removes it"
    await journal.close()
    with capture_logs() as said:
        journal = await Journal.open(again)
    assert said == [], "it is told once"
    assert await bodies(journal) == [*left, "f"]
    await journal.close()


async def test_of_damaged_logs_the_newest_are_kept(tmp_path: Path) -> None:
    """A disk that fails at each start was filled with copies."""
    journal = await Journal.open(tmp_path / "data")
    for body in ("a", "b", "c", "d"):
        await journal.append(lines(body))
    copy = killed(tmp_path / "data", changed_at=32 + 100)
    await journal.close()
    older = [
        copy / f"{DATABASE_NAME}-wal.damaged-{second}" for second in range(1_700_000_000, 1_700_000_000 + KEPT_LOGS)
    ]
    for file in older:
        file.write_bytes(b"an older log")
    with capture_logs() as said:
        journal = await Journal.open(copy)
    assert [each["removed"] for each in said] == [[str(older[0])]]
    assert list(journal.kept_logs)[:-1] == older[1:]
    assert len(journal.kept_logs) == KEPT_LOGS
    await journal.close()


@pytest.mark.parametrize(
    "changed_at",
    [None, -FRAME + 100, -2 * FRAME + 7],  # of a frame's head, how many pages the database has after a commit
    ids=["whole", "last commit", "a frame of it that an older commit's head is half left of"],
)
async def test_a_log_that_a_power_cut_can_have_left_is_not_damaged(tmp_path: Path, changed_at: int | None) -> None:
    journal = await Journal.open(tmp_path / "data")
    last = "c" * 20_000  # of several frames
    for body in ("a", "b", last):
        await journal.append(lines(body))
    copy = killed(tmp_path / "data", changed_at=changed_at)
    await journal.close()
    with capture_logs() as said:
        journal = await Journal.open(copy)
    assert said == []
    assert list(journal.kept_logs) == []
    assert await bodies(journal) == (["a", "b", last] if changed_at is None else ["a", "b"])
    await journal.close()


async def test_a_write_that_meets_damage_ends_the_work_when_all_that_was_taken_is_in_the_database(
    tmp_path: Path,
) -> None:
    """It was refused and tried again for ever, as on a full disk."""
    journal = await Journal.open(tmp_path)
    await journal.append(lines("a"))
    with contextlib.closing(sqlite3.connect(tmp_path / DATABASE_NAME)) as other:
        other.execute("ALTER TABLE groups RENAME TO lost")
    with pytest.raises(IntakeRefused, match=r"journal\.db is damaged .* move it away"):
        await journal.append(lines("b"))
    assert await bodies(journal) == ["a"]
    waiting = asyncio.create_task(journal.wait_beyond(1))
    await asyncio.sleep(0.01)
    assert not waiting.done(), "the record is in memory, and not yet in the database"
    await journal.checkpoint(1)
    with pytest.raises(JournalError, match="is damaged"):
        await waiting
    await journal.close()


async def test_nothing_is_taken_into_a_file_that_was_moved_away(tmp_path: Path) -> None:
    """It was acknowledged, and went with the process."""
    journal = await Journal.open(tmp_path / "data")
    await journal.append(lines("a"))
    (tmp_path / "data" / DATABASE_NAME).rename(tmp_path / "elsewhere")
    with pytest.raises(IntakeRefused, match="removed or replaced below this process"):
        await journal.append(lines("b"))
    assert await bodies(journal) == ["a"]
    await journal.append([], position=("lagos", "offset", "1"))
    assert not journal.accepting, "that a note could be written says nothing of records"
    (tmp_path / "elsewhere").rename(tmp_path / "data" / DATABASE_NAME)
    async with asyncio.timeout(20):
        await journal.room()
    await journal.append(lines("c"))
    assert await bodies(journal) == ["a", "c"]
    await journal.close()
