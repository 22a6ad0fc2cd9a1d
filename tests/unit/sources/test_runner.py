"""The loop around a source: what it does when sessions end, links come and go, and it is told to stop."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from pydantic import ValidationError
from structlog.testing import capture_logs

from cdrhub.errors import BackOff, ConfigError, EndOfInput, IntakeRefused, NotConnected
from cdrhub.sources import runner as runner_module
from cdrhub.sources.base import Intake, SourceConfig
from cdrhub.sources.runner import (
    ALIVE_KEY,
    FATAL_DELAY_SECONDS,
    FIRST_DELAY_SECONDS,
    LONGEST_BACK_OFF_SECONDS,
    LONGEST_DELAY_SECONDS,
    NOT_RUNNING,
    STANDSTILL,
    STOOD_STILL,
    Runner,
    back_off,
    judge,
    unusually_quiet,
)
from cdrhub.sources.spans import read_hours
from cdrhub.sources.voicenter.config import VoicenterConfig
from support.intake import RecordingIntake, until

Session = Callable[[Intake], Awaitable[None]]
NOON = datetime(2024, 7, 3, 12, 0, tzinfo=UTC)  # a Wednesday


class ScriptedSource:
    """A source whose sessions are these coroutines, one after the other; the last one for ever."""

    def __init__(self, *sessions: Session) -> None:
        self._sessions = list(sessions)
        self.begun = 0

    async def session(self, intake: Intake) -> None:
        self.begun += 1
        await (self._sessions.pop(0) if len(self._sessions) > 1 else self._sessions[0])(intake)


def raising(error: Exception) -> Session:
    async def session(intake: Intake) -> None:
        raise error

    return session


async def listening(intake: Intake) -> None:
    intake.link_up("pbx")
    try:
        await asyncio.Event().wait()
    finally:
        intake.link_down("pbx", "stopped")


@pytest.fixture
def intake() -> RecordingIntake:
    return RecordingIntake()


def runner_of(source: ScriptedSource, intake: RecordingIntake, *, stop_seconds: float = 10.0) -> Runner:
    config = SourceConfig.model_validate({"type": "test"})
    return Runner(source=source, config=config, intake=intake, stop_seconds=stop_seconds)


@asynccontextmanager
async def running(runner: Runner) -> AsyncGenerator[asyncio.Task[None]]:
    work = asyncio.create_task(runner.run())
    yield work
    await runner.stop()
    await work


def states(intake: RecordingIntake) -> list[str]:
    """The coverage states begun, in order."""
    return [said["state"] for said in intake.inferences if said["until"] is None]


@pytest.mark.parametrize(
    ("error", "why", "again", "delay", "alarm"),
    [
        (None, "ended", True, None, False),
        (NotConnected("gone"), "lost", True, None, False),
        (ConnectionResetError(), "lost", True, None, False),
        (TimeoutError(), "lost", True, None, False),
        (IntakeRefused("full"), "refused", True, None, False),
        (EndOfInput(), "end_of_input", False, None, False),
        (BackOff(30, "wrong password"), "back_off", True, 30, True),
        (BackOff(1e9, "wrong password"), "back_off", True, LONGEST_BACK_OFF_SECONDS, True),
        (BackOff(-1, "wrong password"), "back_off", True, FIRST_DELAY_SECONDS, True),
        (ConfigError("port in use"), "failed", True, FATAL_DELAY_SECONDS, True),
        (ZeroDivisionError(), "failed", True, FATAL_DELAY_SECONDS, True),
    ],
)
def test_the_end_of_a_session_is_judged(
    error: Exception | None, why: str, again: bool, delay: float | None, alarm: bool
) -> None:
    verdict = judge(error)
    assert (verdict.why, verdict.again, verdict.delay, verdict.alarm) == (why, again, delay, alarm)


def test_back_off_doubles_within_its_limits() -> None:
    assert [back_off(attempt, chance=1.0) for attempt in (1, 2, 3, 4)] == [0.5, 1.0, 2.0, 4.0]
    assert back_off(3, chance=0.0) == 1.0
    assert back_off(100, chance=1.0) == 10.0, "a PBX that was away for long, and is back, loses no minute of calls"
    for attempt in range(1, 2000, 7):
        for chance in (0.0, 0.5, 1.0):
            assert FIRST_DELAY_SECONDS / 2 <= back_off(attempt, chance=chance) <= LONGEST_DELAY_SECONDS
    assert back_off(1, chance=0.0) < back_off(1, chance=1.0), "a hundred sources do not come back in the same moment"


async def test_what_a_stopped_session_ends_with_is_no_failure(intake: RecordingIntake) -> None:
    begun = asyncio.Event()

    async def failing_when_stopped(intake: Intake) -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            raise NotConnected("closed")

    with capture_logs() as lines:
        async with running(runner := runner_of(ScriptedSource(failing_when_stopped), intake)):
            await begun.wait()
    assert (lines, runner.problem) == ([], None)
    assert not [what for what in intake.counts if what.startswith("session_")]


async def test_a_link_that_stays_lost_is_said_once(intake: RecordingIntake) -> None:
    with capture_logs() as lines:
        async with running(runner_of(ScriptedSource(raising(NotConnected("refused"))), intake)):
            await until(lambda: intake.counts["session_lost"] == 2)
    assert [line["action"] for line in lines] == ["session_lost"]


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


async def test_a_lost_link_is_connected_again(intake: RecordingIntake) -> None:
    source = ScriptedSource(raising(NotConnected("gone")), listening)
    async with running(runner_of(source, intake)):
        await until(lambda: intake.links == {"pbx": ""})
    assert source.begun == 2
    assert intake.counts["session_lost"] == 1
    assert states(intake) == ["blind", "connected", "blind"]


async def test_every_stretch_of_coverage_is_closed_where_the_next_begins(intake: RecordingIntake) -> None:
    async with running(runner_of(ScriptedSource(listening), intake)):
        await until(lambda: intake.links)
    closed = [said for said in intake.inferences if said["until"] is not None]
    opened = [said for said in intake.inferences if said["until"] is None]
    assert [said["state"] for said in closed] == [said["state"] for said in opened[:-1]]
    assert [said["until"] for said in closed] == [said["since"] for said in opened[1:]]


async def test_a_source_without_more_to_say_is_left(intake: RecordingIntake) -> None:
    await runner_of(ScriptedSource(raising(EndOfInput())), intake).run()
    assert intake.counts["session"] == 1


@pytest.mark.parametrize("error", [BackOff(60, "the password is refused"), ZeroDivisionError("a bug")])
async def test_what_a_person_must_mend_is_said_and_not_hammered(intake: RecordingIntake, error: Exception) -> None:
    source = ScriptedSource(raising(error))
    runner = runner_of(source, intake)
    async with running(runner):
        await until(lambda: runner.problem == str(error))
        await asyncio.sleep(0.05)
        assert source.begun == 1


async def test_a_session_that_is_no_coroutine_has_failed_as_any_other(intake: RecordingIntake) -> None:
    def no_coroutine(intake: Intake) -> Awaitable[None]:
        raise TypeError("a bug before it waits for anything")

    class Plain(ScriptedSource):
        def session(self, intake: Intake) -> Awaitable[None]:  # type: ignore[override]  # as a plug-in may have it
            return no_coroutine(intake)

    runner = runner_of(Plain(listening), intake)
    async with running(runner):
        await until(lambda: intake.counts["session_failed"] == 1, "the session failed")
        assert runner.problem == "a bug before it waits for anything"


def test_a_zone_that_there_is_not_is_refused_also_where_a_plug_in_takes_any_text() -> None:
    class Plain(SourceConfig):
        timezone: str = "UTC"

    with pytest.raises(ValidationError, match="did you mean 'Africa/Lagos'"):
        Plain(type="test", timezone="Afrika/Lagos")
    assert Plain(type="test", timezone="").timezone == ""


async def test_the_problem_is_over_when_the_link_is_up(intake: RecordingIntake) -> None:
    runner = runner_of(ScriptedSource(raising(BackOff(0, "refused")), listening), intake)
    async with running(runner):
        await until(lambda: runner.problem == "refused")
        await until(lambda: intake.links)
        assert runner.problem is None


async def test_what_was_looked_for_and_is_not_there_is_a_problem_until_it_is(intake: RecordingIntake) -> None:
    written = asyncio.Event()

    async def waiting(intake: Intake) -> None:
        intake.link_down("cdr.log", "the file does not exist")
        await written.wait()
        await listening(intake)

    runner = runner_of(ScriptedSource(waiting), intake)
    async with running(runner):
        await until(lambda: runner.problem == "cdr.log: the file does not exist")
        written.set()
        await until(lambda: intake.links)
        assert runner.problem is None
    assert runner.problem is None, "what was there and went down is none"


async def test_a_problem_that_names_a_file_whose_name_is_no_unicode_can_be_shown(intake: RecordingIntake) -> None:
    runner = runner_of(ScriptedSource(raising(BackOff(60, os.fsdecode(b"caf\xe9.csv may not be read")))), intake)
    async with running(runner):
        await until(lambda: runner.problem)
        assert runner.problem == "caf?.csv may not be read"


async def test_stop_interrupts_a_back_off_and_is_idempotent(intake: RecordingIntake) -> None:
    runner = runner_of(ScriptedSource(raising(BackOff(300, "later"))), intake)
    work = asyncio.create_task(runner.run())
    await until(lambda: runner.problem)
    await asyncio.gather(runner.stop(), runner.stop())
    await runner.stop()
    await work
    assert intake.counts["session"] == 1


async def draining(intake: Intake) -> None:
    intake.link_up("pbx")
    try:
        await asyncio.Event().wait()
    finally:
        await asyncio.sleep(0.01)
        await intake.accept([b"last"], content_type="text/plain")
        intake.link_down("pbx", "stopped")


async def test_stop_lets_a_session_drain(intake: RecordingIntake) -> None:
    runner = runner_of(ScriptedSource(draining), intake)
    async with running(runner):
        await until(lambda: intake.links)
        await runner.stop()
        assert intake.bodies == [b"last"]
    assert intake.counts["session_aborted"] == 0


async def test_a_session_that_does_not_drain_is_aborted(intake: RecordingIntake) -> None:
    async def stubborn(intake: Intake) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.Event().wait()

    async with running(runner_of(ScriptedSource(stubborn), intake, stop_seconds=0.05)):
        await until(lambda: intake.counts["session"])
        await asyncio.sleep(0.01)
    assert intake.counts["session_aborted"] == 1


async def test_cancelling_run_stops_it_in_order(intake: RecordingIntake) -> None:
    work = asyncio.create_task(runner_of(ScriptedSource(draining), intake).run())
    await until(lambda: intake.links)
    work.cancel()
    with pytest.raises(asyncio.CancelledError):
        await work
    assert (intake.bodies, intake.links, intake.counts["session_aborted"]) == ([b"last"], {}, 0)
    assert states(intake)[-1] == "blind"
    await until(lambda: asyncio.all_tasks() == {asyncio.current_task()}, "a task was left behind")


async def test_the_time_without_a_daemon_is_blind(intake: RecordingIntake) -> None:
    last = datetime(2024, 7, 3, 11, 0, tzinfo=UTC)
    intake.positions[ALIVE_KEY] = last.isoformat()
    async with running(runner_of(ScriptedSource(listening), intake)):
        await until(lambda: intake.links)
    first = intake.inferences[0]
    assert (first["state"], first["since"], first["detail"]) == ("blind", last.isoformat(), "the daemon did not run")
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


async def test_a_runner_that_fails_ends_its_session_and_says_so(intake: RecordingIntake) -> None:
    config = SourceConfig.model_validate({"type": "test"}).model_copy(update={"quiet_after": "soon"})
    runner = Runner(source=ScriptedSource(listening), config=config, intake=intake)
    with pytest.raises(AttributeError, match="total_seconds"):
        await runner.run()
    assert intake.links == {}
    assert [said["state"] for said in intake.inferences][-1] == "blind"
