"""Small file systems of their own, for what happens when a disk is full."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest


@contextmanager
def small_disk(*, megabytes: int) -> Iterator[Path]:
    """The root of a file system of so many megabytes, while the context is open. Skips where none can be mounted.

    It is not in a folder of pytest's, which a run that was killed would leave with something mounted in it, and which a
    later run could not remove.
    """
    with TemporaryDirectory(prefix="cdrhub-disk-") as folder:
        command = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", folder]
        mounted = subprocess.run(command, capture_output=True, check=False)
        if mounted.returncode:
            pytest.skip(f"a small file system cannot be mounted here: {mounted.stderr.decode().strip()}")
        try:
            yield Path(folder)
        finally:
            subprocess.run(["umount", "--lazy", folder], check=True)
