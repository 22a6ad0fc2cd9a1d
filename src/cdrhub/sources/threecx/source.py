"""The 3CX source: which transport carries the lines of one PBX, and the watch over its record numbers.

All five modes hand the same lines over. None of 3CX's own channels acknowledges or sends again what was not heard:
records of calls that end while nobody listens are lost. What shows it is `historyid`, which rises by one per record;
a range that stays away is written to the coverage.
"""

from __future__ import annotations

import asyncio
import contextlib
import stat
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from cdrhub.errors import IntakeRefused, NotConnected
from cdrhub.sources.base import TOO_LONG, Intake
from cdrhub.sources.threecx.config import ThreeCXConfig
from cdrhub.sources.threecx.gaps import GapWatch, Missing, history_id_reader
from cdrhub.sources.threecx.layout import PREFIX
from cdrhub.sources.transports.directory import DirectoryWatch
from cdrhub.sources.transports.file_tail import FileTail
from cdrhub.sources.transports.http_push import DURABLE_SECONDS, LinePush
from cdrhub.sources.transports.lines import UNTERMINATED, LineFormat
from cdrhub.sources.transports.mounted import MountedSource
from cdrhub.sources.transports.patience import accept_patiently, tell_blind
from cdrhub.sources.transports.request_body import allow_list
from cdrhub.sources.transports.tcp_lines import connect_lines, serve_lines

CONTENT_TYPE = "text/csv"
HISTORY_KEY = "historyid"
POLL_SECONDS = 0.5  #: between two looks at a log, or at a folder of logs
LOOK_SECONDS = 5.0  #: between two looks whether a missing range has come after all


def line_format(config: ThreeCXConfig) -> LineFormat:
    """What the transports must know of these lines. A line with `Call ` or with the right count can be a record."""
    commas = frozenset(len(names) - 1 for names in config.layouts())
    return LineFormat(
        is_record=lambda line: line.startswith(PREFIX) or line.count(b",") in commas, max_line=config.max_line
    )


class _Sink:
    """Hands lines to the intake and looks at their record numbers."""

    def __init__(self, intake: Intake, *, config: ThreeCXConfig, watch: GapWatch) -> None:
        self._intake = intake
        self._within = DURABLE_SECONDS if config.mode == "http" else None
        self._history_id_of = history_id_reader(config)
        self._watch = watch

    async def take(
        self, lines: Sequence[bytes], *, attributes: Mapping[str, Any], position: tuple[str, str] | None = None
    ) -> None:
        """Make lines durable. In mode http it raises IntakeRefused after DURABLE_SECONDS; else it waits as long as it
        takes, for what was read from a socket cannot be read again. Numbers of lines that were not kept count as
        missing."""
        cut = bool(attributes.get(TOO_LONG) or attributes.get(UNTERMINATED))
        numbers = [number for line in lines if (number := self._history_id_of(line, cut=cut)) is not None]
        ahead = self._watch.after(numbers, datetime.now(UTC))
        history = (HISTORY_KEY, ahead.memory()) if ahead.account != self._watch.account else None
        if history is not None and position is not None:
            # Before the lines: after a crash between the two these are read again, and their numbers are known.
            await self._accept([], attributes=attributes, position=history)
        await self._accept(lines, attributes=attributes, position=position or history)
        for number in numbers:
            self._watch.feed(number, datetime.now(UTC))
        if history is not None and ahead.account != self._watch.account:
            # Another connection may have remembered its own numbers meanwhile, which this one has overwritten.
            await self._remember()

    async def _remember(self) -> None:
        await self._accept([], attributes={}, position=(HISTORY_KEY, self._watch.memory()))

    async def _accept(
        self, lines: Sequence[bytes], *, attributes: Mapping[str, Any], position: tuple[str, str] | None
    ) -> None:
        if self._within is None:
            await accept_patiently(
                self._intake, lines, content_type=CONTENT_TYPE, attributes=attributes, position=position
            )
        else:
            await self._intake.accept(
                lines, content_type=CONTENT_TYPE, attributes=attributes, position=position, within=self._within
            )

    async def report_gaps(self) -> None:
        """Say what did not come within its grace, until cancelled."""
        while True:
            await self.tell(self._watch.due(datetime.now(UTC)))
            await asyncio.sleep(LOOK_SECONDS)

    async def tell_all_gaps(self) -> None:
        """Say also what is still within its grace: nobody knows when the next start is."""
        await self.tell(self._watch.all())

    async def tell(self, gaps: Sequence[Missing]) -> None:
        """Write gaps to the coverage."""
        for gap in gaps:
            self._intake.count("missing_records", gap.count)
            await tell_blind(self._intake, since=gap.since, until=gap.until, detail=_spoken(gap))
        if gaps:
            with contextlib.suppress(IntakeRefused):  # then a start tells them once more, in the same words
                await self._remember()


