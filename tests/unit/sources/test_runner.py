"""The loop around a source: what it does when sessions end, links come and go, and it is told to stop."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Awaitable
from typing import Any

import pytest
from pydantic import ValidationError
from structlog.testing import capture_logs

from cdrhub.errors import BackOff, ConfigError, EndOfInput, IntakeRefused, NotConnected
from cdrhub.sources import runner as runner_module
from cdrhub.sources.base import Intake, SourceConfig
from cdrhub.sources.runner import (
    FATAL_DELAY_SECONDS,
    FIRST_DELAY_SECONDS,
    LONGEST_BACK_OFF_SECONDS,
    LONGEST_DELAY_SECONDS,
    PROBLEM_AFTER,
    Runner,
    back_off,
    judge,
)
from support.intake import RecordingIntake, until
from support.runners import ScriptedSource, listening, raising, runner_of, running, states


@pytest.fixture
def intake() -> RecordingIntake:
    return RecordingIntake()


class Unsaid(BackOff):
    """Does not say how long."""

    def __init__(self) -> None:
        Exception.__init__(self)


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
        (BackOff(float("nan"), "wrong password"), "back_off", True, FIRST_DELAY_SECONDS, True),
        (Unsaid(), "back_off", True, FIRST_DELAY_SECONDS, True),
        (ConfigError("port in use"), "failed", True, FATAL_DELAY_SECONDS, True),
        (ZeroDivisionError(), "failed", True, FATAL_DELAY_SECONDS, True),
    ],
)
def test_the_end_of_a_session_is_judged(
    error: Exception | None, why: str, again: bool, delay: float | None, alarm: bool
) -> None:
    end = judge(error)
    assert (end.why, end.again, end.delay, end.alarm) == (why, again, delay, alarm)


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
    assert (intake.counts["session"], intake.counts["session_end_of_input"]) == (1, 1)


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


async def test_the_problem_is_over_when_another_hub_is_seen_to_read(intake: RecordingIntake) -> None:
    async def standing_by(intake: Intake) -> None:
        intake.standing_by("another hub reads the list")
        await asyncio.Event().wait()

    runner = runner_of(ScriptedSource(raising(BackOff(0, "refused")), standing_by), intake)
    async with running(runner):
        await until(lambda: runner.problem == "refused")
        await until(lambda: intake.stood_by_with)
        assert runner.problem is None
        assert not runner.sees


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


async def test_a_session_that_cannot_be_ended_is_left(intake: RecordingIntake, monkeypatch: pytest.MonkeyPatch) -> None:
    ended = asyncio.Event()

    async def deaf(intake: Intake) -> None:
        while not ended.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await ended.wait()

    monkeypatch.setattr(runner_module, "ABORT_SECONDS", 0.05)
    try:
        async with asyncio.timeout(10), running(runner_of(ScriptedSource(deaf), intake, stop_seconds=0.05)):
            await until(lambda: intake.counts["session"])
            await asyncio.sleep(0.01)
    finally:
        ended.set()
    assert intake.counts["session_aborted"] == 1
    await until(lambda: asyncio.all_tasks() == {asyncio.current_task()}, "a task was left behind")


async def test_cancelling_run_stops_it_in_order(intake: RecordingIntake) -> None:
    work = asyncio.create_task(runner_of(ScriptedSource(draining), intake).run())
    await until(lambda: intake.links)
    work.cancel()
    with pytest.raises(asyncio.CancelledError):
        await work
    assert (intake.bodies, intake.links, intake.counts["session_aborted"]) == ([b"last"], {}, 0)
    assert states(intake)[-1] == "blind"
    await until(lambda: asyncio.all_tasks() == {asyncio.current_task()}, "a task was left behind")


async def test_a_runner_that_fails_ends_its_session_and_says_so(intake: RecordingIntake) -> None:
    config = SourceConfig.model_validate({"type": "test"}).model_copy(update={"quiet_after": "soon"})
    runner = Runner(source=ScriptedSource(listening), config=config, intake=intake)
    with pytest.raises(AttributeError, match="total_seconds"):
        await runner.run()
    assert intake.links == {}
    assert [said["state"] for said in intake.inferences][-1] == "blind"


def test_seconds_that_are_a_date_are_refused_where_they_are_given() -> None:
    """They ended the daemon: the runner met them when it worked out how long to wait."""
    assert BackOff("30", "asked too often").seconds == 30  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="could not convert"):
        BackOff("Fri, 31 Dec 1999 23:59:59 GMT", "asked too often")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("way", "said"),
    [
        ("link_up", {"link": ("10.0.0.1", 5060)}),
        ("link_up", {"link": "pbx", "detail": OSError("reset")}),
        ("link_down", {"link": ("10.0.0.1", 5060)}),
        ("link_down", {"link": "pbx", "detail": OSError("reset")}),
        ("caught_up", {"detail": 1_000}),
    ],
)
async def test_a_link_that_is_no_text_fails_its_session_and_not_the_daemon(
    way: str, said: dict[str, Any], intake: RecordingIntake
) -> None:
    async def session(intake: Intake) -> None:
        getattr(intake, way)(**said)
        await asyncio.Event().wait()

    async with running(runner := runner_of(ScriptedSource(session), intake)):
        await until(lambda: intake.counts["session_failed"])
        assert runner.problem is not None
        assert "is a str, not" in runner.problem


@pytest.mark.parametrize("end", [SystemExit(3), KeyboardInterrupt()], ids=repr)
async def test_a_session_that_calls_for_the_end_of_the_program_has_failed_as_any_other(
    end: BaseException, intake: RecordingIntake
) -> None:
    async def session(intake: Intake) -> None:
        raise end

    async with running(runner := runner_of(ScriptedSource(session), intake)):
        await until(lambda: intake.counts["session_failed"])
        assert runner.problem == f"it wanted to end the program: {end!r}"


class Mute(Exception):
    """Cannot be told."""

    def __str__(self) -> str:
        raise AttributeError


async def test_a_session_whose_error_cannot_be_told_has_failed_as_any_other(intake: RecordingIntake) -> None:
    async with running(runner := runner_of(ScriptedSource(raising(Mute())), intake)):
        await until(lambda: intake.counts["session_failed"])
        assert runner.problem == "Mute"


async def test_sessions_that_end_by_themselves_again_and_again_are_a_problem(intake: RecordingIntake) -> None:
    async def session(intake: Intake) -> None:
        """Nothing to do."""

    async with running(runner := runner_of(ScriptedSource(session), intake)):
        await until(lambda: intake.counts["session_ended"] == 2)
        assert runner.problem is None
        await until(lambda: runner.problem == "the session ended by itself")
        assert intake.counts["session_ended"] == PROBLEM_AFTER
