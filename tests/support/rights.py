"""Files that may not be read, also where the tests run as root."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Generator
from pathlib import Path

NOBODY = 65_534


@contextlib.contextmanager
def without_rights(path: Path) -> Generator[None]:
    """Nobody may read `path` meanwhile."""
    path.chmod(0)
    is_root = os.geteuid() == 0
    if is_root:
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        if is_root:
            os.seteuid(0)