def _spoken(gap: Missing) -> str:
    if gap.count == 1:
        return f"historyid {gap.first} never arrived (1 record)"
    return f"historyid {gap.first}..{gap.last} never arrived ({gap.count} records)"


class ThreeCXSource:
    """One 3CX PBX."""

    def __init__(self, config: ThreeCXConfig, *, poll_seconds: float = POLL_SECONDS) -> None:
        self._config = config
        self._poll_seconds = poll_seconds
        self._watch: GapWatch | None = None

    async def session(self, intake: Intake) -> None:
        """Serve, connect, follow or watch, as the mode says (see `Source.session`)."""
        if self._watch is None:
            self._watch = GapWatch.remembered(intake.position(HISTORY_KEY))
        sink = _Sink(intake, config=self._config, watch=self._watch)
        reporting = asyncio.create_task(sink.report_gaps(), name=f"{intake.source} gaps")
        try:
            await self._carry(intake, sink)
        except asyncio.CancelledError:
            if self._config.mode != "http":  # there what was refused comes again, also after a restart
                await sink.tell_all_gaps()
            raise
        finally:
            reporting.cancel()
            await asyncio.wait({reporting})

    async def _carry(self, intake: Intake, sink: _Sink) -> None:
        config, lines = self._config, line_format(self._config)
        match config.mode:
            case "listen":
                await serve_lines(
                    config.listen or "", allows=allow_list(config.allow), line_format=lines, sink=sink, intake=intake
                )
            case "connect":
                await connect_lines(config.host or "", config.port or 0, line_format=lines, sink=sink, intake=intake)
            case "file":
                await FileTail(
                    Path(config.path or ""),
                    line_format=lines,
                    sink=sink,
                    intake=intake,
                    poll_seconds=self._poll_seconds,
                ).follow()
            case "directory":
                await DirectoryWatch(
                    Path(config.path or ""),
                    pattern=config.pattern,
                    line_format=lines,
                    sink=sink,
                    intake=intake,
                    poll_seconds=self._poll_seconds,
                ).watch()
            case "http":
                push = LinePush(line_format=lines, sink=sink, intake=intake, allow=config.allow)
                await MountedSource(config.path or "", lambda _: push.handle).session(intake)


class ThreeCXFiles(ThreeCXSource):
    """One 3CX PBX whose records come in files: where they are can be looked at."""

    async def probe(self) -> str:
        """What is there to read. NotConnected where it is not, or may not be read."""
        return await asyncio.to_thread(self._look)

    def _look(self) -> str:
        path = Path(self._config.path or "")
        try:
            if self._config.mode == "directory":
                found = sum(fnmatchcase(file.name, self._config.pattern) for file in path.iterdir())
                return f"{path}: {found} files of the pattern {self._config.pattern}"
            status = path.stat()
            if not stat.S_ISREG(status.st_mode):  # a pipe would be waited for
                raise NotConnected(f"{path}: is no file")
            with path.open("rb"):
                return f"{path}: {status.st_size} bytes"
        except OSError as error:
            raise NotConnected(f"{path}: {error.strerror}") from error
