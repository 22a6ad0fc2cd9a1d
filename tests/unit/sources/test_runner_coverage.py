"""What the loop around a source writes to the coverage: blind, made good, quiet, also where clocks are set."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from cdrhub.sources import runner as runner_module
from cdrhub.sources.base import Intake, SourceConfig
from cdrhub.sources.runner import (
    ALIVE_KEY,
    NOT_RUNNING,
    STANDSTILL,
    STOOD_STILL,
    Runner,
    unusually_quiet,
)
from cdrhub.sources.spans import read_hours
from cdrhub.sources.voicenter.config import VoicenterConfig
from support.intake import RecordingIntake, until
from support.runners import NOON, ScriptedSource, listening, runner_of, running, states


@pytest.fixture
def intake() -> RecordingIntake:
    return RecordingIntake()


@pytest.mark.parametrize(
    ("now", "silent_minutes", "hours", "zone", "quiet"),
    [
        (NOON, 14, None, "UTC", False),
        (NOON, 15, None, "UTC", True),
        (NOON, 15, "mon-fri 08:00-18:00", "UTC", True),
        (NOON + timedelta(days=3), 500, "mon-fri 08:00-18:00", "UTC", False),  # Saturday
        (NOON.replace(hour=8, minute=10), 900, "mon-fri 08:00-18:00", "UTC", False),  # open for 10 minutes
        (NOON.replace(hour=8, minute=15), 900, "mon-fri 08:00-18:00", "UTC", True),
        (NOON.replace(hour=18, minute=1), 900, "mon-fri 08:00-18:00", "UTC", False),
        (NOON.replace(hour=7, minute=30), 60, "mon-fri 08:00-18:00", "Africa/Lagos", True),  # 08:30 there
        (NOON.replace(hour=13, minute=5), 60, "mon-fri 08:00-12:55; mon-fri 13:00-18:00", "UTC", False),
    ],
)
def test_silence_counts_within_hours(
    now: datetime, silent_minutes: int, hours: str | None, zone: str, quiet: bool
) -> None:
    assert quiet == unusually_quiet(
        now=now,
        silent_since=now - timedelta(minutes=silent_minutes),
        after=timedelta(minutes=15),
        hours=read_hours(hours) if hours else None,
        zone=ZoneInfo(zone),
    )


async def test_the_time_without_a_daemon_is_blind(intake: RecordingIntake) -> None:
    last = datetime(2024, 7, 3, 11, 0, tzinfo=UTC)
    intake.positions[ALIVE_KEY] = last.isoformat()
    async with running(runner_of(ScriptedSource(listening), intake)):
        await until(lambda: intake.links)
    first = intake.inferences[0]
    assert (first["state"], first["since"], first["detail"]) == (
        "blind",
        last.isoformat(),
        "the daemon did not run, or not with this source",
    )
    assert datetime.fromisoformat(first["until"]) > last
    assert datetime.fromisoformat(intake.positions[ALIVE_KEY]) > last


async def test_the_end_is_noted_so_that_the_time_before_it_is_not_blind(intake: RecordingIntake) -> None:
    moment = NOON
    config = SourceConfig.model_validate({"type": "test"})
    source = ScriptedSource(listening)
    async with running(Runner(source=source, config=config, intake=intake, now=lambda: moment)):
        await until(lambda: intake.links and ALIVE_KEY in intake.positions)
        moment += timedelta(seconds=40)
    assert intake.positions[ALIVE_KEY] == moment.isoformat()


async def test_what_changed_before_a_kill_is_before_the_time_without_a_daemon(intake: RecordingIntake) -> None:
    moment, connect = NOON, asyncio.Event()
    noted: list[tuple[str, str | None]] = []

    class KilledAtAnyMoment(RecordingIntake):
        async def infer(self, inference: Mapping[str, Any]) -> None:
            noted.append((inference["since"], self.positions.get(ALIVE_KEY)))
            await super().infer(inference)

    async def connected_late(intake: Intake) -> None:
        await connect.wait()
        intake.link_up("pbx")
        await asyncio.Event().wait()

    config = SourceConfig.model_validate({"type": "test"})
    source, killed = ScriptedSource(connected_late), KilledAtAnyMoment()
    async with running(Runner(source=source, config=config, intake=killed, now=lambda: moment)):
        await until(lambda: states(killed) == ["blind"])
        moment += timedelta(seconds=30)
        connect.set()
        await until(lambda: states(killed) == ["blind", "connected"])
        moment += timedelta(seconds=20)
    assert [since for since, _ in noted] == [
        said.isoformat() for said in (NOON, NOON, NOON + timedelta(seconds=30), NOON + timedelta(seconds=30), moment)
    ]
    assert all(alive is not None and since <= alive for since, alive in noted), noted


async def test_a_blind_time_that_was_made_good_is_backfilled(intake: RecordingIntake) -> None:
    moment, gone = NOON, asyncio.Event()
    intake.positions[ALIVE_KEY] = (NOON - timedelta(hours=2)).isoformat()

    async def reading(intake: Intake) -> None:
        nonlocal moment
        moment += timedelta(minutes=1)
        intake.link_up("cdr.log")
        intake.caught_up("read from cdr.log")
        intake.caught_up("read from cdr.log")
        await gone.wait()
        gone.clear()
        moment += timedelta(minutes=10)
        intake.link_down("cdr.log")

    config = SourceConfig.model_validate({"type": "test"})
    async with running(Runner(source=ScriptedSource(reading), config=config, intake=intake, now=lambda: moment)):
        await until(lambda: any(said["state"] == "backfilled" for said in intake.inferences))
        gone.set()
        await until(lambda: states(intake).count("connected") == 2)
    stretches = [
        (datetime.fromisoformat(said["since"]), datetime.fromisoformat(said["until"]), said["detail"])
        for said in intake.inferences
        if said["state"] == "backfilled"
    ]
    again = NOON + timedelta(minutes=11)
    assert stretches == [
        (NOON - timedelta(hours=2), NOON + timedelta(minutes=1), "read from cdr.log"),
        (again, again + timedelta(minutes=1), "read from cdr.log"),
    ]


async def test_what_was_never_blind_is_not_backfilled(intake: RecordingIntake) -> None:
    async def reading(intake: Intake) -> None:
        intake.link_up("cdr.log")
        intake.caught_up("read from cdr.log")
        await asyncio.Event().wait()

    async with running(runner_of(ScriptedSource(reading), intake)):
        await until(lambda: intake.caught_up_with)
    assert all(said["state"] != "backfilled" for said in intake.inferences)


@pytest.mark.parametrize(
    ("by", "since"),
    [(timedelta(hours=1), NOON), (timedelta(days=2), NOON - timedelta(days=2))],
    ids=["by an hour", "that was far ahead"],
)
async def test_a_start_after_the_clock_was_set_back_ends_what_lasted_before(
    intake: RecordingIntake, by: timedelta, since: datetime
) -> None:
    intake.positions[ALIVE_KEY] = NOON.isoformat()
    config = SourceConfig.model_validate({"type": "test"})
    source, now = ScriptedSource(listening), NOON - by
    async with running(Runner(source=source, config=config, intake=intake, now=lambda: now)):
        await until(lambda: intake.links)
    begins = [datetime.fromisoformat(said["since"]) for said in intake.inferences]
    assert begins[0] == min(begins) == since
    assert states(intake) == ["blind", "connected", "blind"]


class PushedConfig(SourceConfig):
    path: str = "/ingest/test"


async def test_what_a_pushed_source_sees_goes_on_in_its_successor(intake: RecordingIntake) -> None:
    moment = NOON

    async def at_its_path(intake: Intake) -> None:
        await asyncio.Event().wait()

    def runner(successor_of: Runner | None = None) -> Runner:
        config = PushedConfig.model_validate({"type": "test"})
        source = ScriptedSource(at_its_path)
        return Runner(source=source, config=config, intake=intake, now=lambda: moment, successor_of=successor_of)

    first = runner()
    async with running(first):
        await until(lambda: ALIVE_KEY in intake.positions)
        moment += NOT_RUNNING
        second = runner(successor_of=first)
        async with running(second):
            await until(lambda: intake.counts["session"] == 2)
            await first.stop()
            assert second.sees
            assert [(said["state"], said["until"]) for said in intake.inferences] == [("idle", None)]
    assert states(intake) == ["idle", "blind"]


@pytest.mark.parametrize("pushed", [True, False])
async def test_a_pushed_source_was_blind_while_the_process_stood_still(
    intake: RecordingIntake, monkeypatch: pytest.MonkeyPatch, *, pushed: bool
) -> None:
    """Who pushes gave up meanwhile, and the source was idle; what keeps a connection is read on, or lost its link."""
    monkeypatch.setattr(runner_module, "LOOK_SECONDS", 0.001)
    moment, looks = NOON, 0

    def now() -> datetime:
        nonlocal looks
        looks += 1
        return moment

    config = (PushedConfig if pushed else SourceConfig).model_validate({"type": "test", "quiet_after": "1d"})
    runner = Runner(source=ScriptedSource(listening), config=config, intake=intake, now=now)
    async with running(runner):
        await until(lambda: looks > 10)
        moment += STOOD_STILL
        looks = 0
        await until(lambda: looks > 10)
    told = [(said["since"], said["until"]) for said in intake.inferences if said["detail"] == STANDSTILL]
    assert told == ([(NOON.isoformat(), (NOON + STOOD_STILL).isoformat())] if pushed else [])


async def test_silence_is_measured_also_where_the_clock_was_set_back_and_in_a_successor(
    intake: RecordingIntake,
) -> None:
    moment, looks = NOON, 0

    def now() -> datetime:
        nonlocal looks
        looks += 1
        return moment

    async def at_its_path(intake: Intake) -> None:
        await asyncio.Event().wait()

    config = PushedConfig.model_validate({"type": "test", "quiet_after": "1s"})

    def runner(successor_of: Runner | None = None) -> Runner:
        return Runner(
            source=ScriptedSource(at_its_path), config=config, intake=intake, now=now, successor_of=successor_of
        )

    first = runner()
    async with running(first):
        await until(lambda: ALIVE_KEY in intake.positions)
        moment -= timedelta(hours=1)
        seen = looks
        await until(lambda: looks > seen)
        moment += timedelta(seconds=0.7)
        async with running(runner(successor_of=first)):
            await first.stop()
            moment += timedelta(seconds=0.7)
            await until(lambda: states(intake)[-1] == "quiet")


async def test_hours_are_those_of_the_clock_of_a_voicenter_account(intake: RecordingIntake) -> None:
    moment = NOON

    async def at_its_path(intake: Intake) -> None:
        await asyncio.Event().wait()

    hours = {"quiet_after": "1s", "hours": "wed 14:30-15:30"}  # noon of UTC is three o'clock in Jerusalem
    config = VoicenterConfig.model_validate({"path": "/ingest/v", "epoch_timezone": "Asia/Jerusalem"} | hours)
    runner = Runner(source=ScriptedSource(at_its_path), config=config, intake=intake, now=lambda: moment)
    async with running(runner):
        await until(lambda: ALIVE_KEY in intake.positions)
        moment += timedelta(seconds=1)
        await until(lambda: states(intake)[-1] == "quiet")


async def test_a_time_in_which_there_was_no_link_is_no_silence(intake: RecordingIntake) -> None:
    moment, looks, connect = NOON, 0, asyncio.Event()

    def now() -> datetime:
        nonlocal looks
        looks += 1
        return moment

    async def connected_late(intake: Intake) -> None:
        await connect.wait()
        intake.link_up("pbx")
        await asyncio.Event().wait()

    config = SourceConfig.model_validate({"type": "test", "quiet_after": "1s"})
    runner = Runner(source=ScriptedSource(connected_late), config=config, intake=intake, now=now)
    async with running(runner):
        await until(lambda: ALIVE_KEY in intake.positions)
        moment += timedelta(seconds=0.7)
        seen = looks
        await until(lambda: looks > seen)
        moment += timedelta(hours=1)
        connect.set()
        await until(lambda: intake.links)
        seen = looks
        await until(lambda: looks > seen + 1)
        assert states(intake) == ["blind", "connected"]
        moment += timedelta(seconds=1)
        await until(lambda: states(intake)[-1] == "quiet")


@pytest.mark.parametrize("text", ["", "yesterday", "2024-07-03T11:00:00"])
async def test_an_unreadable_note_of_life_is_none(intake: RecordingIntake, text: str) -> None:
    intake.positions[ALIVE_KEY] = text
    async with running(runner_of(ScriptedSource(listening), intake)):
        await until(lambda: intake.links)
    assert states(intake)[0] == "blind"
    assert intake.inferences[0]["until"] is None


async def test_coverage_that_the_journal_refuses_is_said_later(intake: RecordingIntake) -> None:
    intake.refusing = True
    async with running(runner_of(ScriptedSource(listening), intake)):
        await until(lambda: intake.links)
        intake.refusing = False
        await until(lambda: states(intake) == ["blind", "connected"])


async def test_coverage_that_the_journal_refused_until_the_stop_is_said_then(intake: RecordingIntake) -> None:
    async def with_a_disk_that_is_mended(intake_: Intake) -> None:
        try:
            await listening(intake_)
        finally:
            intake.refusing = False

    intake.refusing = True
    async with running(runner_of(ScriptedSource(with_a_disk_that_is_mended), intake)):
        await until(lambda: intake.counts["alive_not_noted"])
    assert states(intake) == ["blind", "connected", "blind"]
    assert "coverage_not_kept" not in intake.counts


async def test_a_silent_link_is_quiet_until_a_record_comes(intake: RecordingIntake) -> None:
    speak = asyncio.Event()

    async def silent(intake: Intake) -> None:
        intake.link_up("pbx")
        await speak.wait()
        await intake.accept([b"at last"], content_type="text/plain")
        await asyncio.Event().wait()

    config = SourceConfig.model_validate({"type": "test", "quiet_after": "200ms"})
    runner = Runner(source=ScriptedSource(silent), config=config, intake=intake)
    async with running(runner):
        await until(lambda: states(intake) == ["blind", "connected", "quiet"])
        assert "silent" in (runner.problem or "")
        speak.set()
        await until(lambda: intake.bodies)
        assert runner.problem is None
        await until(lambda: states(intake)[3:4] == ["connected"])
    assert intake.counts["quiet"] >= 1
