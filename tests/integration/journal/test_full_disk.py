"""A disk that the journal itself filled, while the database was away: what is in the database makes room again."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from cdrhub.errors import IntakeRefused, JournalError
from cdrhub.journal import Journal
from support import disks
from support.journal import bodies, lines
from support.processes import python

MEGABYTE = 1_000_000
SECONDS = 20.0  #: what takes longer never comes

FILL_AND_DIE = """
import asyncio, os, sys
from pathlib import Path
from cdrhub.errors import IntakeRefused
from cdrhub.journal import Journal
from support.journal import lines

async def main():
    journal = await Journal.open(Path(sys.argv[1]))
    number = 0
    while True:
        try:
            await journal.append(lines(f"{number}.".ljust(1_000_000, "x")))
        except IntakeRefused:
            os.write(1, f"\\n{number}".encode())
            os._exit(1)
        number += 1

asyncio.run(main())
"""


@pytest.fixture
def disk() -> Iterator[Path]:
    """A file system of 64 megabytes of its own."""
    with disks.small_disk(megabytes=64) as mounted:
        yield mounted


async def fill(journal: Journal, number: int) -> int:
    """Append records of a megabyte from `number` on until one is refused; the number of that one."""
    while True:
        try:
            await journal.append(lines(f"{number}.".ljust(MEGABYTE, "x")))
        except IntakeRefused:
            return number
        number += 1


async def kept(journal: Journal) -> list[int]:
    return [int(body.split(".")[0]) for body in await bodies(journal)]


async def test_a_journal_that_filled_its_disk_empties_itself(disk: Path) -> None:
    async with asyncio.timeout(SECONDS):
        journal = await Journal.open(disk / "data")
        begun = 0
        for _ in range(3):
            acknowledged = await fill(journal, begun)
            assert await kept(journal) == list(range(begun, acknowledged))
            await journal.checkpoint(acknowledged)
            await journal.room()
            begun = acknowledged
        await journal.append(lines("again"))
        assert await bodies(journal) == ["again"]
        await journal.close()


async def test_a_daemon_that_died_on_a_full_disk_starts_again(disk: Path) -> None:
    data = disk / "data"
    died = await asyncio.to_thread(python, FILL_AND_DIE, str(data))
    acknowledged = int(died.stdout.split()[-1])
    fill_up(disk)
    async with asyncio.timeout(SECONDS):
        journal = await Journal.open(data)
        assert await kept(journal) == list(range(acknowledged))
        assert await fill(journal, acknowledged) == acknowledged, "nobody takes what a deletion needs"
        await journal.checkpoint(acknowledged)
        await journal.room()
        await journal.append(lines("again"))
        assert await bodies(journal) == ["again"]
        await journal.close()


async def test_a_journal_that_cannot_be_opened_for_want_of_room_says_so(disk: Path) -> None:
    """It said "disk I/O error": SQLite could not make the index of its log."""
    journal = await Journal.open(disk / "data")
    await journal.append(lines("a"))
    await journal.close()
    fill_up(disk)
    with pytest.raises(JournalError, match="cannot be opened: its disk is full"):
        await Journal.open(disk / "data")


def fill_up(disk: Path) -> None:
    """Take what is left of a disk, to the last block."""
    with (disk / "others").open("wb", buffering=0) as others:
        try:
            while others.write(b"x" * 4096):
                pass
        except OSError:
            return
