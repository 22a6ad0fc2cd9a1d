"""What a measurement was made on: written beside every figure."""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

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


def cpu_seconds(pid: int) -> float:
    """The processor time that a process has used so far, its threads included."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def program_version(*command: str) -> str:
    """The first line that a program prints of its version."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return (done.stdout or done.stderr).strip().splitlines()[0]
