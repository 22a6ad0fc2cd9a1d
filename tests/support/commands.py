"""The program's commands, run as a user runs them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from support import warm

SECONDS = 60.0  #: what takes longer hangs
DIFFERENT, USAGE, DATA, NO_INPUT, UNAVAILABLE, CONFIG = 1, 64, 65, 66, 69, 78
SOURCE = '[sources.lagos]\ntype = "3cx"\nlisten = "127.0.0.1:0"\nregion = "NG"\n'
LINES = (
    b"Call 1,00000172FF10D141_1,00:00:30,2020/06/29 07:53:11,2020/06/29 07:53:20,2020/06/29 07:53:50,TerminatedBySrc,"
    b"08039100000,Ext.114,10000,114,114,,,,,,,,Chain: 08039100000;Ext.114;\r\n"
    b"Call 2,00000172FF10D142_2,,2020/06/29 07:54:11,,2020/06/29 07:54:20,Failed_Cancelled,"
    b"Ext.195,Ext.196,195,196,196,,,,,,,,\r\n"
    b"Call 3,not,enough,fields\r\n"
)

#: Runs a program whose output goes to a pipe that nobody reads any more.
UNREAD = """
import os, sys
reading, writing = os.pipe()
os.close(reading)
os.dup2(writing, 1)
os.execv(sys.argv[1], sys.argv[1:])
"""

Inside = Callable[..., "subprocess.CompletedProcess[str]"]
"""Runs a command in the process of the tests."""

Rows = Callable[..., list[dict[str, Any]]]
"""The rows of a listing."""


def cdrhub(
    *arguments: str | Path,
    folder: Path,
    stdin: bytes | None = None,
    environ: Mapping[str, str] | None = None,
    through: Sequence[str] = (),
) -> subprocess.CompletedProcess[str]:
    """The program's run in `folder`, with nothing of this machine's configuration."""
    given = stdin or b""
    environment = {
        "PATH": os.environ["PATH"],
        "USER": "tester",
        "COLUMNS": "200",
        "PYTHONWARNINGS": "error",
        **(environ or {}),
    }
    if through:
        command = [*through, sys.executable, "-m", "cdrhub", *map(str, arguments)]
        done = subprocess.run(
            command, cwd=folder, input=given, capture_output=True, timeout=SECONDS, check=False, env=environment
        )
    else:
        done = warm.run(list(map(str, arguments)), stdin=given, cwd=folder, environ=environment, timeout=SECONDS)
    result = subprocess.CompletedProcess(done.args, done.returncode, done.stdout.decode(), done.stderr.decode())
    assert "Traceback" not in result.stderr
    return result
