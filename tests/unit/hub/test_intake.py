"""The intake of one source: parts, positions, patience."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import structlog

from cdrhub.errors import IntakeRefused, JournalError
from cdrhub.hub.intake import SourceIntake
from cdrhub.journal import Journal
from cdrhub.journal.file import DATABASE_NAME
from cdrhub.listeners import Listeners
from cdrhub.metrics import Metrics
from cdrhub.model.call import Call
from cdrhub.routes import Routes
from support.journal import bodies

APPEND_MAX_BYTES = 2_000
DAY = 86_400


async def no_calls(source: str, *, silent_for: timedelta) -> Sequence[Call]:
    """The open calls of a database without any."""
    return ()


@contextlib.asynccontextmanager
async def intake_of(directory: Path, *, max_bytes: int = 1 << 30) -> AsyncIterator[tuple[SourceIntake, Journal]]:
    """An intake and the journal behind it, which takes three messages of 500 bytes at once."""
    journal = await Journal.open(directory, max_bytes=max_bytes, append_max_bytes=APPEND_MAX_BYTES)
    intake = SourceIntake(
        "lagos",
        hub="hub",
        revision="r1",
        journal=journal,
        metrics=Metrics(),
        listeners=Listeners(),
        routes=Routes(),
        open_calls=no_calls,
    )
    try:
        yield intake, journal
    finally:
        await journal.close()


def messages(count: int) -> list[bytes]:
    return [f"{number}.".ljust(500, "x").encode() for number in range(count)]


@pytest.mark.parametrize("within", [None, DAY])
async def test_more_than_the_journal_takes_at_once_goes_in_parts_in_order(tmp_path: Path, within: float | None) -> None:
    async with intake_of(tmp_path) as (intake, journal):
        await intake.accept(messages(11), content_type="text/csv", position=("cdr.log", "5500"), within=within)
        assert [body.rstrip("x") for body in await bodies(journal)] == [f"{number}." for number in range(11)]
        assert intake.position("cdr.log") == "5500"
        assert journal.stats.groups > 1


async def test_event_ids_stay_with_their_messages_over_parts(tmp_path: Path) -> None:
    async with intake_of(tmp_path) as (intake, journal):
        ids = [f"Core/{number}" for number in range(8)]
        await intake.accept(messages(8), content_type="text/plain", event_ids=ids)
        found = await journal.read(after=0, limit=100, max_bytes=1 << 20)
        assert [(each.record.event_id, each.record.body[:1]) for each in found] == [
            (f"Core/{number}", str(number).encode()) for number in range(8)
        ]


async def test_a_message_over_the_limit_is_an_error_and_the_position_stays(tmp_path: Path) -> None:
    async with intake_of(tmp_path) as (intake, journal):
        large = b"x" * APPEND_MAX_BYTES
        with pytest.raises(JournalError, match="at most"):
            await intake.accept([*messages(4), large], content_type="text/csv", position=("cdr.log", "1"))
        assert intake.position("cdr.log") is None
        assert journal.accepting


async def test_without_a_limit_of_time_it_waits_for_room_and_other_tasks_go_on(tmp_path: Path) -> None:
    async with intake_of(tmp_path, max_bytes=3_000) as (intake, journal):
        await intake.accept(messages(3), content_type="text/csv")
        with pytest.raises(IntakeRefused):
            await intake.accept(messages(3), content_type="text/csv", within=DAY)
        patient = asyncio.create_task(intake.accept(messages(5), content_type="text/csv", position=("cdr.log", "5")))
        await asyncio.sleep(0.2)
        assert not patient.done()
        seen = 0
        while seen < 8:
            await journal.wait_beyond(seen)
            seen = (await journal.read(after=seen, limit=100, max_bytes=1 << 20))[-1].seq
            await journal.checkpoint(seen)
        await patient
        assert intake.position("cdr.log") == "5"


async def test_what_is_not_on_disk_in_time_is_refused(tmp_path: Path) -> None:
    async with intake_of(tmp_path) as (intake, journal):
        with contextlib.closing(sqlite3.connect(tmp_path / DATABASE_NAME)) as other:
            other.execute("BEGIN IMMEDIATE")  # somebody else's tool
            with pytest.raises(IntakeRefused, match="not durable within"):
                await intake.accept(messages(1), content_type="text/csv", within=0.05)
            other.rollback()
        await intake.accept(messages(1), content_type="text/csv", within=DAY)
        assert set(await bodies(journal)) == {messages(1)[0].decode()}


async def test_a_position_alone_is_remembered(tmp_path: Path) -> None:
    async with intake_of(tmp_path) as (intake, journal):
        await intake.accept([], content_type="text/csv", position=("cdr.log", "7"))
        assert intake.position("cdr.log") == "7"
        assert journal.stats.depth == 0


async def test_a_source_at_work_has_no_link_at_first(tmp_path: Path) -> None:
    async with intake_of(tmp_path) as (intake, _):
        assert intake._metrics.registry.get_sample_value("cdrhub_source_links", {"source": "lagos"}) == 0


async def test_a_clock_that_was_set_back_makes_no_silence_negative(tmp_path: Path) -> None:
    async with intake_of(tmp_path) as (intake, _):
        intake.last_record_at = datetime.now(UTC) + timedelta(hours=1)
        assert intake._silence() == 0


async def test_a_refused_address_is_counted_each_time_and_logged_once(tmp_path: Path) -> None:
    async with intake_of(tmp_path) as (intake, _):
        with structlog.testing.capture_logs() as lines:
            for _ in range(3):
                intake.count("peer_refused")
            intake.count("foreign")
    assert [(line["action"], line["source"], line["log_level"]) for line in lines] == [
        ("peer_refused", "lagos", "warning")
    ]


@pytest.mark.parametrize(
    "said",
    [
        {"bodies": b"one"},
        {"bodies": ["text"]},
        {"bodies": [bytearray(b"that changes")]},
        {"bodies": (body for body in [b"one"])},
        {"content_type": None},
        {"attributes": "peer"},
        {"event_ids": []},
        {"event_ids": [None, None]},
    ],
    ids=["bytes", "text", "bytearray", "generator", "no content type", "attributes", "too few ids", "too many ids"],
)
async def test_what_no_record_can_be_made_of_is_refused_before_it_is_in_the_journal(
    said: dict[str, Any], tmp_path: Path
) -> None:
    """One without a content type ended the daemon when it was written, and at each start after that."""
    async with intake_of(tmp_path) as (intake, journal):
        whole: dict[str, Any] = {"bodies": [b"one"], "content_type": "text/plain"} | said
        with pytest.raises((TypeError, ValueError)):
            await intake.accept(**whole)
        assert await bodies(journal) == []


@pytest.mark.parametrize("what", ["peer \udcff", "10.0.0.1:5060", "", "x" * 65])
async def test_what_is_counted_is_a_constant(what: str, tmp_path: Path) -> None:
    """One that is no Unicode was the end of /metrics for everybody."""
    async with intake_of(tmp_path) as (intake, _):
        with pytest.raises(ValueError, match="a constant such as"):
            intake.count(what)
