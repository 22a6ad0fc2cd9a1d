"""Following a file: what writers, rotation and restarts do to a reader."""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
from collections.abc import AsyncGenerator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from cdrhub.errors import NotConnected
from cdrhub.sources.transports.file_tail import POSITION_KEY, FileTail, Mark
from support.intake import RecordingIntake, until
from support.rights import without_rights
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
        await until(lambda: intake.links == {str(log): ""})
        await polls()
        append(log, b"Call 3\r\n")
        await until(lambda: len(intake.bodies) == 3)
    assert [accepted.attributes.get("live") for accepted in intake.accepted] == [False, False, None]
    assert intake.links == {}


async def test_a_log_is_seen_when_what_was_written_before_is_read(log: Path, intake: RecordingIntake) -> None:
    append(log, b"Call 1\r\n")
    intake.full = True
    async with following(log, intake):
        await until(lambda: intake.offered == 1)
        assert intake.links == {}
        intake.full = False
        await until(lambda: intake.links == {str(log): ""})
        assert intake.bodies == [b"Call 1"]


async def test_a_file_that_does_not_exist_yet_is_waited_for(log: Path, intake: RecordingIntake) -> None:
    async with following(log, intake):
        await polls()
        assert intake.links == {}
        assert intake.link_log == [("down", str(log))]
        append(log, b"Call 1\n")
        await until(lambda: intake.bodies == [b"Call 1"])
        assert "live" not in intake.accepted[0].attributes


class AnswersLate(ThreadPoolExecutor):
    """Threads that do their work at once and tell of it when they are let."""

    def __init__(self) -> None:
        super().__init__()
        self.may_tell = threading.Event()
        self.done = 0

    def submit(self, work: Any, /, *given: Any, **named: Any) -> Any:
        def late() -> object:
            result = work(*given, **named)
            self.done += 1
            self.may_tell.wait()
            return result

        return super().submit(late)


def open_files(log: Path) -> int:
    """How often the file is open in this process."""
    held = [Path("/proc/self/fd", name) for name in os.listdir("/proc/self/fd")]  # noqa: PTH208 - names of a moment
    return sum(link.is_symlink() and link.readlink() == log for link in held)


@pytest.mark.parametrize("known", [False, True])
async def test_a_file_that_is_opened_while_the_session_ends_is_closed(
    log: Path, intake: RecordingIntake, known: bool
) -> None:
    """It stayed open until the daemon ended, at each stop or reload that came in that moment."""
    append(log, b"Call 1\n")
    if known:
        async with following(log, intake):
            await until(lambda: intake.bodies and POSITION_KEY in intake.positions)
    threads = AnswersLate()
    asyncio.get_running_loop().set_default_executor(threads)
    try:
        async with following(log, intake):
            await until(lambda: threads.done == 1)
            assert open_files(log) == 1
        threads.may_tell.set()
        await until(lambda: open_files(log) == 0, "the file is still open")
    finally:
        threads.may_tell.set()


async def test_what_cannot_be_read_is_closed(log: Path, intake: RecordingIntake) -> None:
    """Each attempt left one more open, so that a disk that failed took all descriptors with it."""
    log.mkdir()
    mark = Mark(inode=log.stat().st_ino, offset=10, fingerprint="")
    intake.positions[POSITION_KEY] = mark.encode()
    with pytest.raises(NotConnected, match="Is a directory"):
        await tail(log, intake).follow()
    assert open_files(log) == 0


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
    async with following(log, intake):  # the last one may have had no turn in that time
        await until(lambda: len(intake.bodies) == 3)
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
    ((state, detail),) = [(said["state"], said["detail"]) for said in intake.inferences]
    assert (state, detail) == ("blind", "the file was emptied")


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
        await until(lambda: intake.bodies and intake.links)
        log.unlink()
        await until(lambda: not intake.links)
        append(log, b"Call 2\n")
        await until(lambda: intake.bodies == [b"Call 1", b"Call 2"] and intake.links)


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
        inode=log.stat().st_ino, offset=len(line) + 1, fingerprint=before, changed_ns=log.stat().st_mtime_ns
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
    mark = Mark(inode=2**63, offset=2**40, fingerprint="ab", changed_ns=2**60)
    assert Mark.decode(mark.encode()) == mark


# -- rotated more than once ---------------------------------------------------------------------------------------


