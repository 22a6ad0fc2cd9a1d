"""Former parts of a log that lie beside it: what logrotate, or whoever writes the log, has put aside.

Known by their names: that of the log and a number or a date, before its suffix or behind it (`cdr.log.1`,
`cdr.log-20261122`, `cdr.1.log`, `cdr-20261122.log`). With the suffix of a packer (`cdr.log.2.gz`) it is packed. The
file of one call, `cdr-240617055949.288831.log`, is none.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

MAX_SIBLINGS = 10_000  #: files of the folder that are looked at
_NUMBER = r"[._-]\d[\d_-]*"
_PACKED = r"\.(?:gz|bz2|xz|zst|lz4|zip|Z)"


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """One former part."""

    path: Path
    inode: int
    changed_ns: int  #: when it was written to last; packing keeps it
    packed: bool


def siblings(log: Path, *, inode: int) -> list[Path]:
    """The files of the folder, other than `log` itself, that are this one."""
    with os.scandir(log.parent) as entries:
        return [
            Path(entry.path)
            for entry in islice(entries, MAX_SIBLINGS)
            if entry.inode() == inode and entry.name != log.name
        ]


def parts(log: Path) -> list[Part]:
    """The former parts of `log` in its folder, that which was written to first first."""
    stem, suffix = re.escape(log.stem), re.escape(log.suffix)
    known = re.compile(rf"{stem}(?:{suffix})?{_NUMBER}(?:{suffix})?(?P<packed>{_PACKED})?")
    found = []
    with os.scandir(log.parent) as entries:
        for entry in islice(entries, MAX_SIBLINGS):
            name = known.fullmatch(entry.name)
            if name is None or entry.name == log.name or not os.path.isfile(entry.path):  # noqa: PTH113 - it is text
                continue
            try:
                status = entry.stat()
            except FileNotFoundError:  # rotated on while we look
                continue
            packed = name["packed"] is not None
            found.append(Part(path=Path(entry.path), inode=status.st_ino, changed_ns=status.st_mtime_ns, packed=packed))
    return sorted(found, key=lambda part: (part.changed_ns, part.path))
