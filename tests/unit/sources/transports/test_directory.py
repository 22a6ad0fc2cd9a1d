"""A folder with one file per call."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NoReturn

import pytest
from structlog.testing import capture_logs

from cdrhub.errors import NotConnected
from cdrhub.sources.base import TOO_LONG
from cdrhub.sources.transports.directory import POSITION_PREFIX, READ_BYTES, DirectoryWatch
from support.intake import RecordingIntake, until
from support.rights import without_rights
from support.sinks import LINES, IntakeSink


@pytest.fixture
def intake() -> RecordingIntake:
    return RecordingIntake()


@asynccontextmanager
async def watching(
    folder: Path,
    intake: RecordingIntake,
    *,
    settled: float = 60.0,
    full_scan: float = 0.02,
    sink: IntakeSink | None = None,
) -> AsyncGenerator[asyncio.Task[NoReturn]]:
    watch = DirectoryWatch(
        folder,
        pattern="cdr-*.log",
        line_format=LINES,
        sink=sink or IntakeSink(intake),
        intake=intake,
        poll_seconds=0.005,
        settled_seconds=settled,
        full_scan_seconds=full_scan,
    )
    session = asyncio.create_task(watch.watch())
    try:
        yield session
    finally:
        if session.cancel():
            with contextlib.suppress(asyncio.CancelledError):
                await session


async def test_files_are_read_once_in_order_of_names_and_left_alone(tmp_path: Path, intake: RecordingIntake) -> None:
    for number in (3, 1, 2):
        (tmp_path / f"cdr-{number}.log").write_bytes(b"Call %d\r\n\r\n" % number)
    (tmp_path / "other.log").write_bytes(b"Call 9\r\n")
    (tmp_path / "cdr-folder.log").mkdir()
    before = sorted((path.name, path.stat().st_mtime_ns) for path in tmp_path.iterdir())
    async with watching(tmp_path, intake):
        await until(lambda: intake.bodies == [b"Call 1", b"Call 2", b"Call 3"])
        (tmp_path / "cdr-0.log").write_bytes(b"Call 0\r\n")
        await until(lambda: len(intake.bodies) == 4)
        (tmp_path / "cdr-0.log").unlink()
    async with watching(tmp_path, intake):
        await asyncio.sleep(0.05)
    assert intake.bodies == [b"Call 1", b"Call 2", b"Call 3", b"Call 0"]
    assert [accepted.attributes.get("live") for accepted in intake.accepted] == [False, False, False, None]
    assert sorted((path.name, path.stat().st_mtime_ns) for path in tmp_path.iterdir()) == before


async def test_a_folder_is_seen_when_what_was_written_before_is_read(tmp_path: Path, intake: RecordingIntake) -> None:
    (tmp_path / "cdr-1.log").write_bytes(b"Call 1\r\n")
    intake.full = True
    async with watching(tmp_path, intake):
        await until(lambda: intake.offered == 1)
        assert intake.links == {}
        intake.full = False
        await until(lambda: intake.links == {str(tmp_path): ""})
        assert intake.bodies == [b"Call 1"]


async def test_what_was_read_of_a_file_that_is_gone_is_forgotten(tmp_path: Path, intake: RecordingIntake) -> None:
    for number in range(3):
        (tmp_path / f"cdr-{number}.log").write_bytes(b"Call %d\n" % number)
    async with watching(tmp_path, intake):
        await until(lambda: len(intake.positions) == 3)
        intake.refusing = True
        (tmp_path / "cdr-1.log").unlink()
        await until(lambda: intake.counts["not_forgotten"])
        intake.refusing = False
        await until(lambda: sorted(intake.positions) == ["read:cdr-0.log", "read:cdr-2.log"])
    assert intake.bodies == [b"Call 0", b"Call 1", b"Call 2"]


async def test_a_half_written_file_is_read_when_complete_and_holds_nobody_up(
    tmp_path: Path, intake: RecordingIntake
) -> None:
    half = tmp_path / "cdr-1.log"
    half.write_bytes(b"Call 1,ha")
    (tmp_path / "cdr-2.log").write_bytes(b"Call 2\n")
    async with watching(tmp_path, intake):
        await until(lambda: intake.bodies == [b"Call 2"])
        with half.open("ab") as file:
            file.write(b"lf\r\n")
        await until(lambda: intake.bodies == [b"Call 2", b"Call 1,half"])


async def test_a_file_without_a_last_newline_is_taken_when_it_has_settled(
    tmp_path: Path, intake: RecordingIntake
) -> None:
    (tmp_path / "cdr-1.log").write_bytes(b"Call 1\nCall 2")
    async with watching(tmp_path, intake, settled=0.02):
        await until(lambda: intake.bodies == [b"Call 1", b"Call 2"])
    assert intake.accepted[1].attributes["unterminated"] is True


async def test_a_file_that_grows_later_is_read_again(tmp_path: Path, intake: RecordingIntake) -> None:
    path = tmp_path / "cdr-1.log"
    path.write_bytes(b"Call 1\n")
    async with watching(tmp_path, intake):
        await until(lambda: intake.bodies == [b"Call 1"])
        with path.open("ab") as file:
            file.write(b"Call 2\n")
        await until(lambda: intake.bodies == [b"Call 1", b"Call 1", b"Call 2"])


async def test_an_empty_file_is_no_record(tmp_path: Path, intake: RecordingIntake) -> None:
    (tmp_path / "cdr-1.log").write_bytes(b"")
    (tmp_path / "cdr-2.log").write_bytes(b"\r\n")
    async with watching(tmp_path, intake, settled=0.02):
        await until(lambda: len(intake.positions) == 2)
    assert intake.bodies == []


async def test_what_was_not_durable_is_read_again(tmp_path: Path, intake: RecordingIntake) -> None:
    intake.full = True
    (tmp_path / "cdr-1.log").write_bytes(b"Call 1\n")
    async with watching(tmp_path, intake):
        await until(lambda: intake.offered)
    assert intake.positions == {}
    intake.full = False
    async with watching(tmp_path, intake):
        await until(lambda: intake.bodies == [b"Call 1"])


async def test_a_long_file_is_read_in_pieces(tmp_path: Path, intake: RecordingIntake) -> None:
    expected = [b"Call %06d" % number for number in range(60_000)]
    (tmp_path / "cdr-1.log").write_bytes(b"\r\n".join(expected) + b"\r\n")
    async with watching(tmp_path, intake):
        await until(lambda: intake.positions)
    assert intake.bodies == expected
    assert len(intake.groups) > 1


async def test_the_beginning_of_a_line_over_the_limit_is_kept(tmp_path: Path, intake: RecordingIntake) -> None:
    long = b"Call 1," + b"x" * LINES.max_line
    (tmp_path / "cdr-1.log").write_bytes(long + b"\nCall 2\n")
    async with watching(tmp_path, intake):
        await until(lambda: intake.bodies == [long[: LINES.max_line], b"Call 2"])
    assert [accepted.attributes.get(TOO_LONG) for accepted in intake.accepted] == [True, None]
    assert intake.counts["too_long"] == 1


async def test_a_file_that_cannot_be_read_holds_nobody_up(tmp_path: Path, intake: RecordingIntake) -> None:
    loop = tmp_path / "cdr-1.log"
    loop.symlink_to(loop)
    (tmp_path / "cdr-2.log").write_bytes(b"Call 2\r\n")
    with capture_logs() as logged:
        async with watching(tmp_path, intake):
            await until(lambda: intake.bodies == [b"Call 2"])
            (tmp_path / "cdr-3.log").write_bytes(b"Call 3\r\n")
            await until(lambda: intake.bodies == [b"Call 2", b"Call 3"])
            loop.unlink()
            loop.write_bytes(b"Call 1\r\n")
            await until(lambda: intake.bodies == [b"Call 2", b"Call 3", b"Call 1"])
    assert intake.counts["file_unreadable"] == 1
    assert [(said["action"], said["first"]) for said in logged] == [("file_unreadable", "cdr-1.log")]


async def test_a_pipe_that_takes_the_place_of_a_file_is_not_waited_for(tmp_path: Path, intake: RecordingIntake) -> None:
    for number in (1, 2, 3):
        (tmp_path / f"cdr-{number}.log").write_bytes(b"Call %d\n" % number)
    pipe = tmp_path / "cdr-2.log"
    os.utime(pipe, (0, 0))
    intake.full = True
    async with watching(tmp_path, intake):
        await until(lambda: intake.offered == 1)
        pipe.unlink()
        os.mkfifo(pipe)
        intake.full = False
        try:
            await until(lambda: intake.bodies == [b"Call 1", b"Call 3"])
            await until(lambda: intake.counts["file_unreadable"] == 1)
        finally:
            with contextlib.suppress(OSError):  # nobody waits for it
                os.close(os.open(pipe, os.O_WRONLY | os.O_NONBLOCK))


async def test_a_folder_in_which_nothing_can_be_read_is_a_link_that_is_down(
    tmp_path: Path, intake: RecordingIntake
) -> None:
    loop = tmp_path / "cdr-1.log"
    loop.symlink_to(loop)
    with pytest.raises(NotConnected, match="symbolic links"):
        async with asyncio.timeout(5):
            await DirectoryWatch(
                tmp_path, pattern="*", line_format=LINES, sink=IntakeSink(intake), intake=intake, poll_seconds=0.005
            ).watch()
    assert intake.counts["file_unreadable"] == 0


async def test_a_folder_whose_newest_file_may_not_be_read_is_a_link_that_is_down(intake: RecordingIntake) -> None:
    with TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)

        def write(number: int, *, changed: int) -> Path:
            file = folder / f"cdr-{number}.log"
            file.write_bytes(b"Call %d\r\n" % number)
            os.utime(file, (changed, changed))
            return file

        secret = write(1, changed=300)
        write(2, changed=200)
        with without_rights(secret):
            async with watching(folder, intake) as session:
                await asyncio.wait({session}, timeout=5)
            assert str(session.exception()).startswith("cdr-1.log, the newest in ")
        assert (intake.bodies, intake.links) == ([b"Call 2"], {})
        write(3, changed=400)
        with without_rights(secret):
            async with watching(folder, intake):
                await until(lambda: intake.links)
        assert intake.bodies == [b"Call 2", b"Call 3"]


async def test_a_missing_folder_is_a_link_that_is_down(tmp_path: Path, intake: RecordingIntake) -> None:
    with pytest.raises(NotConnected, match="cannot be read"):
        async with asyncio.timeout(5):
            await DirectoryWatch(
                tmp_path / "none",
                pattern="*",
                line_format=LINES,
                sink=IntakeSink(intake),
                intake=intake,
                poll_seconds=0.005,
            ).watch()
    assert intake.links == {}


class Positions(IntakeSink):
    """Remembers how many lines came together, and whether a position was kept with them."""

    def __init__(self, intake: RecordingIntake) -> None:
        super().__init__(intake)
        self.kept: list[tuple[int, bool]] = []

    async def take(
        self, lines: Sequence[bytes], *, attributes: Mapping[str, Any], position: tuple[str, str] | None = None
    ) -> None:
        self.kept.append((len(lines), position is not None))
        await super().take(lines, attributes=attributes, position=position)


@pytest.mark.parametrize("rest", [b"", b"Call"])
async def test_a_file_counts_as_read_with_its_last_line_and_not_before(
    tmp_path: Path, intake: RecordingIntake, rest: bytes
) -> None:
    at_once = READ_BYTES // len(b"Call 12\n")
    (tmp_path / "cdr-1.log").write_bytes(b"Call 12\n" * (at_once + 1) + rest)
    sink = Positions(intake)
    async with watching(tmp_path, intake, settled=0.01, sink=sink):
        await until(lambda: intake.positions)
    assert sink.kept == [(at_once, False), (1, not rest), *([(1, True)] if rest else [])]


async def test_half_a_line_is_looked_at_again_although_the_folder_does_not_change(
    tmp_path: Path, intake: RecordingIntake
) -> None:
    (tmp_path / "cdr-1.log").write_bytes(b"Call 1\nCall 2")
    async with watching(tmp_path, intake, settled=0.05, full_scan=1000.0):
        await until(lambda: intake.bodies == [b"Call 1", b"Call 2"])


async def test_a_folder_of_which_one_file_was_read_before_is_made_good(tmp_path: Path, intake: RecordingIntake) -> None:
    for number in range(3):
        (tmp_path / f"cdr-{number}.log").write_bytes(b"Call %d\n" % number)
    with os.scandir(tmp_path) as entries:  # looked at first
        first = next(entries)
        intake.positions[POSITION_PREFIX + first.name] = "of earlier"
    async with watching(tmp_path, intake):
        await until(lambda: intake.caught_up_with == [f"read from {tmp_path.name}"])


async def test_what_was_written_while_nobody_watched_is_made_good(tmp_path: Path, intake: RecordingIntake) -> None:
    (tmp_path / "cdr-1.log").write_bytes(b"Call 1\n")
    async with watching(tmp_path, intake):
        await until(lambda: len(intake.bodies) == 1)
    assert intake.caught_up_with == [], "a folder that is read for the first time"
    (tmp_path / "cdr-2.log").write_bytes(b"Call 2\n")
    async with watching(tmp_path, intake):
        await until(lambda: intake.caught_up_with == [f"read from {tmp_path.name}"])
        assert len(intake.bodies) == 2
    (tmp_path / "cdr-3.log").write_bytes(b"Call 3")
    async with watching(tmp_path, intake):
        await until(lambda: intake.links)
        (tmp_path / "cdr-4.log").write_bytes(b"Call 4\n")
        await until(lambda: len(intake.bodies) == 3)
    assert len(intake.caught_up_with) == 1, "half a line waits"


async def test_others_have_their_turn_while_many_files_are_looked_at(tmp_path: Path) -> None:
    turns = 0
    asked_at: set[int] = set()

    class Watched(RecordingIntake):
        def position(self, key: str) -> str | None:
            asked_at.add(turns)
            return super().position(key)

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    intake = Watched()
    for number in range(1_000):
        file = tmp_path / f"cdr-{number}.log"
        file.touch()
        intake.positions[f"{POSITION_PREFIX}{file.name}"] = f"0 {file.stat().st_mtime_ns}"
    meanwhile = asyncio.create_task(others())
    async with watching(tmp_path, intake, full_scan=60):
        await until(lambda: intake.links)
    meanwhile.cancel()
    assert len(asked_at) > 1
