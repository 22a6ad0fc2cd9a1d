"""The broadcast: from a call's end on the wire to its webhook; and a million events that waited for a receiver.

The latency is measured over 3CX lines at a steady rate, with nothing to settle (`settle_seconds = 0`), PostgreSQL with
fsync behind the daemon; beside it a client that posts to the same receiver at the same rate, with nothing between. The
backlog drains to one receiver that verifies each signature; beside it a client that posts as much from memory.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import Any

import orjson
import psycopg
from aiohttp import ClientSession, web

from bench import threecx
from bench.peers.event_receiver import CALLS, EACH, SECRET
from bench.peers.listening import listening
from cdrhub.broadcast.webhooks import Pace
from support.daemon import Daemon
from support.servers import PostgresServer, free_port, running

RATE = 100  #: calls a second
WARM_UP_SECONDS = 3.0
LAST_SECONDS = 10.0  #: that the last events may take
BACKLOG = CALLS * EACH
PEER_SECONDS = 10.0

_FILL = """
INSERT INTO outbox (call_id, source, type, revision, due_at, snapshot, position)
SELECT ('0199aaaa-0000-7000-8000-' || lpad(to_hex(n % %(calls)s), 12, '0'))::uuid, 'pbx', 'call.corrected',
       (n / %(calls)s)::int, now(), %(snapshot)s::jsonb, n + 1
FROM generate_series(%(first)s::bigint, %(last)s::bigint) AS n
"""


def latency(seconds: float) -> dict[str, Any]:
    """Milliseconds from a call's end on the wire to its webhook at RATE calls a second."""
    with tempfile.TemporaryDirectory(prefix="cdrhub-bench-") as folder, running(PostgresServer, durable=True) as server:
        server.execute("CREATE DATABASE hub")
        found = asyncio.run(_latency(server.url("hub"), seconds=seconds, work=Path(folder)))
    ours, direct = found
    return {
        "cdrhub": {"per_second": RATE, **_spread(ours), "events": len(ours)},
        "posted directly": {"per_second": RATE, **_spread(direct)},
        "ratio": _spread(direct)["p99_ms"] / _spread(ours)["p99_ms"],
    }


async def _latency(database: str, *, seconds: float, work: Path) -> tuple[list[float], list[float]]:
    left: dict[str, float] = {}
    arrived: dict[str, float] = {}

    async def take(request: web.Request) -> web.Response:
        data = orjson.loads(await request.read())["data"]
        arrived.setdefault(data["call_key"].rpartition("/")[2], time.perf_counter())
        return web.Response(status=204)

    app = web.Application()
    app.router.add_post("/events", take)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    port, pbx = free_port(), free_port()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    daemon = Daemon(work / "daemon", database=database, sources=_settings(pbx, receiver=port))
    await asyncio.to_thread(daemon.start)
    try:
        count = int((WARM_UP_SECONDS + seconds) * RATE)
        await _lines(pbx, count=count, left=left)
        until = time.monotonic() + LAST_SECONDS
        while len(arrived) < count and time.monotonic() < until:  # noqa: ASYNC110 - a second at most
            await asyncio.sleep(0.05)
        if missing := left.keys() - arrived.keys():
            raise RuntimeError(f"{len(missing)} of {count} calls were not told")
        ours = [arrived[key] - left[key] for key in left][int(WARM_UP_SECONDS * RATE) :]
        left.clear()
        arrived.clear()
        await _posts(port, count=int(seconds * RATE), left=left)
        return ours, [arrived[key] - left[key] for key in left]
    finally:
        await asyncio.to_thread(daemon.stop)
        await runner.cleanup()


async def _lines(port: int, *, count: int, left: dict[str, float]) -> None:
    """Send the line of one call after the other, at RATE a second."""
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    source, began = threecx.lines(), time.perf_counter()
    for number in range(count):
        await asyncio.sleep(max(began + number / RATE - time.perf_counter(), 0))
        line = next(source)
        left[line.split(b",")[1].decode()] = time.perf_counter()
        writer.write(line)
    await writer.drain()
    writer.close()


