"""The journal when things go wrong for real: the process is killed, the disk is full, another one wants it."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from cdrhub.errors import IntakeRefused, JournalLocked
from cdrhub.journal import Journal
from support import disks
from support.journal import bodies, everything, lines

PRELUDE = """
import asyncio, os, resource, sys
from datetime import datetime, UTC
from pathlib import Path
from cdrhub.errors import IntakeRefused
from cdrhub.journal import Journal
from cdrhub.model.record import RawRecord, digest_of
import structlog

structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))

def record(body):
    raw = body.encode()
    return RawRecord(source="lagos", received_at=datetime.now(UTC), content_type="text/plain", body=raw,
                     digest=digest_of(raw), config_revision="r1")
"""

APPEND_UNTIL_KILLED = """
async def caller(journal, name):
    number = 0
    while True:
        bodies = [f"{name}.{number + at}".ljust(200, "x") for at in range(1 + number % 7)]
        position = ("lagos", name, str(number + len(bodies)))
        await journal.append([record(body) for body in bodies], position=position)
        number += len(bodies)
        os.write(1, f"{name} {number}\\n".encode())

async def consumer(journal):
    done = 0
    while True:
        await journal.wait_beyond(done)
        entries = await journal.read(after=done, limit=500, max_bytes=1 << 20)
        for entry in entries:
            os.write(2, entry.record.body.rstrip(b"x") + b"\\n")
        done = entries[-1].seq
        await journal.checkpoint(done)

async def main():
    journal = await Journal.open(Path(sys.argv[1]), tail_bytes=20_000)
    os.write(1, b"open\\n")
    callers = [caller(journal, f"{sys.argv[2]}-{number}") for number in range(8)]
    await asyncio.gather(*callers, *([consumer(journal)] if sys.argv[3] == "consume" else []))

asyncio.run(main())
"""


def child(script: str, *args: str) -> subprocess.Popen[bytes]:
    """A real process that works on a journal of its own."""
    return subprocess.Popen(
        [sys.executable, "-c", PRELUDE + textwrap.dedent(script), *args],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


@pytest.mark.parametrize("consume", ["keep", "consume"])
async def test_every_acknowledged_record_survives_kill_9(tmp_path: Path, consume: str) -> None:
    acknowledged: dict[str, int] = {}
    consumed: set[str] = set()
    for life in range(5):
        process = child(APPEND_UNTIL_KILLED, str(tmp_path), str(life), consume)
        assert process.stdout is not None
        assert process.stdout.readline() == b"open\n"
        killer = asyncio.get_running_loop().call_later(random.uniform(0.02, 0.4), os.kill, process.pid, signal.SIGKILL)
        out, err = await asyncio.to_thread(process.communicate, timeout=60)
        killer.cancel()
        assert process.returncode == -signal.SIGKILL, err.decode()
        # What a killed process wrote in part at the end of a pipe is no acknowledgement.
        for line in out.decode().split("\n")[:-1]:
            name, number = line.split()
            acknowledged[name] = int(number)
        consumed.update(err.decode().split("\n")[:-1])
    assert len(acknowledged) > 8

    journal = await Journal.open(tmp_path)
    entries = await everything(journal)
    first = entries[0].seq if entries else 0
    assert [entry.seq for entry in entries] == list(range(first, first + len(entries)))
    held = [entry.record.body.decode().rstrip("x") for entry in entries]
    assert len(held) == len(set(held)), "no record is there twice"
    there = consumed.union(held)
    for name, count in acknowledged.items():
        assert {f"{name}.{at}" for at in range(count)} <= there
        position = int(journal.position("lagos", name) or 0)
        assert position >= count
        assert {f"{name}.{at}" for at in range(position)} <= there, "a position never runs ahead of its records"
    await journal.close()


async def test_another_process_is_told_who_holds_it(tmp_path: Path) -> None:
    process = child(APPEND_UNTIL_KILLED, str(tmp_path), "holder", "keep")
    try:
        assert process.stdout is not None
        assert await asyncio.to_thread(process.stdout.readline) == b"open\n"
        with pytest.raises(JournalLocked, match=rf"{tmp_path} .*pid {process.pid}"):
            await Journal.open(tmp_path)
    finally:
        process.kill()
        await asyncio.to_thread(process.communicate, timeout=60)
    await (await Journal.open(tmp_path)).close()


FULL_THEN_FREED = """
async def main():
    journal = await Journal.open(Path(sys.argv[1]))
    await journal.append([record("before")], position=("lagos", "file", "1"))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, hard))
    taken = 0
    try:
        while taken < 100:
            await journal.append([record(f"{taken}.".ljust(50_000, "x"))], position=("lagos", "file", f"{taken}"))
            taken += 1
    except IntakeRefused as error:
        print("refused:", error, file=sys.stderr)
    assert 0 < taken < 100, taken
    assert not journal.accepting
    assert journal.position("lagos", "file") == str(taken - 1)
    read = await journal.read(after=0, limit=1000, max_bytes=1 << 30)
    assert len(read) == taken + 1, (len(read), taken)
    try:
        await journal.append([record("large again".ljust(400_000, "x"))])
        raise SystemExit("it took what cannot be written")
    except IntakeRefused:
        pass
    waiting = asyncio.create_task(journal.room())
    await asyncio.sleep(0)
    assert not waiting.done()
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    await waiting
    await journal.append([record("after")], position=("lagos", "file", "after"))
    assert journal.accepting
    read = await journal.read(after=0, limit=1000, max_bytes=1 << 30)
    print(taken, len(read), read[-1].record.body.decode())
    await journal.close()

