"""The daemon of the demo: a process of its own, and what it says of its records."""

from __future__ import annotations

import asyncio
import re
import sys
import urllib.request
from collections import defaultdict
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

START_SECONDS = 60.0
STOP_SECONDS = 40.0
ASK_SECONDS = 0.1  #: between two looks at whether it has started, or has caught up
STALL_SECONDS = 30.0  #: without progress, after which what was sent and not taken in is not waited for
QUIET_LOOKS = 5  #: looks at the figures without a change, after which nothing more is coming

_SAMPLE = re.compile(r"^(\w+)\{(.*)\} (\S+)$", re.MULTILINE)
_LABEL = re.compile(r'(\w+)="([^"]*)"')

_STORED = "cdrhub_records_stored_total"
_FIELDS = {
    ("cdrhub_records_received_total", None): "received",
    ("cdrhub_records_acknowledged_total", None): "acknowledged",
    (_STORED, "applied"): "applied",
    (_STORED, "duplicate"): "duplicates",
    (_STORED, "suspended"): "suspended",
    (_STORED, "ignored"): "ignored",
}
"""Which figure a counter of /metrics is, by its name and its label `result`."""


@dataclass(slots=True)
class Figures:
    """What became of the records of one source, or of all."""

    received: int = 0
    acknowledged: int = 0
    applied: int = 0
    duplicates: int = 0
    suspended: int = 0
    ignored: int = 0

    @property
    def settled(self) -> bool:
        """Whether everything that was received is in the database, or known to say nothing of a call."""
        return self.applied + self.duplicates + self.suspended + self.ignored >= self.received

    def add(self, other: Figures) -> None:
        """Add the figures of another source."""
        self.received += other.received
        self.acknowledged += other.acknowledged
        self.applied += other.applied
        self.duplicates += other.duplicates
        self.suspended += other.suspended
        self.ignored += other.ignored


class Daemon:
    """`cdrhub run` with the configuration in `folder`, its log beside that; `port` is its HTTP server's."""

    def __init__(self, folder: Path, *, port: int) -> None:
        self.folder = folder
        self.port = port
        self.process: asyncio.subprocess.Process | None = None

    @property
    def log(self) -> Path:
        """What it says."""
        return self.folder / "daemon.log"

    async def start(self) -> bool:
        """Start it and wait until it takes records. False where it does not."""
        with self.log.open("wb") as log:
            # A session of its own: Ctrl-C is for the demo, which ends the daemon once it has everything.
            self.process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "cdrhub", "run", "--config", str(self.folder / "config.toml")),
                cwd=self.folder,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        loop = asyncio.get_running_loop()
        deadline = loop.time() + START_SECONDS
        while loop.time() < deadline and self.process.returncode is None:
            with suppress(OSError):
                if (await asyncio.to_thread(self._get, "/readyz")).startswith('{"taking":true'):
                    return True
            await asyncio.sleep(ASK_SECONDS)
        return False

    async def stop(self) -> int:
        """End it as a service manager does; its exit status."""
        if self.process is None:
            return 0
        if self.process.returncode is None:
            self.process.terminate()
            with suppress(TimeoutError):
                await asyncio.wait_for(self.process.wait(), STOP_SECONDS)
        if self.process.returncode is None:
            self.process.kill()
        return await self.process.wait()

    async def caught_up(self, sent: Mapping[str, int], *, stall_seconds: float = STALL_SECONDS) -> None:
        """Wait until so many records of each source were received, all is in the database and nothing more is coming;
        or until nothing has moved for so long. A busy machine takes its time."""
        loop = asyncio.get_running_loop()
        before, quiet, moved_at = None, 0, loop.time()
        while quiet < QUIET_LOOKS and loop.time() < moved_at + stall_seconds:
            figures = await asyncio.to_thread(self.figures)
            now = total(figures)
            arrived = all(figures[source].received >= records for source, records in sent.items())
            quiet = quiet + 1 if arrived and now.settled and now == before else 0
            if now != before:
                before, moved_at = now, loop.time()
            await asyncio.sleep(ASK_SECONDS)

    def figures(self) -> dict[str, Figures]:
        """The figures by source. Blocks for a moment; OSError where the daemon does not answer."""
        found: dict[str, Figures] = defaultdict(Figures)
        for name, labels, value in _SAMPLE.findall(self._get("/metrics")):
            said = dict(_LABEL.findall(labels))
            if (field := _FIELDS.get((name, said.get("result")))) is not None:
                setattr(found[said["source"]], field, int(float(value)))
        return found

    def _get(self, path: str) -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=STALL_SECONDS) as answer:
            body: bytes = answer.read()
            return body.decode()


def total(figures: dict[str, Figures]) -> Figures:
    """The figures of all sources."""
    whole = Figures()
    for each in figures.values():
        whole.add(each)
    return whole
