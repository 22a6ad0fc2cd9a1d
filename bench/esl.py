"""Events of the Event Socket to calls in the database: the whole daemon, beside a minimal parser in asyncio.

A switch in this process sends the events of a recorded queue call (1.10.12, 19 events of 0.6 to 13 KB) again and again,
each time as another call. The lag of the daemon's event loop is what a request to `/healthz` waits, asked every 20 ms.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import re
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any
from uuid import UUID

from bench.machine import cpu_seconds
from cdrhub.sources.freeswitch.esl.frames import EVENT_PLAIN, Framer, encode_frame
from cdrhub.sources.freeswitch.headers import MAX_EVENT_BYTES, PlainHeaders
from cdrhub.sources.freeswitch.source import SUBSCRIPTION
from support.daemon import Daemon
from support.servers import PostgresServer, running

CAPTURE = Path(__file__).parents[1] / "tests/captures/freeswitch/01-answered-caller-hangs-up.channels.esl"
PASSWORD = "ClueCon"
AHEAD = 10_000  #: events between the switch and the database at most: the journal's depth stays flat
WARM_UP_SECONDS = 5.0
LOOK_SECONDS = 0.1
PING_SECONDS = 0.02

_UUIDS = (b"6844f513-f0ac-4a9f-b4bc-938481dced81", b"b4f3a6e9-f1a0-4082-a51b-2afaeb395ef6")
_MEMBER = b"bbd09347-13cd-4909-86a0-621def095c91"
_SEQUENCE = re.compile(rb"^Event-Sequence: \d+$", re.MULTILINE)
_NUMBER = b"Event-Sequence: %012d"


def template() -> list[bytes]:
    """The subscribed events of the recorded call, with a sequence number to be replaced by one of the same length."""
    names = set(SUBSCRIPTION.split())
    bodies = [
        frame.body
        for frame in Framer(max_body=MAX_EVENT_BYTES).feed(CAPTURE.read_bytes())
        if frame.content_type == EVENT_PLAIN and PlainHeaders(frame.body).get("Event-Name") in names
    ]
    return [_SEQUENCE.sub(_NUMBER % 0, body) for body in bodies]


def calls(events: list[bytes]) -> Iterator[bytes]:
    """Every call of the stream, as it is on the wire."""
    wires = [encode_frame(EVENT_PLAIN, body) for body in events]
    sequence = count(1)
    for number in count(1):
        fresh = [str(UUID(int=number << 8 | part)).encode() for part in range(3)]
        pieces = []
        for wire in wires:
            own = wire.replace(_NUMBER % 0, _NUMBER % next(sequence))
            for old, new in zip((*_UUIDS, _MEMBER), fresh, strict=True):
                own = own.replace(old, new)
            pieces.append(own)
        yield b"".join(pieces)


class Switch:
    """An Event Socket. `subscriber` is the connection that asked for events; commands get an error."""

    def __init__(self) -> None:
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = self._listening.getsockname()[1]
        self.subscribed = threading.Event()
        self.subscriber: socket.socket
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Stop listening."""
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listening.accept()
            except OSError:  # closed
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError):  # the client is gone
            connection.sendall(b"Content-Type: auth/request\n\n")
            heard = b""
            while chunk := connection.recv(65_536):
                *commands, heard = (heard + chunk).split(b"\n\n")
                for command in commands:
                    self._answer(connection, command)

    def _answer(self, connection: socket.socket, command: bytes) -> None:
        if command.startswith(b"api "):
            connection.sendall(b"Content-Type: api/response\nContent-Length: 5\n\n-ERR\n")
            return
        connection.sendall(b"Content-Type: command/reply\nReply-Text: +OK accepted\n\n")
        if command.startswith(b"event "):
            self.subscriber = connection
            self.subscribed.set()


