"""`cdrhub demo`: the real daemon on SQLite, simulated phone systems, and the calls as they land.

Nothing is faked: the daemon is a process of its own, the simulators connect to it over TCP and HTTP, the table is read
from its database. At the end every figure is compared with what the simulators sent.
"""

from __future__ import annotations

import asyncio
import re
import secrets
import shutil
import signal
import socket
import sqlite3
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cdrhub.cli.failure import Exit, say

if TYPE_CHECKING:
    from rich.console import Group
    from rich.table import Table

    from cdrhub.sources.voicenter.simulate import Ledger

LINES_PER_SECOND = 6.0
PUSHES_PER_SECOND = 6.0
REPEATED_EVERY = 17  #: 3CX lines, of which one is sent twice
BROKEN_EVERY = 40  #: 3CX lines, of which one has lost its end
KEPT_OF_BROKEN = 3  #: the part of a line that is left of it, which has less than 20 fields
BROKEN_PUSHES = 0.02  #: share of Voicenter bodies that nobody can understand
ROWS = 18  #: where the output is no terminal
FRAME_LINES = 8  #: of a terminal's that are not rows: title, head, rules, two lines below, the prompt
DROPPED = ("agent", "queue", "direction")  #: columns that a narrow terminal does not show, the first ones first
REFRESH_SECONDS = 0.5
PIPE_WIDTH = 132  #: columns where the output is no terminal
START_SECONDS = 60.0
STOP_SECONDS = 40.0

_LATEST = """
SELECT substr(ended_at, 12, 8) AS "ended", system, direction, caller_number AS "from", callee_number AS "to", queue,
       agent_id AS agent, disposition, talk_seconds AS talk
FROM v_calls ORDER BY ended_at DESC, first_received_at DESC, id DESC LIMIT ?
"""


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command(epilog="Examples: cdrhub demo · cdrhub demo --seconds 15")(demo)


def demo(
    seconds: Annotated[
        float | None, typer.Option(min=1, max=86_400, help="End by itself after this many seconds. [default: Ctrl-C]")
    ] = None,
) -> int:
    """Try cdrhub without owning a phone system.

    Starts the real daemon on SQLite in a temporary directory, lets a simulated 3CX (lines over TCP) and a simulated
    Voicenter (JSON, XML-RPC and form posts over HTTP) connect to it, and shows the calls as they land. Ends with a
    summary; exit 1 if the figures do not add up.
    """
    with tempfile.TemporaryDirectory(prefix="cdrhub-demo-") as folder:
        return asyncio.run(_Demo(Path(folder)).run(seconds))


@dataclass(slots=True)
class _Lines:
    """What the simulated 3CX sent."""

    lines: int = 0
    repeated: int = 0
    broken: int = 0


@dataclass(slots=True)
class _Check:
    """One figure of the summary, and what it must be."""

    what: str
    found: int
    expected: int


@dataclass(slots=True)
class _Figures:
    """What the daemon says of its records."""

    received: int
    acknowledged: int
    applied: int
    duplicates: int
    suspended: int


@dataclass(slots=True)
class _Demo:
    folder: Path
    over: asyncio.Event = field(default_factory=asyncio.Event)
    sent: _Lines = field(default_factory=_Lines)

    async def run(self, seconds: float | None) -> int:
        """Run until `seconds` are over or Ctrl-C; the exit code."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self.over.set)
        tcp, http = _free_ports(2)
        path = f"/ingest/voicenter/{secrets.token_urlsafe(16)}"
        config = self._write_config(tcp=tcp, http=http, path=path)
        with (self.folder / "daemon.log").open("wb") as log:
            daemon = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "cdrhub", "run", "--config", str(config)),
                cwd=self.folder,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        try:
            if not await self._started(daemon, http):
                say("the daemon does not start:")
                say((self.folder / "daemon.log").read_text(errors="replace")[-2000:])
                return Exit.INTERNAL
            ledger = await self._play(tcp=tcp, url=f"http://127.0.0.1:{http}{path}", seconds=seconds, http=http)
            figures = await self._drained(http)
        finally:
            if daemon.returncode is None:
                daemon.terminate()
            with suppress(TimeoutError):
                await asyncio.wait_for(daemon.wait(), STOP_SECONDS)
            if daemon.returncode is None:
                daemon.kill()
                await daemon.wait()
        return self._summary(ledger, figures, status=daemon.returncode or 0)

    def _write_config(self, *, tcp: int, http: int, path: str) -> Path:
        config = self.folder / "config.toml"
        config.write_text(
            f"""[hub]
