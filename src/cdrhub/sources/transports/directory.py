"""A folder with one file per call: each is read once, when it is complete, in the order of names.

Files are never renamed, moved or deleted: the folder belongs to the phone system. What was read is remembered by
name, size and time of change, together with the records; a file that grows later is read again, and its old lines
are known by their digests. A file whose last line is not terminated counts as half-written until it has kept its size
for a while. One that cannot be read is logged, tried again with every full scan, and holds up no other; while it is the
newest, the source is not connected. One that is removed while the folder is watched is forgotten, so that what is
remembered does not grow for ever; should it come back, its lines are known by their digests.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import NoReturn

import structlog

from cdrhub.errors import IntakeRefused, NotConnected
from cdrhub.parts import in_parts
from cdrhub.sources.base import TOO_LONG, Intake
from cdrhub.sources.transports.lines import UNTERMINATED, LineFormat, LineFramer, LineSink
from cdrhub.surrogates import without_surrogates
from cdrhub.turns import Turn

log = structlog.get_logger(__name__)

SETTLED_SECONDS = 5.0  #: that a file without a last newline must keep its size
FULL_SCAN_SECONDS = 60.0  #: between two looks at files that changed without the folder changing
READ_BYTES = 262_144
POSITION_PREFIX = "read:"
FORGOTTEN_AT_ONCE = 200  #: files that are gone, in one commit of the journal


@dataclass(frozen=True, slots=True)
class _Seen:
    """One look at a file."""

    size: int
    changed_ns: int

    def encode(self) -> str:
        return f"{self.size} {self.changed_ns}"


class DirectoryWatch:
    """Reads every file of `folder` whose name matches `pattern` (shell style, case-sensitive)."""

    def __init__(
        self,
        folder: Path,
        *,
        pattern: str,
        line_format: LineFormat,
        sink: LineSink,
        intake: Intake,
        poll_seconds: float,
        settled_seconds: float = SETTLED_SECONDS,
        full_scan_seconds: float = FULL_SCAN_SECONDS,
    ) -> None:
        self._folder = folder
        self._pattern = pattern
        self._format = line_format
        self._sink = sink
        self._intake = intake
        self._poll_seconds = poll_seconds
        self._settled_seconds = settled_seconds
        self._full_scan_seconds = full_scan_seconds
        self._waiting: dict[str, tuple[_Seen, float]] = {}  # half-written: last look, and since when it looks so
        self._unreadable: Mapping[str, OSError] = {}  # at the last look
        self._names: set[str] = set()  # at the last look
        self._knows_some = False  # whether it was this folder that was read before

    async def watch(self) -> NoReturn:
        """Watch until cancelled. NotConnected when the folder, or the newest file in it, cannot be read."""
        loop = asyncio.get_running_loop()
        link = str(self._folder)
        changed_ns: int | None = None
        next_full = 0.0
        live = False
        try:
            changed = (await asyncio.to_thread(self._folder.stat)).st_mtime_ns
            try:
                while True:
                    if changed != changed_ns or self._waiting or loop.time() >= next_full:
                        changed_ns, next_full = changed, loop.time() + self._full_scan_seconds
                        await self._read_new(live=live)
                        if not live:
                            self._intake.link_up(link)  # what was written before is read: now it is seen
                        if not live and self._knows_some and not self._waiting and not self._unreadable:
                            self._intake.caught_up(f"read from {self._folder.name}")
                        live = True
                    await asyncio.sleep(self._poll_seconds)
                    changed = (await asyncio.to_thread(self._folder.stat)).st_mtime_ns
            finally:
                self._intake.link_down(link, "no longer watched")
        except OSError as error:
            raise NotConnected(f"{self._folder.name} cannot be read: {error.strerror or error}") from error

    async def _read_new(self, *, live: bool) -> None:
        present, unreadable = await asyncio.to_thread(self._scan)
        for name in self._waiting.keys() - present.keys():
            del self._waiting[name]
        turn = Turn()
        unread = []
        for name, seen in present.items():
            await turn.give_way()  # a folder that nobody tidies up has hundreds of thousands
            remembered = self._intake.position(POSITION_PREFIX + name)
            self._knows_some = self._knows_some or remembered is not None
            if remembered != seen.encode():
                unread.append(name)
        for name in sorted(unread):
            try:
                await self._read(name, present[name], live=live)
            except FileNotFoundError:  # removed while we looked
                continue
            except OSError as error:
                unreadable[name] = error
        newest = max(present, key=lambda name: present[name].changed_ns, default=next(iter(unreadable), ""))
        if newest in unreadable:  # then nothing that comes is seen, whatever was read before
            why, name = unreadable[newest], without_surrogates(newest)
            raise NotConnected(f"{name}, the newest in {self._folder.name}, cannot be read: {why.strerror}") from why
        self._say_unreadable(unreadable)
        there = present.keys() | unreadable.keys()
        await self._forget(self._names - there)
        self._names |= there

    async def _forget(self, gone: Collection[str]) -> None:
        for some in in_parts(sorted(gone), FORGOTTEN_AT_ONCE):
            try:
                await self._intake.forget([POSITION_PREFIX + name for name in some])
            except IntakeRefused:  # they are forgotten at a later look
                self._intake.count("not_forgotten", len(some))
                return
            self._names.difference_update(some)

    def _say_unreadable(self, unreadable: Mapping[str, OSError]) -> None:
        if new := unreadable.keys() - self._unreadable.keys():
            first = min(new)
            self._intake.count("file_unreadable", len(new))
            log.warning(
                "files cannot be read",
                action="file_unreadable",
                folder=str(self._folder),
                files=len(new),
                first=first,
                error=unreadable[first].strerror,
            )
        self._unreadable = unreadable

    def _scan(self) -> tuple[Mapping[str, _Seen], dict[str, OSError]]:
        found = {}
        unreadable = {}
        with os.scandir(self._folder) as entries:
            for entry in entries:
                if fnmatchcase(entry.name, self._pattern):
                    try:
                        status = entry.stat()
                    except FileNotFoundError:  # removed while we looked
                        continue
                    except OSError as error:
                        unreadable[entry.name] = error
                        continue
                    if os.path.isfile(entry.path):  # noqa: PTH113 - entry.path is text, and there may be very many
                        found[entry.name] = _Seen(status.st_size, status.st_mtime_ns)
        return found, unreadable

    async def _read(self, name: str, seen: _Seen, *, live: bool) -> None:
        path = self._folder / name
        if not await asyncio.to_thread(_is_terminated, path, seen.size) and not self._has_settled(name, seen):
            return
        self._waiting.pop(name, None)
        attributes: dict[str, object] = {"path": str(path)}
        if not live:
            attributes["live"] = False
        framer = LineFramer(self._format.max_line)
        read_to, its_mark = 0, (POSITION_PREFIX + name, seen.encode())
        while chunk := await asyncio.to_thread(_read_at, path, read_to, seen.size):
            read_to += len(chunk)
            framed = framer.feed(chunk)
            if framed.too_long:
                self._intake.count("too_long", len(framed.too_long))
                await self._sink.take(framed.too_long, attributes={**attributes, TOO_LONG: True})
            if framed.lines:
                is_last = read_to >= seen.size and not framer.pending
                await self._sink.take(framed.lines, attributes=attributes, position=its_mark if is_last else None)
                if is_last:
                    return
        rest = framer.close()
        if rest:
            self._intake.count("unterminated")
        await self._sink.take(
            [rest] if rest else [],
            attributes={**attributes, UNTERMINATED: True} if rest else attributes,
            position=its_mark,
        )

    def _has_settled(self, name: str, seen: _Seen) -> bool:
        now = asyncio.get_running_loop().time()
        last, since = self._waiting.get(name, (None, now))
        if last != seen:
            since = now
        self._waiting[name] = (seen, since)
        return now - since >= self._settled_seconds


def _is_terminated(path: Path, size: int) -> bool:
    return size > 0 and _read_at(path, size - 1, size) == b"\n"


def _read_at(path: Path, offset: int, size: int) -> bytes:
    file = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)  # a pipe that took its place is not waited for
    try:
        return os.pread(file, min(READ_BYTES, size - offset), offset)
    finally:
        os.close(file)
