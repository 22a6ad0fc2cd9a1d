"""What a measurement was made on: written beside every figure."""

from __future__ import annotations

import os
import platform
import re
import statistics
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

SYNCS = 300  #: what a commit waits for, measured so often

PACKAGES = ("cdrhub", "aiohttp", "asyncpg", "aiosqlite", "asyncmy", "sqlalchemy", "orjson", "lxml", "phonenumbers")


def description() -> dict[str, object]:
    """Machine, interpreter and package versions."""
    cpu = re.search(r"model name\s*:\s*(.+)", Path("/proc/cpuinfo").read_text())
    memory = re.search(r"MemTotal:\s*(\d+)", Path("/proc/meminfo").read_text())
    return {
        "cpu": cpu[1] if cpu else platform.processor(),
        "cores": os.cpu_count(),
        "memory_gib": round(int(memory[1]) / 2**20, 1) if memory else None,
        "kernel": platform.release(),
        "python": sys.version,  # with its build: one that was made without a profile takes a quarter longer
        "packages": {name: version(name) for name in PACKAGES},
    }


def disk() -> dict[str, float]:
    """How long the disk of the temporary files takes to keep a page, in milliseconds: what waits for a commit waits for
    this. First what earlier work left behind is written, and removed, for that is nobody's commit."""
    os.sync()
    taken: list[float] = []
    with tempfile.TemporaryFile() as file:
        for _ in range(SYNCS):
            file.write(b"x" * 4_096)
            file.flush()
            began = time.perf_counter()
            os.fdatasync(file.fileno())
            taken.append((time.perf_counter() - began) * 1000)
    return {
        "fdatasync_median_ms": statistics.median(taken),
        "fdatasync_p99_ms": statistics.quantiles(taken, n=100)[98],
        "fdatasync_max_ms": max(taken),
    }


def cpu_seconds(pid: int) -> float:
    """The processor time that a process has used so far, its threads included."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def program_version(*command: str) -> str:
    """The first line that a program prints of its version."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return (done.stdout or done.stderr).strip().splitlines()[0]
