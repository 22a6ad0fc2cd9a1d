"""A Python process of a test's own: for what would end this one, or what only a fresh one shows."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from collections.abc import Sequence

SECONDS = 60.0  #: what takes longer hangs


def python(script: str, *arguments: str, options: Sequence[str] = ()) -> subprocess.CompletedProcess[str]:
    """What a process that runs `script` said, and its exit status. It finds the modules that this one finds."""
    return subprocess.run(
        [sys.executable, *options, "-c", textwrap.dedent(script), *arguments],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
