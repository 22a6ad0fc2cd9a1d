"""The one loop around a source: reconnecting, back-off, coverage, silence, stopping.

A source knows one connection's life. The runner begins a session, looks at how it ended, waits and begins the next;
it never gives up while the daemon runs. After a refused password or a bug it waits long and raises an alarm; after a
lost connection it comes back soon. When the source saw its phone system and when it was blind is journalled as
coverage, including the time in which no daemon ran.

Stopping is graceful, then abrupt: the session is cancelled and may drain what has arrived; after `stop_seconds` it is
cancelled again and drops what is not durable, counted.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any
from zoneinfo import ZoneInfo

import structlog

from cdrhub.errors import BackOff, EndOfInput, IntakeRefused, NotConnected, told
from cdrhub.model.inference import Coverage, coverage_inference
from cdrhub.sources.base import Intake, Source, SourceConfig
from cdrhub.sources.coverage import SET_BACK, CoverageLedger
from cdrhub.sources.spans import OpeningHours
from cdrhub.surrogates import without_surrogates
from cdrhub.throttle import Throttle

log = structlog.get_logger(__name__)

FIRST_DELAY_SECONDS = 0.5
LONGEST_DELAY_SECONDS = 10.0  #: few: what a phone system says while nobody is connected is lost
LONGEST_BACK_OFF_SECONDS = 300.0  #: of what a source may ask for with BackOff
FATAL_DELAY_SECONDS = 60.0  #: after an error that a person must repair: they see the repair within a minute
STEADY_SECONDS = 30.0  #: a session of this length, or with a record, was a good one: back-off starts anew
STOP_SECONDS = 10.0  #: that a session has to drain
ABORT_SECONDS = 5.0  #: that it has to end after it was cancelled for the second time
LOOK_SECONDS = 5.0  #: between two looks at silence, and at whether this process stood still
STOOD_STILL = timedelta(seconds=LOOK_SECONDS + 10)  #: between two looks; for less a sender waits
NOT_RUNNING = timedelta(milliseconds=250)  #: of silence between two runs; less is a reload
ALIVE_SECONDS = 60.0  #: between two notes of "we were running then"
REFUSED_SECONDS = 1.0  #: until coverage that the journal refused is tried again
QUIET_SAMPLES = 60  #: moments of the silent stretch that must all lie within `hours`
PROBLEM_AFTER = 3  #: failed attempts in a row that a person should know of
MAX_DETAIL = 300  #: characters of an error in logs and problems

STANDSTILL = "the daemon stood still, or its clock was set forward: what was pushed meanwhile may be lost"
ALIVE_KEY = "alive"
NOTHING = "application/octet-stream"  #: content type of a group that only remembers a position


@dataclass(frozen=True, kw_only=True, slots=True)
class SessionEnd:
    """What the end of a session means. `delay` (seconds) is None where the ordinary back-off decides."""

    why: str  #: a short constant: `ended`, `lost`, `back_off`, `refused`, `failed`, `end_of_input`
    again: bool = True
    delay: float | None = None
    alarm: bool = False


def judge(error: BaseException | None) -> SessionEnd:
    """What a session that ended with `error` (None: it returned) means for the next one."""
    match error:
        case None:
            return SessionEnd(why="ended")
        case EndOfInput():
            return SessionEnd(why="end_of_input", again=False)
        case BackOff():
            # In this order: compared with nan, min and max keep their first argument.
            seconds = min(LONGEST_BACK_OFF_SECONDS, max(FIRST_DELAY_SECONDS, error.seconds))
            return SessionEnd(why="back_off", delay=seconds, alarm=True)
        case IntakeRefused():
            return SessionEnd(why="refused")
        case NotConnected() | OSError():
            return SessionEnd(why="lost")
        case _:
            return SessionEnd(why="failed", delay=FATAL_DELAY_SECONDS, alarm=True)


def back_off(attempt: int, *, chance: float) -> float:
    """Seconds until attempt `attempt` (from 1): doubling, half of it by `chance` (0 to 1), so that a hundred sources
    do not come back in the same moment."""
    whole = min(FIRST_DELAY_SECONDS * 2.0 ** min(attempt - 1, 16), LONGEST_DELAY_SECONDS)
    return whole * (0.5 + chance / 2)


def unusually_quiet(
    *, now: datetime, silent_since: datetime, after: timedelta, hours: OpeningHours | None, zone: tzinfo
) -> bool:
    """Whether a source that last spoke at `silent_since` is quiet although it should not be: silent for `after`, all
    of it within `hours` (always, without any), which are read in `zone`. `now` and `silent_since` are aware."""
    if now - silent_since < after:
        return False
    return hours is None or all(
        hours.contain((now - after * step / QUIET_SAMPLES).astimezone(zone)) for step in range(QUIET_SAMPLES + 1)
    )


class _WatchedIntake:
    """The intake as the session sees it: what passes tells the runner how the source is."""

    def __init__(self, intake: Intake, runner: Runner) -> None:
        self._intake = intake
        self._runner = runner
        self.source = intake.source
        self.infer, self.open_calls = intake.infer, intake.open_calls
        self.position, self.forget = intake.position, intake.forget
        self.listen, self.mount, self.count = intake.listen, intake.mount, intake.count

    async def accept(self, bodies: Sequence[bytes], **how: Any) -> None:
        await self._intake.accept(bodies, **how)
        if bodies:
            self._runner.heard()

    def link_up(self, link: str, detail: str = "") -> None:
        _demand_text(link=link, detail=detail)
        self._intake.link_up(link, detail)
        self._runner.linked(link, detail)

    def link_down(self, link: str, detail: str = "") -> None:
        _demand_text(link=link, detail=detail)
        self._intake.link_down(link, detail)
        self._runner.unlinked(link, detail)

    def caught_up(self, detail: str) -> None:
        _demand_text(detail=detail)
        self._intake.caught_up(detail)
        self._runner.caught_up(detail)

    def standing_by(self, detail: str) -> None:
        _demand_text(detail=detail)
        self._intake.standing_by(detail)
        self._runner.standing_by()


class Runner:
    """Runs one source until it is stopped. `run` is called once; `stop` any number of times."""

    def __init__(
        self,
        *,
        source: Source,
        config: SourceConfig,
        intake: Intake,
        stop_seconds: float = STOP_SECONDS,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        successor_of: Runner | None = None,
    ) -> None:
        """`successor_of` is the runner of the same pushed source before a reload. It stops when this one serves the
        path, so that the source is never blind, and this one goes on with its ledger."""
        self._source = source
        self._config = config
        self._intake = intake
        self._watched = _WatchedIntake(intake, self)
        self._stop_seconds = stop_seconds
        self._now = now
        self._zone = ZoneInfo(config.hours_zone)
        self._ledger = CoverageLedger(without_links="idle" if config.ingest_path is not None else "blind")
        self._silent_since = now()
        self._alive = _moment(intake.position(ALIVE_KEY))  #: as it is noted
        self._succeeds = successor_of is not None
        self._succeeded = False
        if successor_of is not None:
            successor_of._succeeded = True
            self._ledger, self._silent_since = successor_of._ledger, successor_of._silent_since
        self._gone_since: datetime | None = None  #: since when no daemon ran, until the first link
        self._unseen: tuple[datetime, datetime] | None = None  #: the blind time before the link
        self._heard_in_session = False
        self._unsaid: deque[Coverage] = deque()
        self._has_more_to_say = asyncio.Event()
        self._stopping = asyncio.Event()
        self._work: asyncio.Task[None] | None = None
        self._problem: str | None = None
        self._throttle = Throttle()
        self._log = log.bind(source=intake.source)

    # -- what others ask ---------------------------------------------------------------------------------------------

    @property
    def problem(self) -> str | None:
        """What a person should look at, or None. Lone surrogates, as of a file's name, are replaced."""
        if self._ledger.state == "quiet":
            return f"connected, but silent since {self._silent_since:%Y-%m-%d %H:%M} UTC"
        return self._problem and without_surrogates(self._problem)

    @property
    def sees(self) -> bool:
        """Whether the phone system is seen: connected (even if silent), or one that pushes when it has something to
        say."""
        return self._ledger.state not in (None, "blind")

    async def run(self) -> None:
        """Run sessions until `stop`, or until the source has nothing more. Cancellation is a stop; a second one does
        not wait for the session to drain. When a side task fails, the session is ended and the task's error raised."""
        self._work = asyncio.create_task(self._sessions(), name=f"{self._intake.source} sessions")
        try:
            await asyncio.shield(self._work)
        except asyncio.CancelledError:
            self._stopping.set()
            try:
                await asyncio.shield(self._work)
            finally:
                self._work.cancel()
                await asyncio.wait({self._work})
            raise

    async def stop(self) -> None:
        """End the session, gracefully, then abruptly, and return when it has ended. Idempotent."""
        self._stopping.set()
        if self._work is not None:
            await asyncio.wait({self._work})

    # -- what the session tells --------------------------------------------------------------------------------------

    def heard(self) -> None:
        """A record became durable."""
        self._heard_in_session = True
        self._problem = None
        self._silent_since = self._now()
        self._say(self._ledger.heard(self._silent_since))

    def linked(self, link: str, detail: str) -> None:
        """A link came up."""
        self._problem = None
        if self._throttle.allows("connected"):
            self._log.info("the phone system is connected", action="connected", link=link)
        now = self._now()
        if self._ledger.state == "blind" and self._ledger.since is not None:
            self._silent_since += max(now - self._ledger.since, timedelta(0))  # what nobody could hear is no silence
            self._unseen = (self._gone_since or self._ledger.since, now)
            self._gone_since = None
        self._say(self._ledger.link_up(link, now, detail))

    def standing_by(self) -> None:
        """The phone system is reached, and left to another hub."""
        self._problem = None

    def caught_up(self, detail: str) -> None:
        """What the phone system left behind in the blind time before the link has been read."""
        if self._unseen is not None:
            since, until = self._unseen
            self._unseen = None
            if until - since >= NOT_RUNNING:
                self._say([Coverage(state="backfilled", since=since, until=until, detail=detail)])

    def unlinked(self, link: str, detail: str) -> None:
        """A link went down, or one that was looked for is not there."""
        if link not in self._ledger.links:
            self._problem = f"{link}: {detail}"
        if self._throttle.allows("disconnected"):
            self._log.info("a link of the phone system went down", action="disconnected", link=link, detail=detail)
        self._say(self._ledger.link_down(link, self._now(), detail))

    # -- sessions ----------------------------------------------------------------------------------------------------

    async def _sessions(self) -> None:
        if not self._succeeds:
            self._begin()
        parts = (self._journal_coverage(), self._look(), self._stay_alive(), self._notice_standstill())
        tasks = [asyncio.create_task(part) for part in parts]
        for task in tasks:
            task.add_done_callback(self._side_task_ended)
        try:
            await self._repeat()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
            await self._end()
        for task in tasks:
            if not task.cancelled():
                task.result()

    def _side_task_ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and task.exception() is not None:
            self._stopping.set()  # without its side tasks the coverage of a session would not be written

    def _begin(self) -> None:
        began, alive = self._now(), self._alive
        if alive is not None and began - alive >= NOT_RUNNING:
            self._gone_since = alive
            self._say(
                [
                    Coverage(
                        state="blind",
                        since=alive,
                        until=began,
                        detail="the daemon did not run, or not with this source",
                    )
                ]
            )
        self._silent_since = began
        if alive is not None and timedelta(0) < alive - began < SET_BACK:
            began = alive
        self._say(self._ledger.begin(began))

    async def _repeat(self) -> None:
        loop = asyncio.get_running_loop()
        attempt = 0
        while not self._stopping.is_set():
            self._intake.count("session")
            self._heard_in_session = False
            began = loop.time()
            error = await self._session()
            end = judge(error)
            if self._stopping.is_set():
                break
            self._intake.count(f"session_{end.why}")
            if not end.again:
                break
            good = self._heard_in_session or loop.time() - began >= STEADY_SECONDS
            attempt = 1 if good else attempt + 1
            delay = end.delay
            if delay is None:
                delay = back_off(attempt, chance=random.random())  # noqa: S311 - jitter, not a secret
            self._report(end, error, attempt=attempt, delay=delay)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(delay):
                    await self._stopping.wait()

    async def _session(self) -> BaseException | None:
        """One session, ended by itself or by `stop`; returns what it raised."""
        session = asyncio.create_task(self._run_source(), name=f"{self._intake.source} session")
        stopping = asyncio.create_task(self._stopping.wait())
        try:
            await asyncio.wait({session, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if not session.done():
                session.cancel()
                await asyncio.wait({session}, timeout=self._stop_seconds)
        finally:
            stopping.cancel()
            if not session.done():
                self._log.warning("a session did not drain in time", action="session_aborted")
                self._intake.count("session_aborted")
                session.cancel()
                await asyncio.wait({session}, timeout=ABORT_SECONDS)
        if not session.done() or session.cancelled():
            return None
        return session.exception()

    async def _run_source(self) -> None:
        """Run the source's session as a coroutine of our own: what a plug-in raises before it awaits anything then is
        the session's error too, and a library that wants to exit the program does not end the daemon."""
        try:
            await self._source.session(self._watched)
        except (SystemExit, KeyboardInterrupt) as error:
            raise RuntimeError(f"it wanted to end the program: {error!r}") from error

    def _report(self, end: SessionEnd, error: BaseException | None, *, attempt: int, delay: float) -> None:
        detail = told(error)[:MAX_DETAIL] if error is not None else "the session ended by itself"
        said = {"action": f"session_{end.why}", "detail": detail, "retry_in_seconds": round(delay, 1)}
        if end.why == "failed":
            self._log.error("a source failed", exc_info=error, **said)
        elif end.alarm:
            self._log.error("the phone system refuses us", **said)
        elif self._throttle.allows(("lost", detail)):
            self._log.info("a source lost its link", **said)
        if end.alarm or attempt >= PROBLEM_AFTER:
            self._problem = detail

    # -- coverage and silence ----------------------------------------------------------------------------------------

    def _say(self, stretches: Sequence[Coverage]) -> None:
        self._unsaid.extend(stretches)
        self._has_more_to_say.set()

    async def _journal_coverage(self) -> None:
        while True:
            self._has_more_to_say.clear()
            while self._unsaid:
                try:
                    await self._tell(self._unsaid[0])
                except IntakeRefused:
                    await asyncio.sleep(REFUSED_SECONDS)
                else:
                    self._unsaid.popleft()
            await self._has_more_to_say.wait()

    async def _tell(self, stretch: Coverage) -> None:
        """Journal a stretch, and before it that we were running when it began: a daemon that is killed now was not gone
        then."""
        if self._alive is None or stretch.since > self._alive:
            await self._note_alive()
        await self._intake.infer(coverage_inference(stretch))

    async def _look(self) -> None:
        after = self._config.quiet_after
        while after is not None:
            await asyncio.sleep(min(LOOK_SECONDS, max(after.total_seconds() / 4, 0.05)))
            now = self._now()
            self._silent_since = min(self._silent_since, now)  # the clock may have been set back
            if unusually_quiet(
                now=now, silent_since=self._silent_since, after=after, hours=self._config.hours, zone=self._zone
            ):
                quiet = self._ledger.quiet(now, f"no record since {self._silent_since.isoformat(timespec='seconds')}")
                if quiet:
                    self._intake.count("quiet")
                    self._log.warning("a connected source is silent", action="source_quiet")
                self._say(quiet)

    async def _notice_standstill(self) -> None:
        """Notice when this process, or its machine, was suspended: senders gave up meanwhile, and no link shows it."""
        while self._config.ingest_path is not None:
            before = self._now()
            await asyncio.sleep(LOOK_SECONDS)
            now = self._now()
            if now - before >= STOOD_STILL:
                self._log.warning(STANDSTILL, action="stood_still", seconds=round((now - before).total_seconds()))
                self._say([Coverage(state="blind", since=before, until=now, detail=STANDSTILL)])

    async def _stay_alive(self) -> None:
        while True:
            await asyncio.sleep(ALIVE_SECONDS)
            await self._note_alive()

    async def _note_alive(self) -> None:
        now = self._now()
        try:
            await self._intake.accept(
                [], content_type=NOTHING, position=(ALIVE_KEY, now.isoformat()), within=REFUSED_SECONDS
            )
        except IntakeRefused:
            self._intake.count("alive_not_noted")
        else:
            self._alive = now

    async def _end(self) -> None:
        if not self._succeeded:
            self._say(self._ledger.end(self._now(), "stopped"))
        try:
            while self._unsaid:
                await self._tell(self._unsaid[0])
                self._unsaid.popleft()
        except IntakeRefused:
            self._intake.count("coverage_not_kept", len(self._unsaid))
        await self._note_alive()


def _demand_text(**said: object) -> None:
    """Raise TypeError in the session, which made the mistake, and not later in the runner, which must survive it."""
    for name, text in said.items():
        if not isinstance(text, str):
            raise TypeError(f"`{name}` is a str, not {type(text).__name__}")


def _moment(text: str | None) -> datetime | None:
    try:
        moment = datetime.fromisoformat(text) if text else None
    except ValueError:
        return None
    return moment if moment is not None and moment.tzinfo is not None else None