def written_at(path: Path, minute: int) -> None:
    """Let `path` have been written to last in this minute of 2026-03-09, 10 o'clock."""
    moment = (START + timedelta(minutes=minute)).timestamp()
    os.utime(path, (moment, moment))


async def read_until(log: Path, intake: RecordingIntake, *, minute: int) -> None:
    """Read what is there and stop."""
    written_at(log, minute)
    before = len(intake.bodies)
    async with following(log, intake):
        await until(lambda: len(intake.bodies) > before)


def rotate(log: Path, *, names: Sequence[str], minute: int, content: bytes) -> None:
    """As logrotate does with these names, the newest first; then a new log with this content."""
    folder = log.parent
    for older, newer in pairwise(reversed(names)):
        if (folder / newer).exists():
            (folder / newer).rename(folder / older)
    log.rename(folder / names[0])
    append(log, content)
    written_at(log, minute)


NUMBERED = ["cdr.log.1", "cdr.log.2", "cdr.log.3"]
START = datetime(2026, 3, 9, 10, 0, tzinfo=UTC)
AS_LOGROTATE_NAMES_THEM = {
    "numbers": [NUMBERED, NUMBERED],
    "dates": [["cdr.log-20260309"], ["cdr.log-20260310"]],
    "before the suffix": [["cdr.1.log", "cdr.2.log"]] * 2,
    "dates and seconds": [["cdr-20260309-1773050400.log"], ["cdr-20260309-1773050460.log"]],
}


@pytest.mark.parametrize("names", AS_LOGROTATE_NAMES_THEM.values(), ids=AS_LOGROTATE_NAMES_THEM)
async def test_what_was_rotated_twice_while_nobody_followed_is_read(
    log: Path, intake: RecordingIntake, names: Sequence[Sequence[str]]
) -> None:
    append(log.with_name("cdr.log.9"), b"Call from before the first start\n")
    append(log.with_name("cdr-240617055949.288831.log"), b"Call that has a file of its own\n")
    append(log, b"Call 1\n")
    await read_until(log, intake, minute=0)
    append(log, b"Call 2\n")
    written_at(log, 10)
    written_at(log.with_name("cdr.log.9"), -5)
    rotate(log, names=names[0], minute=20, content=b"Call 3\nCall 4\n")
    rotate(log, names=names[1], minute=30, content=b"Call 5\n")
    async with following(log, intake):
        await until(lambda: b"Call 5" in intake.bodies)
        await until(lambda: intake.caught_up_with == ["read from cdr.log"])
        append(log, b"Call 6\n")
        await until(lambda: b"Call 6" in intake.bodies)
    assert intake.bodies == [b"Call %d" % number for number in range(1, 7)]
    assert intake.accepted[-1].attributes.get("live") is None
    assert (intake.counts["file_not_recognised"], intake.inferences) == (0, [])


async def test_what_was_rotated_twice_while_the_journal_was_full_is_read(log: Path, intake: RecordingIntake) -> None:
    append(log, b"Call 1\n")
    async with following(log, intake):
        await until(lambda: intake.bodies)
        written_at(log, 0)
        intake.full = True
        append(log, b"Call 2\n")
        await until(lambda: intake.offered == 2)
        written_at(log, 10)
        rotate(log, names=NUMBERED, minute=20, content=b"Call 3\n")
        rotate(log, names=NUMBERED, minute=30, content=b"Call 4\n")
        intake.full = False
        await until(lambda: len(intake.bodies) == 4)
    assert intake.bodies == [b"Call 1", b"Call 2", b"Call 3", b"Call 4"]


async def test_a_restart_between_two_parts_goes_on_with_the_second(log: Path, intake: RecordingIntake) -> None:
    append(log, b"Call 1\n")
    await read_until(log, intake, minute=0)
    rotate(log, names=NUMBERED, minute=20, content=b"Call 2\nCall 3\n")
    rotate(log, names=NUMBERED, minute=30, content=b"Call 4\n")
    async with following(log, intake):
        await until(lambda: len(intake.bodies) == 3)
    async with following(log, intake):
        await until(lambda: len(intake.bodies) == 4)
    assert intake.bodies == [b"Call 1", b"Call 2", b"Call 3", b"Call 4"]


