"""Following a file: what writers, rotation and restarts do to a reader."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from hashlib import blake2b
from pathlib import Path

import pytest

from cdrhub.errors import NotConnected
from cdrhub.sources.transports.file_tail import POSITION_KEY, FileTail, Mark
from support.intake import RecordingIntake, until
from support.sinks import LINES, IntakeSink

POLL_SECONDS = 0.005


@pytest.fixture
def intake() -> RecordingIntake:
    return RecordingIntake()


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "cdr.log"


def tail(log: Path, intake: RecordingIntake) -> FileTail:
    return FileTail(log, line_format=LINES, sink=IntakeSink(intake), intake=intake, poll_seconds=POLL_SECONDS)


@asynccontextmanager
async def following(log: Path, intake: RecordingIntake) -> AsyncGenerator[None]:
    session = asyncio.create_task(tail(log, intake).follow())
    try:
        yield
    finally:
        session.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await session


def append(log: Path, content: bytes) -> None:
    with log.open("ab") as file:
        file.write(content)


async def polls(count: int = 4) -> None:
    """Let the tail look a few times."""
    await asyncio.sleep(POLL_SECONDS * count)


async def test_what_is_there_is_caught_up_and_what_comes_is_live(log: Path, intake: RecordingIntake) -> None:
    append(log, b"Call 1\r\n\r\nCall 2\r\n\r\n")
    async with following(log, intake):
        await until(lambda: intake.bodies == [b"Call 1", b"Call 2"])
        assert intake.links == {str(log): ""}
        await polls()
        append(log, b"Call 3\r\n")
        await until(lambda: len(intake.bodies) == 3)
    assert [accepted.attributes.get("live") for accepted in intake.accepted] == [False, False, None]
    assert intake.links == {}


async def test_a_file_that_does_not_exist_yet_is_waited_for(log: Path, intake: RecordingIntake) -> None:
    async with following(log, intake):
        await polls()
        assert intake.links == {}
        append(log, b"Call 1\n")
        await until(lambda: intake.bodies == [b"Call 1"])
        assert "live" not in intake.accepted[0].attributes


async def test_half_a_last_line_waits(log: Path, intake: RecordingIntake) -> None:
    append(log, b"Call 1\nCal")
    async with following(log, intake):
        await until(lambda: intake.bodies == [b"Call 1"])
        await polls()
        append(log, b"l 2\r")
        await polls()
        assert intake.bodies == [b"Call 1"]
        append(log, b"\n")
        await until(lambda: intake.bodies == [b"Call 1", b"Call 2"])


async def test_a_restart_goes_on_where_it_stopped(log: Path, intake: RecordingIntake) -> None:
    append(log, b"Call 1\nCal")
    async with following(log, intake):
        await until(lambda: intake.bodies)
    append(log, b"l 2\nCall 3\n")
    async with following(log, intake):
        await until(lambda: len(intake.bodies) == 3)
        await polls()
    assert intake.bodies == [b"Call 1", b"Call 2", b"Call 3"]


async def test_a_restart_at_every_byte_reads_every_record_once(log: Path, intake: RecordingIntake) -> None:
    wire = b"Call 1\r\n\r\nCall 2\r\nCall 3\n"
    for byte in range(len(wire)):
        append(log, wire[byte : byte + 1])
        async with following(log, intake):
            await polls(3)
    assert intake.bodies == [b"Call 1", b"Call 2", b"Call 3"]


async def test_a_rotated_file_is_read_to_its_end_before_the_next(log: Path, intake: RecordingIntake) -> None:
    append(log, b"Call 1\n")
    async with following(log, intake):
        await until(lambda: intake.bodies)
        append(log, b"Call 2\nCall 3")
        log.rename(log.with_suffix(".1"))
        append(log, b"Call 4\n")
        await until(lambda: len(intake.bodies) == 4)
    assert intake.bodies == [b"Call 1", b"Call 2", b"Call 3", b"Call 4"]
    assert intake.accepted[2].attributes["unterminated"] is True


async def test_a_file_rotated_while_nobody_followed_is_found_again(log: Path, intake: RecordingIntake) -> None:
    append(log, b"Call 1\n")
    async with following(log, intake):
        await until(lambda: intake.bodies)
    append(log, b"Call 2\n")
    log.rename(log.with_suffix(".1"))
    append(log, b"Call 3\n")
    async with following(log, intake):
        await until(lambda: len(intake.bodies) == 3)
        await polls()
    assert intake.bodies == [b"Call 1", b"Call 2", b"Call 3"]
    assert intake.counts["file_not_recognised"] == 0
    assert all(accepted.attributes["live"] is False for accepted in intake.accepted)


async def test_a_successor_that_begins_alike_is_not_taken_for_the_file_that_was_read(
    log: Path, intake: RecordingIntake
) -> None:
    append(log, b"Call header\n")
    async with following(log, intake):
        await until(lambda: intake.bodies)
    append(log, b"Call 1\n")
    log.rename(log.with_suffix(".1"))
    append(log, b"Call header\nCall 2\n")
    async with following(log, intake):
        await until(lambda: b"Call 2" in intake.bodies)
    assert intake.bodies == [b"Call header", b"Call 1", b"Call header", b"Call 2"]


async def test_a_rest_that_was_handed_over_is_not_read_again(log: Path, intake: RecordingIntake) -> None:
    append(log, b"Call 1\nCall 2")
    async with following(log, intake):
        await until(lambda: intake.bodies)
        log.rename(log.with_suffix(".1"))
        append(log, b"")
        await until(lambda: len(intake.bodies) == 2)
    append(log, b"Call 3\n")
    async with following(log, intake):
        await until(lambda: len(intake.bodies) == 3)
        await polls()
    assert intake.bodies == [b"Call 1", b"Call 2", b"Call 3"]


async def test_a_file_that_was_removed_while_nobody_followed_is_counted(log: Path, intake: RecordingIntake) -> None:
    append(log, b"Call 1\n")
    async with following(log, intake):
        await until(lambda: intake.bodies)
    log.unlink()
    append(log, b"Call 2\n")
    async with following(log, intake):
        await until(lambda: len(intake.bodies) == 2)
    assert intake.counts["file_not_recognised"] == 1


async def test_a_truncated_file_is_read_from_its_beginning(log: Path, intake: RecordingIntake) -> None:
    append(log, b"Call 1\nCall 2\nhalf")
    async with following(log, intake):
        await until(lambda: len(intake.bodies) == 2)
        await polls()
        os.truncate(log, 0)
        await until(lambda: intake.counts["file_truncated"])
        append(log, b"Call 3\n")
        await until(lambda: len(intake.bodies) == 4)
    assert intake.bodies == [b"Call 1", b"Call 2", b"half", b"Call 3"]


async def test_a_file_truncated_and_grown_past_the_offset_is_noticed(log: Path, intake: RecordingIntake) -> None:
    append(log, b"Call 1\n")
    async with following(log, intake):
        await until(lambda: intake.bodies)
    log.write_bytes(b"Call 2\nCall 3\n")  # the same inode, longer than before
    async with following(log, intake):
        await until(lambda: len(intake.bodies) == 3)
    assert intake.bodies == [b"Call 1", b"Call 2", b"Call 3"]


async def test_a_vanished_file_is_a_link_that_is_down(log: Path, intake: RecordingIntake) -> None:
    append(log, b"Call 1\n")
    async with following(log, intake):
        await until(lambda: intake.bodies)
        log.unlink()
        await until(lambda: not intake.links)
        append(log, b"Call 2\n")
        await until(lambda: intake.bodies == [b"Call 1", b"Call 2"])
        assert intake.links


async def test_the_position_moves_only_with_durable_records(log: Path, intake: RecordingIntake) -> None:
    intake.full = True
    line = b"Call 1" + b"x" * 500
    append(log, line + b"\n")
    async with following(log, intake):
        await until(lambda: intake.offered)
        assert intake.positions == {}
    assert intake.bodies == []
    intake.full = False
    async with following(log, intake):
        await until(lambda: intake.bodies == [line])
    before = blake2b((line + b"\n")[-256:], digest_size=16).hexdigest()  # what older versions remembered fits still
    assert Mark.decode(intake.positions[POSITION_KEY]) == Mark(
        inode=log.stat().st_ino, offset=len(line) + 1, fingerprint=before
    )


async def test_a_line_over_the_limit_is_cut(log: Path, intake: RecordingIntake) -> None:
    append(log, b"x" * 5000 + b"\nCall 1\n")
    async with following(log, intake):
        await until(lambda: len(intake.bodies) == 2)
    assert sorted(intake.bodies) == [b"Call 1", b"x" * 1024]


async def test_a_folder_is_no_file(tmp_path: Path, intake: RecordingIntake) -> None:
    with pytest.raises(NotConnected, match="cannot be read"):
        await tail(tmp_path, intake).follow()


@pytest.mark.parametrize("text", [None, "", "no json", "[]", "{}", '{"inode": "x", "offset": 1, "fingerprint": ""}'])
def test_a_mark_of_another_form_is_none(text: str | None) -> None:
    assert Mark.decode(text) is None


def test_a_mark_survives_its_text() -> None:
    mark = Mark(inode=2**63, offset=2**40, fingerprint="ab")
    assert Mark.decode(mark.encode()) == mark