class _Pings:
    """How long requests to /healthz take, in seconds, from `begin` to `end`."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._ping)
        self.seconds: list[float] = []

    def begin(self) -> None:
        self._thread.start()

    def end(self) -> None:
        self._over.set()
        self._thread.join()

    def _ping(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self._port)
        while not self._over.wait(PING_SECONDS):
            began = time.perf_counter()
            connection.request("GET", "/healthz")
            connection.getresponse().read()
            self.seconds.append(time.perf_counter() - began)
        connection.close()

    def percentile(self, share: float) -> float:
        """Milliseconds."""
        return sorted(self.seconds)[int(len(self.seconds) * share)] * 1000


def _daemon(*, database: str, seconds: float, work: Path) -> dict[str, Any]:
    switch, events = Switch(), template()
    left_out = sum(PlainHeaders(body).get("CC-Action") == "members-count" for body in events)
    kept = len(events) - left_out
    daemon = Daemon(
        work / "daemon",
        database=database,
        sources=f'[sources.callcentre]\ntype = "freeswitch"\nport = {switch.port}\npassword = "{PASSWORD}"\n',
    )
    daemon.start()
    pings = _Pings(daemon.http_port)
    memory: list[float] = []
    depths: list[float] = []
    stream = calls(events)
    try:
        switch.subscribed.wait(30)
        sent, began, looked = 0, time.monotonic(), 0.0
        since: tuple[float, float, float] | None = None
        while True:
            done, now = daemon.metric("cdrhub_records_stored_total", source="callcentre"), time.monotonic()
            if since is None and now - began >= WARM_UP_SECONDS:
                since = (now, done, cpu_seconds(daemon.pid))
                pings.begin()
            if since is not None and now - since[0] >= seconds:
                break
            if now - looked >= seconds / 12:
                looked = now
                memory.append(daemon.resident_megabytes())
                depths.append(daemon.metric("cdrhub_journal_records"))
            while sent - done < AHEAD:
                switch.subscriber.sendall(next(stream))
                sent += kept
            time.sleep(LOOK_SECONDS)
        cpu = (cpu_seconds(daemon.pid) - since[2]) / (now - since[0])
        pings.end()
        daemon.drained(seconds=120)
        received = daemon.metric("cdrhub_records_received_total", source="callcentre")
        stored = daemon.metric("cdrhub_records_stored_total", source="callcentre")
        held_back = daemon.metric("cdrhub_source_events_total", source="callcentre", what="held_back")
    finally:
        status = daemon.stop()
        switch.close()
    return {
        "per_second": (done - since[1]) / (now - since[0]),
        "records": done - since[1],
        "seconds": now - since[0],
        "events_a_call": len(events),
        "of_these_left_out": left_out,
        "bytes_a_call": sum(map(len, events)),
        "lost": received - stored,
        "held_back": held_back,
        "loop_lag_p50_ms": pings.percentile(0.5),
        "loop_lag_p99_ms": pings.percentile(0.99),
        "loop_lag_max_ms": max(pings.seconds) * 1000,
        "cpu_share_of_a_core": cpu,
        "journal_depth_max": max(depths),
        "memory_mb_first": memory[0],
        "memory_mb_last": memory[-1],
        "memory_mb_max": max(memory),
        "exit_status": status,
    }


def _peer(seconds: float) -> dict[str, Any]:
    switch = Switch()
    command = [sys.executable, "-m", "bench.peers.asyncio_esl", str(switch.port), PASSWORD, SUBSCRIPTION, str(seconds)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        switch.subscribed.wait(30)
        with contextlib.suppress(OSError):  # it has had enough
            for wire in calls(template()):
                switch.subscriber.sendall(wire)
        output, _ = process.communicate(timeout=30)
    switch.close()
    found: dict[str, Any] = json.loads(output)
    return found


def _beside_the_peer(seconds: float, hub: dict[str, Any]) -> dict[str, Any]:
    peer = _peer(min(seconds, 15.0))
    return {"cdrhub": hub, "asyncio parser": peer, "ratio": hub["per_second"] / peer["per_second"]}


def sqlite(seconds: float) -> dict[str, Any]:
    """The daemon with SQLite behind it."""
    with tempfile.TemporaryDirectory(prefix="cdrhub-bench-") as folder:
        work = Path(folder)
        hub = _daemon(database=f"sqlite:///{work / 'hub.db'}", seconds=seconds, work=work)
    return _beside_the_peer(seconds, hub)


def postgresql(seconds: float) -> dict[str, Any]:
    """The daemon with PostgreSQL (fsync on) behind it."""
    with tempfile.TemporaryDirectory(prefix="cdrhub-bench-") as folder, running(PostgresServer, durable=True) as server:
        server.execute('CREATE DATABASE "hub"')
        hub = _daemon(database=server.url("hub"), seconds=seconds, work=Path(folder))
    return _beside_the_peer(seconds, hub)
