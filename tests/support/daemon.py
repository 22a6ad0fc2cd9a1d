"""The real daemon as a process: started with a configuration, asked over HTTP, stopped or killed like any service."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path

from support import warm
from support.servers import free_port

START_SECONDS = 60.0
STOP_SECONDS = 60.0
ANSWER_SECONDS = 30.0  #: that a busy machine may take for a page


class Daemon:
    """`cdrhub run` in a directory of its own, with an HTTP port of its own."""

    def __init__(self, directory: Path, *, database: str, sources: str, extra: str = "") -> None:
        self.directory = directory
        self.http_port = free_port()
        self.config = directory / "config.toml"
        self.process: warm.Process | subprocess.Popen[bytes] | None = None
        self.log = directory / "daemon.log"
        directory.mkdir(parents=True, exist_ok=True)
        self.config.write_text(
            f"""
[hub]
data_dir = "{directory / "data"}"
log_format = "json"

[database]
url = "{database}"

[http]
listen = "127.0.0.1:{self.http_port}"
{extra}
{sources}
"""
        )

    def start(self, *, environment: Mapping[str, str] | None = None, ready: bool = True, fresh: bool = False) -> None:
        """Start the process, which is a copy of one that is `warm` unless it has to be `fresh`, and wait until it
        serves."""
        with self.log.open("ab") as log, Path(os.devnull).open("rb") as nothing:
            self.process = warm.start(
                ["run", "--config", str(self.config)],
                stdin=nothing,
                stdout=log,
                stderr=log,
                cwd=self.directory,
                environ={**os.environ, **(environment or {})},
                fresh=fresh,
            )
        if not ready:
            return
        deadline = time.monotonic() + START_SECONDS
        while True:
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"the daemon does not start: {self.log.read_text()[-3000:]}")
            try:
                if self.get("/healthz") == "ok\n":
                    return
            except OSError:
                time.sleep(0.05)

    @property
    def pid(self) -> int:
        """The process's id."""
        assert self.process is not None
        return self.process.pid

    def get(self, path: str) -> str:
        """The body of a page; raises OSError when nobody answers, also for an error status."""
        url = f"http://127.0.0.1:{self.http_port}{path}"
        with urllib.request.urlopen(url, timeout=ANSWER_SECONDS) as answer:
            body: bytes = answer.read()
            return body.decode()

    def metric(self, name: str, **labels: str) -> float:
        """The sum of a metric over all series that carry these labels."""
        total = 0.0
        for line in self.get("/metrics").splitlines():
            if match := re.match(rf"{name}(?:\{{(.*)\}})? (\S+)$", line):
                have = dict(re.findall(r'(\w+)="([^"]*)"', match[1] or ""))
                if all(have.get(label) == value for label, value in labels.items()):
                    total += float(match[2])
        return total

    def wait_for(self, name: str, at_least: float, *, seconds: float = 60.0, **labels: str) -> None:
        """Wait until a metric reaches a value."""
        deadline = time.monotonic() + seconds
        while (value := self.metric(name, **labels)) < at_least:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{name}{labels or ''} is {value} after {seconds} s, not {at_least}")
            time.sleep(0.05)

    def drained(self, *, seconds: float = 60.0) -> None:
        """Wait until the journal is empty."""
        deadline = time.monotonic() + seconds
        while (depth := self.metric("cdrhub_journal_records")) > 0:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{depth} records are still in the journal after {seconds} s")
            time.sleep(0.05)

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to it."""
        assert self.process is not None
        self.process.send_signal(number)

    def stop(self) -> int:
        """SIGTERM, and its exit status."""
        assert self.process is not None
        self.process.terminate()
        status = self.process.wait(STOP_SECONDS)
        self.process = None
        return status

    def kill(self) -> None:
        """SIGKILL, as a power cut would."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def resident_megabytes(self) -> float:
        """Its resident memory now."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        match = re.search(r"VmRSS:\s+(\d+) kB", status)
        assert match is not None
        return int(match[1]) / 1024