@pytest.mark.parametrize("away", [True, False], ids=["away", "following"])
async def test_what_was_copied_and_emptied_is_read_to_its_end_in_the_copy(
    log: Path, intake: RecordingIntake, away: bool
) -> None:
    append(log, b"Call 1\n")
    intake.positions.clear()
    async with following(log, intake):
        await until(lambda: intake.bodies)
        if not away:
            intake.full = True
            append(log, b"Call 2\n")
            await until(lambda: intake.offered == 2)
            copy_and_empty(log, b"Call 3\nCa", b"Call 4\n")
            intake.full = False
            await until(lambda: b"Call 4" in intake.bodies)
    if away:
        append(log, b"Call 2\n")
        copy_and_empty(log, b"Call 3\nCa", b"Call 4\n")
        async with following(log, intake):
            await until(lambda: b"Call 4" in intake.bodies)
    assert intake.bodies == [b"Call 1", b"Call 2", b"Call 3", b"Ca", b"Call 4"]
    assert intake.inferences == []


def copy_and_empty(log: Path, last: bytes, then: bytes) -> None:
    """`copytruncate` of logrotate, after which the writer goes on."""
    append(log, last)
    log.with_name("cdr.log.1").write_bytes(log.read_bytes())
    os.truncate(log, 0)
    append(log, then)


async def test_what_was_packed_before_it_was_read_is_told(log: Path, intake: RecordingIntake) -> None:
    append(log, b"Call 1\n")
    await read_until(log, intake, minute=0)
    rotate(log, names=["cdr.log.1"], minute=20, content=b"Call 2\n")
    rotate(log, names=NUMBERED, minute=30, content=b"Call 3\n")
    packed = log.with_name("cdr.log.1")
    packed.rename(log.with_name("cdr.log.1.gz"))
    async with following(log, intake):
        await until(lambda: len(intake.bodies) == 2)
        await polls()
    assert intake.bodies == [b"Call 1", b"Call 3"]
    assert intake.counts["file_packed"] == 1
    assert intake.caught_up_with == []
    assert [(said["state"], said["since"], said["until"], said["detail"]) for said in intake.inferences] == [
        (
            "blind",
            START.isoformat(),
            (START + timedelta(minutes=20)).isoformat(),
            "cdr.log.1.gz was packed before it was read",
        )
    ]


async def test_a_part_that_may_not_be_read_holds_up_no_other(intake: RecordingIntake) -> None:
    with TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        log = Path(folder) / "cdr.log"
        append(log, b"Call 1\n")
        await read_until(log, intake, minute=0)
        for minute in (20, 30, 40):
            rotate(log, names=NUMBERED, minute=minute, content=b"Call in %d\n" % minute)
        log.with_name("cdr.log.4").symlink_to("cdr.log.4")
        with without_rights(log.with_name("cdr.log.2")):
            async with following(log, intake):
                await until(lambda: len(intake.bodies) == 3)
    assert intake.bodies == [b"Call 1", b"Call in 30", b"Call in 40"]
    assert intake.counts["file_unreadable"] == 1
    ((state, until_then, detail),) = [(said["state"], said["until"], said["detail"]) for said in intake.inferences]
    assert (state, detail) == ("blind", "cdr.log.2 may not be read")
    assert until_then == (START + timedelta(minutes=20)).isoformat()


async def test_that_the_file_which_was_read_last_is_gone_is_told(log: Path, intake: RecordingIntake) -> None:
    append(log, b"Call 1\n")
    await read_until(log, intake, minute=0)
    log.unlink()
    append(log.with_name("cdr.log.1"), b"Call 2\n")
    append(log, b"Call 3\n")
    async with following(log, intake):
        await until(lambda: len(intake.bodies) == 3)
        await polls()
    assert intake.bodies == [b"Call 1", b"Call 2", b"Call 3"]
    assert intake.counts["file_not_recognised"] == 1
    assert intake.caught_up_with == []
    ((state, since, detail),) = [(said["state"], said["since"], said["detail"]) for said in intake.inferences]
    assert (state, since, detail) == ("blind", START.isoformat(), "the file that was read last is gone")


async def test_a_first_start_does_not_read_what_was_put_aside(log: Path, intake: RecordingIntake) -> None:
    append(log.with_name("cdr.log.1"), b"Call 1\n")
    append(log, b"Call 2\n")
    async with following(log, intake):
        await until(lambda: intake.bodies)
        await polls()
    assert intake.bodies == [b"Call 2"]
    assert intake.caught_up_with == []
