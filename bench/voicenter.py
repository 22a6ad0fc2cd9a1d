"""Voicenter posts, answered only when durable, beside a bare aiohttp handler; 32 connections."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from bench import load
from support.daemon import Daemon
from support.servers import free_port

CONNECTIONS = 32
PATH = "/ingest/voicenter/bench-secret-0123456789"
WARM_UP_SECONDS = 3.0


def _load(port: int, path: str, seconds: float) -> dict[str, Any]:
    command = [sys.executable, "-m", "bench.load", str(port), path, str(CONNECTIONS)]
    subprocess.run([*command, str(WARM_UP_SECONDS)], check=True, capture_output=True)
    done = subprocess.run([*command, str(seconds)], check=True, capture_output=True, text=True)
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def _peer(seconds: float) -> dict[str, Any]:
    port = free_port()
    process = subprocess.Popen([sys.executable, "-m", "bench.peers.bare_aiohttp", str(port)])
    try:
        while not load.can_connect(port):
            time.sleep(0.1)
        return _load(port, "/push", seconds)
    finally:
        process.terminate()
        process.wait(30)


def _daemon(seconds: float, work: Path) -> dict[str, Any]:
    daemon = Daemon(
        work / "daemon",
        database=f"sqlite:///{work / 'hub.db'}",
        sources=f'[sources.vendor]\ntype = "voicenter"\npath = "{PATH}"\nregion = "IL"\n',
    )
    daemon.start()
    try:
        result = _load(daemon.http_port, PATH, seconds)
        result["journal_depth_at_end"] = daemon.metric("cdrhub_journal_records")
        daemon.drained(seconds=120)
        result["acknowledged"] = daemon.metric("cdrhub_records_acknowledged_total")
        result["stored"] = daemon.metric("cdrhub_records_stored_total", result="applied")
        result["memory_mb"] = daemon.resident_megabytes()
    finally:
        daemon.stop()
    return result


def push(seconds: float) -> dict[str, Any]:
    """The daemon with SQLite behind it, and the bare handler, one after the other."""
    with tempfile.TemporaryDirectory(prefix="cdrhub-bench-") as folder:
        peer = _peer(seconds)
        hub = _daemon(seconds, Path(folder))
    return {"cdrhub": hub, "bare aiohttp": peer, "ratio": hub["per_second"] / peer["per_second"]}
