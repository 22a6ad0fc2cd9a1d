"""Room that the journal keeps for itself on its disk.

On a disk that is full to its last block nothing can be deleted: SQLite writes a deletion into its log first, and copies
the log only where the database can grow. A journal that filled its disk while the database was away would refuse
records for ever, and not even open again, with all that it holds in the database long since. So a file holds the place
of a log, and is removed for as long as it takes to copy, to delete and to copy again.
"""

from __future__ import annotations

import errno
import os
import sqlite3
from contextlib import suppress
from pathlib import Path

RESERVE_BYTES = 32 * 1024 * 1024  #: more than a log that is due to be copied, with the largest group of requests
SLACK_BYTES = 1024 * 1024  #: that the reserve leaves free, for the log to begin with

_FULL = frozenset({sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_WRITE, sqlite3.SQLITE_IOERR_SHMSIZE})
_FULL_ERRNO = frozenset({errno.ENOSPC, errno.EDQUOT})


def is_full(error: BaseException) -> bool:
    """Whether an error means that the disk, or a quota, is full."""
    if isinstance(error, sqlite3.Error):
        return getattr(error, "sqlite_errorcode", None) in _FULL
    return isinstance(error, OSError) and error.errno in _FULL_ERRNO


class Reserve:
    """The file that holds the place. A journal that never got it does without."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._owed = False

    def take(self) -> bool:
        """Hold the place, or say that there is none now."""
        try:
            file = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
            try:
                held = os.fstat(file).st_size >= RESERVE_BYTES
                os.posix_fallocate(file, 0, RESERVE_BYTES)
                held = held or _free(file) >= SLACK_BYTES
            finally:
                os.close(file)
        except OSError:
            held = False
        if not held:
            self._remove()
        self._owed = self._owed and not held
        return held

    def give_up(self) -> None:
        """Let the journal have the place."""
        self._owed = self._owed or self._path.exists()
        self._remove()

    def require(self) -> None:
        """Raise OSError if the place was given up and cannot be had again."""
        if self._owed and not self.take():
            raise OSError(errno.ENOSPC, "the disk is full: nothing is left of it for the journal to delete with")

    def _remove(self) -> None:
        with suppress(OSError):
            self._path.unlink()


def _free(file: int) -> int:
    """Bytes that this user may still write on the disk of an open file."""
    disk = os.fstatvfs(file)
    return disk.f_frsize * (disk.f_bfree if os.geteuid() == 0 else disk.f_bavail)
