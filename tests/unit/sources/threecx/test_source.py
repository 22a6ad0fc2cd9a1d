"""The 3CX source's watch over record numbers, through its real transports."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from cdrhub.errors import NotConnected
from cdrhub.sources.base import Probed
from cdrhub.sources.threecx import SYSTEM
from cdrhub.sources.threecx.config import ThreeCXConfig
from cdrhub.sources.threecx.gaps import GRACE
from cdrhub.sources.threecx.source import HISTORY_KEY, ThreeCXSource, line_format
from support.intake import RecordingIntake, until
from support.peers import Client

LISTEN = "127.0.0.1:0"
PATH = "/ingest/3cx/a-secret-of-some-length"
CONFIG = ThreeCXConfig(type="3cx", listen=LISTEN, fields=("historyid", "callid", "duration"))


@pytest.fixture
def intake() -> Generator[RecordingIntake]:
    intake = RecordingIntake()
    yield intake
    intake.close()


@asynccontextmanager
async def listening(intake: RecordingIntake, config: ThreeCXConfig = CONFIG) -> AsyncGenerator[Client]:
    session = asyncio.create_task(ThreeCXSource(config).session(intake))
    client = await Client.connect(intake.port(LISTEN))
    yield client
    session.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await session
    await client.close()


async def send(client: Client, intake: RecordingIntake, *numbers: int) -> None:
    """Records with these numbers, and wait until they are durable."""
    wanted = len(intake.bodies) + len(numbers)
    await client.send(b"".join(b"Call %d,c%d,00:00:01\r\n" % (number, number) for number in numbers))
    await until(lambda: len(intake.bodies) == wanted)


def details(intake: RecordingIntake) -> list[str]:
    return [said["detail"] for said in intake.inferences]


async def test_a_jump_is_written_to_the_coverage(intake: RecordingIntake) -> None:
    async with listening(intake) as client:
        await send(client, intake, 23)
        await send(client, intake, 32, 33, 35)
    assert details(intake) == ["historyid 24..31 never arrived (8 records)", "historyid 34 never arrived (1 record)"]
    assert all(said["state"] == "blind" and said["since"] <= said["until"] for said in intake.inferences)
    assert intake.counts["missing_records"] == 9


async def test_a_line_that_is_in_suspense_has_come_and_half_a_line_has_not(intake: RecordingIntake) -> None:
    async with listening(intake) as client:
        await send(client, intake, 23)
        await client.send(b"Call 24,00000172FF10D141_4445,00:00:01,Doe, Ada\r\n")
        await until(lambda: len(intake.bodies) == 2)
        await send(client, intake, 25)
        await client.send(b"Call 26,00000172FF10D141_4446")
        await client.close()
        await until(lambda: len(intake.bodies) == 4)
        again = await Client.connect(intake.port(LISTEN))
        await send(again, intake, 27)
        await again.close()
    assert details(intake) == ["historyid 26 never arrived (1 record)"]


async def test_the_first_number_ever_is_compared_to_nothing(intake: RecordingIntake) -> None:
    async with listening(intake) as client:
        await send(client, intake, 5000, 5001)
    assert intake.inferences == []


async def test_a_number_that_comes_late_is_not_missing(intake: RecordingIntake) -> None:
    async with listening(intake) as client:
        await send(client, intake, 100, 103, 101, 102)
    assert intake.inferences == []


async def test_a_loss_during_a_restart_is_noticed(intake: RecordingIntake) -> None:
    async with listening(intake) as client:
        await send(client, intake, 100, 101)
    assert intake.positions[HISTORY_KEY].startswith("101 ")
    async with listening(intake) as client:
        await send(client, intake, 105)
    assert details(intake) == ["historyid 102..104 never arrived (3 records)"]


def a_while_ago(memory: str) -> str:
    """What is remembered, as if it had been before the grace."""
    return re.sub(r"\d{4}-\d\d-\d\dT[^ /]+", lambda it: (datetime.fromisoformat(it[0]) - 2 * GRACE).isoformat(), memory)


def left_by(killed: RecordingIntake) -> RecordingIntake:
    """The intake of the start after that one was killed: it knows what was durable then."""
    after = RecordingIntake()
    after.positions = dict(killed.positions)
    return after


async def test_a_jump_shortly_before_the_daemon_is_killed_is_told_by_the_next_start(intake: RecordingIntake) -> None:
    async with listening(intake) as client:
        await send(client, intake, 100, 103)
        late = left_by(intake)
        await send(client, intake, 101)
        after = left_by(intake)
    for start, told in ((late, "101..102 never arrived (2 records)"), (after, "102 never arrived (1 record)")):
        async with listening(start) as client:
            await send(client, start, 104)
        assert details(start) == [f"historyid {told}"]
        start.close()
    assert details(intake) == ["historyid 102 never arrived (1 record)"]
    async with listening(intake) as client:
        await send(client, intake, 104, 105)
    assert len(intake.inferences) == 1, "what was told is not told again"


async def test_a_daemon_that_is_killed_between_two_commits_has_lost_nothing(tmp_path: Path) -> None:
    log = tmp_path / "cdr.log"
    config = ThreeCXConfig(type="3cx", mode="file", path=str(log), fields=CONFIG.fields)
    crash: list[RecordingIntake] = []

    class Killed(RecordingIntake):
        async def accept(self, bodies: Sequence[bytes], **said: Any) -> None:
            await super().accept(bodies, **said)
            crash.append(left_by(self))

    def write(*numbers: int) -> None:
        with log.open("ab") as file:
            file.write(b"".join(b"Call %d,c%d,00:00:01\r\n" % (number, number) for number in numbers))

    async def follow(intake: RecordingIntake, *, last: bytes) -> None:
        session = asyncio.create_task(ThreeCXSource(config, poll_seconds=0.005).session(intake))
        await until(lambda: any(body.startswith(last) for body in intake.bodies))
        session.cancel()
        await asyncio.gather(session, return_exceptions=True)

    write(100, 101)
    first = Killed()
    await follow(first, last=b"Call 101")
    write(102, 103)
    await follow(first, last=b"Call 103")
    write(104)
    starts = list(crash)
    assert len(starts) > 2
    for start in starts:
        await follow(start, last=b"Call 104")
        assert details(start) == []


@asynccontextmanager
async def pushed(intake: RecordingIntake) -> AsyncGenerator[Callable[[int], Awaitable[int]]]:
    """The source in mode http; what posts a record of a number says with which status it is answered."""
    config = ThreeCXConfig(type="3cx", mode="http", path=PATH, fields=CONFIG.fields)
    async with intake.serving(ThreeCXSource(config), PATH) as url, aiohttp.ClientSession() as client:

        async def post(number: int) -> int:
            async with asyncio.timeout(20), client.post(url, data=b"Call %d,c,00:00:01" % number) as answer:
                return answer.status

        yield post


async def test_a_forwarder_is_told_in_time_that_the_journal_is_full(intake: RecordingIntake) -> None:
    async with pushed(intake) as post:
        intake.full = True
        assert await post(1) == 503
    assert intake.bodies == []


@pytest.mark.parametrize("again", [False, True])
async def test_a_record_that_could_not_be_kept_is_missing_until_it_comes_again(
    intake: RecordingIntake, again: bool
) -> None:
    async with pushed(intake) as post:
        assert await post(23) == 200
        intake.refusing = True
        assert await post(24) == 503
        intake.refusing = False
        assert await post(25) == 200
    assert details(intake) == [], "the forwarder may still send it again"
    assert intake.positions[HISTORY_KEY].startswith("25 ")
    async with pushed(intake) as post:
        if again:
            assert await post(24) == 200
    intake.positions[HISTORY_KEY] = a_while_ago(intake.positions[HISTORY_KEY])
    async with pushed(intake) as post:
        assert await post(26) == 200
        await until(lambda: again or intake.inferences)
    assert details(intake) == ([] if again else ["historyid 24 never arrived (1 record)"])


async def test_of_two_connections_the_highest_number_is_remembered_whichever_is_kept_last(
    intake: RecordingIntake,
) -> None:
    async with listening(intake) as client:
        await send(client, intake, 22)
        other = await Client.connect(intake.port(LISTEN))
        await until(lambda: len(intake.links) == 2)
        intake.full = True
        await other.send(b"Call 24,c24,00:00:01\r\n")
        await until(lambda: intake.offered == 2)
        await client.send(b"Call 23,c23,00:00:01\r\n")
        await until(lambda: intake.offered == 3)
        intake.full = False
        await until(lambda: len(intake.bodies) == 3)
        await other.close()
    assert intake.positions[HISTORY_KEY].startswith("24 ")
    async with listening(intake) as client:
        await send(client, intake, 25)
    assert intake.inferences == []


@pytest.mark.parametrize("text", ["", "101", "101 yesterday", "x 2024-07-03T11:00:00+00:00", "1 2 3"])
async def test_an_unreadable_memory_is_none(intake: RecordingIntake, text: str) -> None:
    intake.positions[HISTORY_KEY] = text
    async with listening(intake) as client:
        await send(client, intake, 500)
    assert intake.inferences == []


async def test_a_layout_without_historyid_has_no_gaps(intake: RecordingIntake) -> None:
    config = ThreeCXConfig(type="3cx", listen=LISTEN, fields=("callid", "duration", "time-start"))
    async with listening(intake, config) as client:
        await send(client, intake, 1, 500)
    assert (intake.inferences, intake.positions) == ([], {})


async def test_a_wrong_count_is_kept_and_the_connection_stays_open(intake: RecordingIntake) -> None:
    async with listening(intake) as client:
        await client.send(b"Call 1,too,many,fields\r\n" * 100)
        await until(lambda: len(intake.bodies) == 100)
        await send(client, intake, 1)
        assert intake.counts["foreign"] == 0


@pytest.mark.parametrize(
    ("line", "is_record"),
    [
        (b"Call 1,c,00:00:01", True),
        (b"1,c,00:00:01", True),
        (b"Call of another layout", True),
        (b"1,c", False),
        (b"GET / HTTP/1.1", False),
        (b"\x16\x03\x01", False),
    ],
)
def test_what_can_be_a_record(line: bytes, is_record: bool) -> None:
    assert line_format(CONFIG).is_record(line) == is_record


def test_the_system_makes_this_source() -> None:
    assert isinstance(SYSTEM.source(CONFIG), ThreeCXSource)


async def test_files_that_cannot_be_read_are_named_before_the_start(tmp_path: Path) -> None:
    log = tmp_path / "cdr.log"
    following = SYSTEM.source(ThreeCXConfig(type="3cx", mode="file", path=str(log)))
    watching = SYSTEM.source(ThreeCXConfig(type="3cx", mode="directory", path=str(tmp_path / "cdrs")))
    assert isinstance(following, Probed)
    assert isinstance(watching, Probed)
    for source, path in ((following, log), (watching, tmp_path / "cdrs")):
        with pytest.raises(NotConnected, match=f"{path}: No such file or directory"):
            await source.probe()
    log.write_bytes(b"12345")
    (tmp_path / "cdrs").mkdir()
    (tmp_path / "cdrs" / "cdr-1.log").touch()
    assert await following.probe() == f"{log}: 5 bytes"
    assert await watching.probe() == f"{tmp_path / 'cdrs'}: 1 files of the pattern cdr-*.log"


async def test_what_is_no_file_is_not_opened_to_be_looked_at(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")  # whoever opens it waits for the other side, for ever
    for name in ("pipe", "."):
        source = SYSTEM.source(ThreeCXConfig(type="3cx", mode="file", path=str(tmp_path / name)))
        assert isinstance(source, Probed)
        with pytest.raises(NotConnected, match="is no file"):
            await source.probe()


def test_a_socket_is_not_tried_for_that_could_take_a_record() -> None:
    assert not isinstance(SYSTEM.source(CONFIG), Probed)
