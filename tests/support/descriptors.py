"""A process that has no free file descriptor."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager

STANDARD = 3  #: descriptors that every process has open: its input and its two outputs


@contextmanager
def no_free_descriptor(pid: int | None = None) -> Iterator[None]:
    """While the context is open, a process (this one) can open nothing; what it has open works on."""
    process = os.getpid() if pid is None else pid
    soft, hard = resource.prlimit(process, resource.RLIMIT_NOFILE)
    resource.prlimit(process, resource.RLIMIT_NOFILE, (STANDARD, hard))
    try:
        yield
    finally:
        resource.prlimit(process, resource.RLIMIT_NOFILE, (soft, hard))
