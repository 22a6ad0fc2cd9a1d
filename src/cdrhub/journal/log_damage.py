"""What SQLite leaves out of its write-ahead log without a word.

For SQLite the log ends at the first frame that is not as it was written: so it undoes what a power cut left of the last
transaction. But a commit that a further transaction went on from (the checksum of each frame goes on from the one
before) had returned, and its records were acknowledged: that SQLite does not read it means that the disk did not keep
the log. Of the last two transactions nobody can know. The layout of the files: https://www.sqlite.org/walformat.html
"""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from struct import Struct, iter_unpack

_LOG = "-wal"
_KEPT = "-wal.damaged-"
KEPT_LOGS = 8  #: copies, of some 10 MB each; the oldest goes when there is a further one
_HEADER = Struct(">6I2I")  #: magic, version, page size, number, two salts; their checksum
_FRAME = Struct(">2I2I2I")  #: page, pages of the database if it is a commit; the salts; the checksum up to here
_FRAMES_READ = Struct("=I")
_FRAMES_READ_AT = 16  #: in the index
_WORD = (1 << 32) - 1


@dataclass(frozen=True, kw_only=True, slots=True)
class KeptLog:
    """A copy that was made."""

    file: Path
    removed: Sequence[Path]  #: older copies, which were one too many


def keep_damaged_log(path: Path, connection: sqlite3.Connection) -> KeptLog | None:
    """A copy of the log of the database at `path`, if it is damaged and before anything is written over it. The
    connection must have read. Raises OSError and sqlite3.Error."""
    log = Path(f"{path}{_LOG}")
    if not log.exists() or log.stat().st_size <= _HEADER.size:
        return None
    (page_size,) = connection.execute("PRAGMA page_size").fetchone()
    with Path(f"{path}-shm").open("rb") as index:
        index.seek(_FRAMES_READ_AT)
        (read,) = _FRAMES_READ.unpack(index.read(_FRAMES_READ.size))
    if not _leaves_commits_out(log, page_size=page_size, read=read):
        return None
    kept = Path(f"{path}{_KEPT}{log.stat().st_mtime_ns // 10**9}")
    shutil.copy2(log, kept)
    for written in (kept, kept.parent):
        file = os.open(written, os.O_RDONLY)
        try:
            os.fsync(file)
        finally:
            os.close(file)
    removed = kept_logs(path)[:-KEPT_LOGS]
    for older in removed:
        older.unlink()
    return KeptLog(file=kept, removed=removed)


def kept_logs(path: Path) -> list[Path]:
    """Every copy that is still there, from the oldest log on."""
    return sorted(path.parent.glob(f"{path.name}{_KEPT}*"))


def _leaves_commits_out(log: Path, *, page_size: int, read: int) -> bool:
    """Whether a commit behind the first `read` frames, whole itself, is followed by a frame that goes on from it. The
    head of one that is not whole may be half of an older frame's."""
    size = _FRAME.size + page_size
    with log.open("rb") as file:
        header = file.read(_HEADER.size)
        *_, salt1, salt2, sum1, sum2 = _HEADER.unpack(header)
        newest = (salt1, salt2) if _checksum((0, 0), header[:-8]) == (sum1, sum2) else None
        file.seek(_HEADER.size + read * size)
        before: tuple[int, int] | None = None
        committed = False
        while len(frame := file.read(size)) == size:
            _, pages, salt1, salt2, *checksum = _FRAME.unpack_from(frame)
            asked = before is not None and (committed or pages) and newest in (None, (salt1, salt2))
            whole = asked and list(_checksum(before or (0, 0), frame[:8] + frame[_FRAME.size :])) == checksum
            if committed and whole:
                return True
            committed = bool(pages and whole)
            before = (checksum[0], checksum[1])
    return False


def _checksum(since: tuple[int, int], data: bytes) -> tuple[int, int]:
    """Goes on from the checksum `since`; of words in the order of this machine."""
    first, second = since
    for one, other in iter_unpack("=II", data):
        first = (first + one + second) & _WORD
        second = (second + other + first) & _WORD
    return first, second