data_dir = "data"

[database]
url = "sqlite:///{self._database()}"

[http]
listen = "127.0.0.1:{http}"

[sources.paris]
type = "3cx"
mode = "listen"
listen = "127.0.0.1:{tcp}"
allow = ["127.0.0.1"]
region = "FR"

[sources.tel-aviv]
type = "voicenter"
path = "{path}"
region = "IL"
"""
        )
        return config

    def _database(self) -> Path:
        return self.folder / "cdrhub.db"

    async def _started(self, daemon: asyncio.subprocess.Process, http: int) -> bool:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + START_SECONDS
        while loop.time() < deadline and daemon.returncode is None:
            with suppress(OSError):
                if (await asyncio.to_thread(_get, http, "/readyz")).startswith('{"taking":true'):
                    return True
            await asyncio.sleep(0.1)
        return False

    async def _play(self, *, tcp: int, url: str, seconds: float | None, http: int) -> Ledger:
        """Let the simulated phone systems work until it is over; what Voicenter pushed."""
        from cdrhub.sources.threecx import simulate as threecx  # noqa: PLC0415 - heavy, and for this command only
        from cdrhub.sources.voicenter import simulate as voicenter  # noqa: PLC0415

        start = _now()
        ledger = voicenter.Ledger()
        if seconds is not None:
            asyncio.get_running_loop().call_later(seconds, self.over.set)
        lines = self._spoiled(threecx.lines(seed=7, start=start, region="FR", clock=_now))
        pushes = voicenter.pushes(seed=7, start=start, broken=BROKEN_PUSHES, over=self.over.is_set, clock=_now)
        async with asyncio.TaskGroup() as group:
            group.create_task(threecx.send("127.0.0.1", tcp, records=lines, rate=LINES_PER_SECOND))
            group.create_task(voicenter.send(pushes, url=url, rate=PUSHES_PER_SECOND, ledger=ledger))
            group.create_task(self._show(http))
        return ledger

    def _spoiled(self, lines: Iterator[bytes]) -> Iterator[bytes]:
        """The 3CX lines until it is over, some of them twice, some broken, all of them counted."""
        for number, line in enumerate(lines, start=1):
            if self.over.is_set():
                return
            broken = number % BROKEN_EVERY == 0
            self.sent.lines += 1
            self.sent.broken += broken
            yield line[: len(line) // KEPT_OF_BROKEN].rstrip() + b"\r\n" if broken else line
            if number % REPEATED_EVERY == 0 and not broken:
                self.sent.lines += 1
                self.sent.repeated += 1
                yield line

    async def _show(self, http: int) -> None:
        """The live table, or on a pipe one line per refresh."""
        from rich.console import Console  # noqa: PLC0415
        from rich.live import Live  # noqa: PLC0415

        console = Console(width=None if sys.stdout.isatty() else PIPE_WIDTH)
        if not console.is_terminal:
            console.print("the daemon runs; simulated 3CX and Voicenter are connected", highlight=False)
            await self.over.wait()
            console.print(await asyncio.to_thread(self._picture, http, width=PIPE_WIDTH, rows=ROWS))
            return
        with Live(console=console, auto_refresh=False) as live:
            while not self.over.is_set():
                width, height = console.size
                rows = max(1, height - FRAME_LINES)
                live.update(await asyncio.to_thread(self._picture, http, width=width, rows=rows), refresh=True)
                with suppress(TimeoutError):
                    await asyncio.wait_for(self.over.wait(), REFRESH_SECONDS)

    def _picture(self, http: int, *, width: int, rows: int) -> Group:
        """The newest calls, and below them what the daemon says of its records."""
        from rich.console import Group  # noqa: PLC0415
        from rich.text import Text  # noqa: PLC0415

        figures = _figures(http)
        with closing(sqlite3.connect(f"file:{self._database()}?mode=ro", uri=True)) as database:
            found = database.execute(_LATEST, (rows,))
            columns = [name for name, *_ in found.description]
            calls = [dict(zip(columns, row, strict=True)) for row in found]
        return Group(
            _table(columns, calls, width=width),
            Text(
                f"{figures.received} received, {figures.applied} stored, {figures.duplicates} duplicates, "
                f"{figures.suspended} in suspense"
            ),
            Text(f"http://127.0.0.1:{http}/metrics · Ctrl-C ends"),
        )

    async def _drained(self, http: int) -> _Figures:
        """The figures once everything received is in the database."""
        while True:
            figures = await asyncio.to_thread(_figures, http)
            if figures.applied + figures.duplicates + figures.suspended >= figures.received:
                return figures
            await asyncio.sleep(0.1)

    def _summary(self, ledger: Ledger, figures: _Figures, *, status: int) -> int:
        from rich.console import Console  # noqa: PLC0415
        from rich.table import Table  # noqa: PLC0415

        with closing(sqlite3.connect(f"file:{self._database()}?mode=ro", uri=True)) as database:
            (calls,) = database.execute("SELECT count(*) FROM v_calls").fetchone()
            wrong = sum(
                database.execute(
                    "SELECT count(*) FROM v_calls WHERE system = 'voicenter' AND call_key = ? AND disposition = ?",
                    (key, str(disposition)),
                ).fetchone()
                != (1,)
                for key, disposition in ledger.calls.items()
            )
        told = self.sent.lines + ledger.pushes
        broken = self.sent.broken + ledger.broken
        checks = [
            _Check("records sent, and received", figures.received, told),
            _Check("records acknowledged as durable", figures.acknowledged, told),
            _Check("duplicates, each counted once", figures.duplicates, self.sent.repeated + ledger.repeated),
            _Check("suspended, kept for repair", figures.suspended, broken),
            _Check(
                "calls stored",
                calls,
                self.sent.lines - self.sent.repeated - self.sent.broken + len(ledger.calls),
            ),
            _Check("Voicenter calls with another disposition", wrong, 0),
            _Check("exit status of the daemon", status, 0),
        ]
        table = Table(title="summary", title_justify="left")
        for name in ("figure", "found", "expected", ""):
            table.add_column(name, justify="right" if name in ("found", "expected") else "left")
        for check in checks:
            good = check.found == check.expected
            table.add_row(check.what, str(check.found), str(check.expected), "adds up" if good else "WRONG")
        Console(width=None if sys.stdout.isatty() else PIPE_WIDTH).print(table)
        if all(check.found == check.expected for check in checks):
            return Exit.OK
        kept = Path(tempfile.mkdtemp(prefix="cdrhub-demo-kept-"))
        shutil.copytree(self.folder, kept, dirs_exist_ok=True)
        say(f"the figures do not add up; database and log are kept in {kept}")
        return Exit.DIFFERENT


def _table(columns: Sequence[str], calls: Sequence[Mapping[str, Any]], *, width: int) -> Table:
    """`calls` in as many of the columns as `width` has room for."""
    from rich.cells import cell_len  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    from cdrhub.cli.plain import plain  # noqa: PLC0415

    cells = {name: ["" if call[name] is None else plain(str(call[name])) for call in calls] for name in columns}
    shown = fitting({name: max(map(cell_len, (name, *column))) for name, column in cells.items()}, width=width)
    table = Table(title="calls as they end (UTC, newest first)", title_justify="left")
    for name in shown:
        table.add_column(name, justify="right" if name == "talk" else "left", no_wrap=True)
    for row in zip(*(cells[name] for name in shown), strict=True):
        table.add_row(*map(Text, row))
    return table


def fitting(widths: Mapping[str, int], *, width: int) -> list[str]:
    """The columns, of so many characters each, that fit into `width` with their frames: without as many of DROPPED as
    it takes."""
    shown = list(widths)
    for name in DROPPED:
        if sum(widths[column] + len("│  ") for column in shown) + len("│") <= width:
            break
        shown.remove(name)
    return shown


def _now() -> datetime:
    return datetime.now(UTC)


def _get(port: int, path: str) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
        body: bytes = answer.read()
        return body.decode()


def _figures(port: int) -> _Figures:
    totals: dict[str, float] = {}
    for name, labels, value in re.findall(r"^(\w+)\{(.*)\} (\S+)$", _get(port, "/metrics"), re.MULTILINE):
        result = re.search(r'result="(\w+)"', labels)
        key = f"{name}.{result[1]}" if result else name
        totals[key] = totals.get(key, 0.0) + float(value)
    return _Figures(
        received=int(totals.get("cdrhub_records_received_total", 0)),
        acknowledged=int(totals.get("cdrhub_records_acknowledged_total", 0)),
        applied=int(totals.get("cdrhub_records_stored_total.applied", 0)),
        duplicates=int(totals.get("cdrhub_records_stored_total.duplicate", 0)),
        suspended=int(totals.get("cdrhub_records_stored_total.suspended", 0)),
    )


def _free_ports(count: int) -> list[int]:
    probes = [socket.socket() for _ in range(count)]
    try:
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]
    finally:
        for probe in probes:
            probe.close()
