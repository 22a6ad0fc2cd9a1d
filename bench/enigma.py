"""An Enigma list drained reliably into calls by the whole daemon, beside a bare BLMOVE loop that stores nothing."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import count, islice
from pathlib import Path
from typing import Any

import redis

from bench import load
from support.daemon import Daemon
from support.redis import RedisServer
from support.redis import running as redis_running
from support.servers import PostgresServer, running

KEY = "enigma:notifications:campaigns"
AHEAD = 10_000  #: CDRs between the dialler and the database at most: neither the list nor the journal grows
BLOCK = 500
WARM_UP_SECONDS = 5.0

_ENDS = (
    b'"extension":"%d","call_time":79,"end_reason":"callee_hungup","end_code":16',
    b'"extension":"%d","call_time":31,"end_reason":"agent_hungup","end_code":16',
    b'"extension":null,"call_time":0,"end_reason":"timeout","end_code":18',
    b'"extension":null,"call_time":0,"end_reason":"busy","end_code":17',
)


def cdrs() -> Iterator[bytes]:
    """Endless campaign CDRs, each another call: 40,000 numbers, 200 agents, 20,000 contacts."""
    for number in count(1):
        end = _ENDS[number % len(_ENDS)]
        if b"%d" in end:
            end %= 2_000 + number % 200
        yield (
            b'{"type":"cdr","payload":{%s,"number":"08200%05d","dial_number":"27110000900","recording_url":'
            b'"/dev/recordings/ENIG00034~9822~campaign_001~%d.wav","call_ref":%d,"contact_ref":"contact%d",'
            b'"dialed_at":%d,"call_dir":"outbound","ref":"campaign001"}}'
        ) % (end, number % 40_000, number, number, number % 20_000, 1_773_050_400 + number % 3_000)


def _pushed(client: redis.Redis, *, taken: Callable[[], int], seconds: float) -> load.Rate:
    """Push CDRs as fast as they are `taken`, and measure that over `seconds` after the warm-up."""
    source = cdrs()
    pushed = 0
    began = time.monotonic()
    since: tuple[float, int] | None = None
    while True:
        done = taken() if pushed else 0
        now = time.monotonic()
        if since is None and now - began >= WARM_UP_SECONDS:
            since = (now, done)
        if since is not None and now - since[0] >= seconds:
            return load.Rate(records=done - since[1], seconds=now - since[0])
        while pushed - done < AHEAD:
            client.rpush(KEY, *islice(source, BLOCK))
            pushed += BLOCK
        time.sleep(load.COUNT_SECONDS)


def _peer(seconds: float) -> dict[str, Any]:
    with redis_running() as server, server.client() as client:
        process = subprocess.Popen([sys.executable, "-m", "bench.peers.bare_blmove", server.url, KEY])

        def removed() -> int:  # the bare loop calls LREM once for each entry
            commands: Any = client.info("commandstats")
            return int(commands.get("cmdstat_lrem", {}).get("calls", 0))

        try:
            rate = _pushed(client, taken=removed, seconds=seconds)
        finally:
            process.terminate()
            process.wait(30)
    return {"per_second": rate.per_second, "records": rate.records}


def _daemon(server: RedisServer, *, database: str, seconds: float, work: Path) -> dict[str, Any]:
    daemon = Daemon(
        work / "daemon",
        database=database,
        sources=f'[sources.dialler]\ntype = "enigma"\nredis = "{server.url}"\nside = "left"\nregion = "ZA"\n'
        'reliable = "always"\n',
    )
    daemon.start()
    depths: list[float] = []

    def stored() -> int:
        depths.append(daemon.metric("cdrhub_journal_records"))
        return int(daemon.metric("cdrhub_records_stored_total", result="applied"))

    try:
        with server.client() as client:
            rate = _pushed(client, taken=stored, seconds=seconds)
            while client.llen(KEY):
                time.sleep(0.05)
        daemon.drained()
        received = int(daemon.metric("cdrhub_records_received_total"))
        applied = int(daemon.metric("cdrhub_records_stored_total", result="applied"))
        memory = daemon.resident_megabytes()
    finally:
        status = daemon.stop()
    return {
        "per_second": rate.per_second,
        "records": rate.records,
        "seconds": rate.seconds,
        "received": received,
        "stored": applied,
        "lost": received - applied,
        "journal_depth_max": max(depths),
        "memory_mb": memory,
        "exit_status": status,
    }


def _beside_bare_blmove(hub: dict[str, Any], *, seconds: float) -> dict[str, Any]:
    peer = _peer(seconds / 4)
    return {"cdrhub": hub, "bare BLMOVE": peer, "ratio": hub["per_second"] / peer["per_second"]}


def sqlite(seconds: float) -> dict[str, Any]:
    """The daemon with SQLite behind it, then the bare loop."""
    with tempfile.TemporaryDirectory(prefix="cdrhub-bench-") as folder, redis_running() as server:
        work = Path(folder)
        hub = _daemon(server, database=f"sqlite:///{work / 'hub.db'}", seconds=seconds, work=work)
    return _beside_bare_blmove(hub, seconds=seconds)


def postgresql(seconds: float) -> dict[str, Any]:
    """The daemon with PostgreSQL behind it (fsync on), then the bare loop."""
    with (
        tempfile.TemporaryDirectory(prefix="cdrhub-bench-") as folder,
        redis_running() as server,
        running(PostgresServer, durable=True) as database,
    ):
        database.execute('CREATE DATABASE "hub"')
        hub = _daemon(server, database=database.url("hub"), seconds=seconds, work=Path(folder))
    return _beside_bare_blmove(hub, seconds=seconds)
