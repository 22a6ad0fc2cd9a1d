"""The receivers of the documentation as processes, and a reader of the live feed that comes back."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from support.servers import free_port

PAGES = Path(__file__).parents[2] / "docs" / "receivers"
SECRET = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="
START_SECONDS = 20.0


@dataclass(slots=True)
class Receiver:
    """One of the receivers of docs/receivers, with what it acted on."""

    command: Sequence[str]
    read: Callable[[], list[dict[str, Any]]]
    port: int
    log: Path
    secrets: str = SECRET
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and wait until it takes connections."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, "WEBHOOK_SECRETS": self.secrets, "PYTHONWARNINGS": "error"},
            )
        deadline = time.monotonic() + START_SECONDS
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port)):
                return
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"the receiver does not start: {self.log.read_text()}")
            time.sleep(0.02)

    def kill(self) -> None:
        """End it as a power cut would."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    @property
    def url(self) -> str:
        """Where it takes events."""
        return f"http://127.0.0.1:{self.port}/events"

    def webhook(self, name: str, *, types: Sequence[str] = ("*",)) -> str:
        """The table of the configuration for it."""
        return (
            f'[[broadcast.webhooks]]\nname = "{name}"\nurl = "{self.url}"\nsecret = "{SECRET}"\n'
            f"types = {json.dumps(list(types))}\nallow_private = true\n"
        )


def python_receiver(folder: Path) -> Receiver:
    """docs/receivers/receiver.py, not started."""
    port, file = free_port(), folder / "receiver.db"

    def read() -> list[dict[str, Any]]:
        with contextlib.closing(sqlite3.connect(file)) as database:
            return [json.loads(event) for (event,) in database.execute("SELECT event FROM events ORDER BY rowid")]

    command = [sys.executable, str(PAGES / "receiver.py"), "--listen", f"127.0.0.1:{port}", "--database", str(file)]
    return Receiver(command=command, read=read, port=port, log=folder / "receiver-py.log")


def node_receiver(folder: Path) -> Receiver:
    """docs/receivers/receiver.mjs, not started; skips where there is no Node."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("there is no Node on this machine")
    port, file = free_port(), folder / "receiver.ndjson"

    def read() -> list[dict[str, Any]]:
        whole, _, _being_written = file.read_text().rpartition("\n")
        return [json.loads(line) for line in whole.splitlines() if line]

    command = [node, str(PAGES / "receiver.mjs"), f"127.0.0.1:{port}", str(file)]
    return Receiver(command=command, read=read, port=port, log=folder / "receiver-mjs.log")


def fields_of(block: str) -> dict[str, str]:
    """The fields of one block of server-sent events; comments under the empty name."""
    parts = (line.partition(":") for line in block.splitlines() if line)
    return {name: value.removeprefix(" ") for name, _, value in parts}


@dataclass(slots=True)
class Reader:
    """Reads the live feed, and comes back with the last position it has."""

    url: str
    headers: Mapping[str, str] = field(default_factory=dict)
    last: str = "0"
    events: list[tuple[int, dict[str, Any]]] = field(default_factory=list)
    told: list[tuple[str, dict[str, Any]]] = field(default_factory=list)  #: `reset`, `cut`

    async def read(self) -> None:
        """Read until cancelled."""
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=None)) as session:
            while True:
                with contextlib.suppress(aiohttp.ClientError):
                    headers = {**self.headers, "Last-Event-ID": self.last}
                    async with session.get(self.url, headers=headers) as answer:
                        assert answer.status == 200, await answer.text()
                        await self._blocks(answer)
                await asyncio.sleep(0.1)

    async def _blocks(self, answer: aiohttp.ClientResponse) -> None:
        pending = ""
        async for piece in answer.content.iter_any():
            *whole, pending = (pending + piece.decode()).split("\n\n")
            for block in whole:
                self._take(fields_of(block))

    def _take(self, said: Mapping[str, str]) -> None:
        self.last = said.get("id", self.last)
        if "data" not in said:
            return
        if "event" in said:
            self.told.append((said["event"], json.loads(said["data"])))
        else:
            self.events.append((int(self.last), json.loads(said["data"])))