async def _posts(port: int, *, count: int, left: dict[str, float]) -> None:
    """Post straight to the receiver, at RATE a second."""
    began = time.perf_counter()
    async with ClientSession() as session, asyncio.TaskGroup() as group:

        async def post(key: str) -> None:
            left[key] = time.perf_counter()
            async with session.post(f"http://127.0.0.1:{port}/events", json={"data": {"call_key": key}}) as answer:
                await answer.read()

        for number in range(count):
            await asyncio.sleep(max(began + number / RATE - time.perf_counter(), 0))
            group.create_task(post(str(number)))


def _settings(port: int, *, receiver: int) -> str:
    return f"""
[sources.pbx]
type = "3cx"
mode = "listen"
listen = "127.0.0.1:{port}"
region = "FR"
settle_seconds = 0

[[broadcast.webhooks]]
name = "crm"
url = "http://127.0.0.1:{receiver}/events"
secret = "{SECRET}"
types = ["call.*"]
allow_private = true
"""


def _spread(seconds: list[float]) -> dict[str, float]:
    ordered = sorted(seconds)
    return {
        "p50_ms": statistics.median(ordered) * 1000,
        "p99_ms": ordered[int(len(ordered) * 0.99)] * 1000,
        "max_ms": ordered[-1] * 1000,
    }


def backlog(seconds: float) -> dict[str, Any]:
    """A receiver that comes back while BACKLOG events wait: how many it gets a second, over `seconds` or until all are
    there; whether each came once, and in order per call."""
    with tempfile.TemporaryDirectory(prefix="cdrhub-bench-") as folder, running(PostgresServer, durable=True) as server:
        server.execute("CREATE DATABASE hub")
        with listening("event_receiver") as port:
            peer = _posted_from_memory(port)
        with listening("event_receiver") as port:
            ours = _drained(server.url("hub"), port=port, seconds=seconds, work=Path(folder))
    return {"cdrhub": ours, "posted from memory": peer, "ratio": ours["per_second"] / peer["per_second"]}


def _posted_from_memory(port: int) -> dict[str, Any]:
    command = [sys.executable, "-m", "bench.peers.event_receiver", str(port), str(PEER_SECONDS), str(Pace().at_once)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def _drained(database: str, *, port: int, seconds: float, work: Path) -> dict[str, Any]:
    daemon = Daemon(work / "daemon", database=database, sources=_settings(free_port(), receiver=port))
    daemon.start()
    daemon.wait_for("cdrhub_webhook_state", 1, webhook="crm")
    daemon.stop()
    _fill(database)
    daemon.start()
    try:
        began = time.monotonic()
        while True:
            time.sleep(0.2)
            said = _said(port)
            events, spent = said["events"], time.monotonic() - began
            if events >= BACKLOG or spent >= seconds:
                break
        memory = daemon.resident_megabytes()
    finally:
        daemon.stop()
    return {
        "per_second": events / spent,
        "events": events,
        "waiting_at_begin": BACKLOG,
        "seconds": spent,
        "repeated": said["repeated"],
        "out_of_order": said["disordered"],
        "memory_mb": memory,
    }


def _fill(database: str) -> None:
    """Put the events into the log, as a hub would have left them whose receiver was away."""
    snapshot = {
        "tenant": "",
        "queue": "611",
        "disposition": "answered",
        "caller_number": "0266900000",
        "attributes": {"chain": "Chain: 0266900000;Ext.611;Ext.101;", "filling": "x" * 900},
    }
    with psycopg.connect(database) as connection:
        connection.execute("DELETE FROM outbox")
        for first in range(0, BACKLOG, CALLS):
            values = {"calls": CALLS, "first": first, "last": first + CALLS - 1, "snapshot": json.dumps(snapshot)}
            connection.execute(_FILL.replace("%(calls)s", str(CALLS)).replace("n % ", "n %% "), values)
        connection.execute("UPDATE webhook_endpoints SET cursor = 0")
        connection.commit()
        connection.autocommit = True
        connection.execute("ANALYZE outbox")


def _said(port: int) -> dict[str, int]:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/said", timeout=30) as answer:
        said: dict[str, int] = json.loads(answer.read())
        return said
