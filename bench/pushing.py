"""A system that pushes over HTTP: the daemon, which answers when durable, beside a bare aiohttp handler."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from bench.peers.listening import listening
from support.daemon import Daemon

CONNECTIONS = 32
WARM_UP_SECONDS = 3.0


def beside_bare_aiohttp(system: str, *, path: str, settings: str, seconds: float) -> dict[str, Any]:
    """Both one after the other, SQLite behind the daemon. `settings` are further keys of the source's table."""
    with tempfile.TemporaryDirectory(prefix="cdrhub-bench-") as folder:
        peer = _peer(system, seconds=seconds)
        hub = _daemon(system, path=path, settings=settings, seconds=seconds, work=Path(folder))
    return {"cdrhub": hub, "bare aiohttp": peer, "ratio": hub["per_second"] / peer["per_second"]}


def _load(system: str, *, port: int, path: str, seconds: float) -> dict[str, Any]:
    command = [sys.executable, "-m", "bench.load", system, str(port), path, str(CONNECTIONS)]
    subprocess.run([*command, str(WARM_UP_SECONDS)], check=True, capture_output=True)
    done = subprocess.run([*command, str(seconds)], check=True, capture_output=True, text=True)
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def _peer(system: str, *, seconds: float) -> dict[str, Any]:
    with listening("bare_aiohttp") as port:
        return _load(system, port=port, path=f"/{system}", seconds=seconds)


def _daemon(system: str, *, path: str, settings: str, seconds: float, work: Path) -> dict[str, Any]:
    daemon = Daemon(
        work / "daemon",
        database=f"sqlite:///{work / 'hub.db'}",
        sources=f'[sources.pushing]\ntype = "{system}"\npath = "{path}"\n{settings}\n',
    )
    daemon.start()
    try:
        result = _load(system, port=daemon.http_port, path=path, seconds=seconds)
        result["journal_depth_at_end"] = daemon.metric("cdrhub_journal_records")
        daemon.drained(seconds=120)
        result["acknowledged"] = daemon.metric("cdrhub_records_acknowledged_total")
        result["stored"] = daemon.metric("cdrhub_records_stored_total", result="applied")
        result["memory_mb"] = daemon.resident_megabytes()
    finally:
        daemon.stop()
    return result