asyncio.run(main())
"""


async def test_a_write_error_refuses_and_passes_by_itself(tmp_path: Path) -> None:
    process = child(FULL_THEN_FREED, str(tmp_path))
    out, err = await asyncio.to_thread(process.communicate, timeout=60)
    assert process.returncode == 0, err.decode()
    assert str(tmp_path) in err.decode()
    taken, held, newest = out.decode().split()
    assert newest == "after"
    journal = await Journal.open(tmp_path)
    found = await bodies(journal)
    assert found[0] == "before"
    assert found[-1] == "after"
    assert [body.rstrip("x") for body in found[1 : int(taken) + 1]] == [f"{at}." for at in range(int(taken))]
    assert len(found) == int(held)
    assert journal.position("lagos", "file") == "after"
    await journal.close()


REFUSED_BUT_LANDED = """
import sqlite3, zlib
from cdrhub.journal.packing import pack

async def main():
    journal = await Journal.open(Path(sys.argv[1]))
    await journal.append([record("first"), record("second")])
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        await journal.append([record("x" * 200_000)])
        raise SystemExit("it took what cannot be written")
    except IntakeRefused:
        pass
    # A failing disk may have kept what it said it could not: the row is there when the journal looks again.
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    other = sqlite3.connect(Path(sys.argv[1]) / "journal.db")
    payload = pack([record("refused")])
    other.execute("INSERT INTO groups VALUES (3, 1, 0, 100, ?, ?)", (zlib.crc32(payload), payload))
    other.commit()
    other.close()
    await journal.room()
    await journal.append([record("fourth")])
    for after in (0, 1, 2, 3):
        read = await journal.read(after=after, limit=1000, max_bytes=1 << 30)
        print(" ".join(f"{entry.seq}:{entry.record.body.decode()}" for entry in read))
    await journal.close()

asyncio.run(main())
"""


async def test_a_refused_group_that_landed_all_the_same_leaves_no_hole(tmp_path: Path) -> None:
    process = child(REFUSED_BUT_LANDED, str(tmp_path))
    out, err = await asyncio.to_thread(process.communicate, timeout=60)
    assert process.returncode == 0, err.decode()
    assert out.decode().splitlines() == [
        "1:first 2:second 3:refused 4:fourth",
        "2:second 3:refused 4:fourth",
        "3:refused 4:fourth",
        "4:fourth",
    ]


@pytest.fixture
def small_disk() -> Iterator[Path]:
    """A file system of two megabytes of its own."""
    with disks.small_disk(megabytes=2) as mounted:
        yield mounted


async def test_a_full_disk_refuses_and_takes_again_when_it_is_freed(small_disk: Path) -> None:
    ballast = small_disk / "ballast"
    journal = await Journal.open(small_disk / "journal")
    ballast.write_bytes(b"x" * 1_200_000)
    acknowledged = 0
    refusal = ""
    while not refusal:
        try:
            await journal.append(lines(f"{acknowledged}.".ljust(20_000, "x")))
        except IntakeRefused as error:
            refusal = str(error)
        else:
            acknowledged += 1
    assert "cannot write" in refusal
    assert acknowledged
    assert not journal.accepting
    before = [body.split(".")[0] for body in await bodies(journal)]
    assert before == [str(number) for number in range(acknowledged)]
    ballast.unlink()
    await journal.room()
    await journal.append(lines("again"))
    await journal.checkpoint(acknowledged)
    assert (await bodies(journal))[-1] == "again"
    await journal.close()
    journal = await Journal.open(small_disk / "journal")
    assert (await bodies(journal))[-1] == "again"
    await journal.close()
