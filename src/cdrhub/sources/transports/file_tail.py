"""Following a growing log file of lines, across restarts, rotation and truncation.

How far the file was read is remembered with the records: its inode, the offset after the last complete line, a digest
of the bytes before that offset, and when the file was last written to. The digest is there because inode numbers are
used again, and because a truncated file can grow past the offset unseen.

A replaced file is read to its end before its successor is begun, also if it was replaced while nobody followed it: then
it is found in its folder by its inode or, as a copy (`copytruncate`), by the digest. After it come the former parts of
the log that were written to later (rotated.py), in order, then the log. The coverage says of what is packed or gone
from when to when it was not seen. An incomplete last line waits for its end. The files are only read.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from hashlib import blake2b
from pathlib import Path
from typing import NoReturn

import orjson
import structlog

from cdrhub.errors import NotConnected
from cdrhub.sources.base import TOO_LONG, Intake
from cdrhub.sources.transports.lines import UNTERMINATED, LineFormat, LineFramer, LineSink
from cdrhub.sources.transports.patience import tell_blind
from cdrhub.sources.transports.rotated import parts, siblings

log = structlog.get_logger(__name__)

READ_BYTES = 262_144
FINGERPRINT_BYTES = 256  #: before the offset; a 3CX line has about 300
POSITION_KEY = "file"


@dataclass(frozen=True, kw_only=True, slots=True)
class Mark:
    """How far a file was read."""

    inode: int
    offset: int  #: bytes
    fingerprint: str  #: of the FINGERPRINT_BYTES before the offset
    changed_ns: int = 0  #: when it was written to last, as far as it was read; 0 where an earlier version remembered it

    def encode(self) -> str:
        """As it is remembered."""
        return orjson.dumps(self).decode()

    @classmethod
    def decode(cls, text: str | None) -> Mark | None:
        """The mark that was remembered; None if there is none or it is of another form."""
        try:
            said = orjson.loads(text or "null")
            return cls(
                inode=int(said["inode"]),
                offset=int(said["offset"]),
                fingerprint=str(said["fingerprint"]),
                changed_ns=int(said.get("changed_ns", 0)),
            )
        except (orjson.JSONDecodeError, KeyError, TypeError, ValueError):
            return None


class FollowedFile:
    """An open file and how far it was read."""

    def __init__(self, path: Path, *, max_line: int) -> None:
        self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        self.inode = os.fstat(self._descriptor).st_ino
        self.framer = LineFramer(max_line)
        self._read_to = 0

    def close(self) -> None:
        """Let go of the file."""
        os.close(self._descriptor)

    def read(self) -> bytes:
        """What follows, up to READ_BYTES; `b""` at the end as it is now."""
        chunk = os.pread(self._descriptor, READ_BYTES, self._read_to)
        self._read_to += len(chunk)
        return chunk

    def mark(self) -> Mark:
        """Where to go on: after the last complete line."""
        offset = self._read_to - self.framer.pending
        changed_ns = os.fstat(self._descriptor).st_mtime_ns
        return Mark(inode=self.inode, offset=offset, fingerprint=self._fingerprint(offset), changed_ns=changed_ns)

    def fits(self, mark: Mark) -> bool:
        """Whether this file still is the one that was read up to `mark`: not truncated, not written anew."""
        return os.fstat(self._descriptor).st_size >= mark.offset and self._fingerprint(mark.offset) == mark.fingerprint

    def seek(self, offset: int) -> None:
        """Go on at `offset` with nothing pending."""
        self._read_to = offset

    def _fingerprint(self, offset: int) -> str:
        start = max(0, offset - FINGERPRINT_BYTES)
        return blake2b(os.pread(self._descriptor, offset - start, start), digest_size=16).hexdigest()


@dataclass(frozen=True, kw_only=True, slots=True)
class _Unread:
    """A part of the log that is passed over."""

    what: str  #: what is counted
    why: str
    since_ns: int  #: when the part before it was written to last
    until_ns: int  #: when it was


class FileTail:
    """Follows `path` and hands its lines to a sink, in order, from where the last session stopped."""

    def __init__(
        self,
        path: Path,
        *,
        line_format: LineFormat,
        sink: LineSink,
        intake: Intake,
        poll_seconds: float,
    ) -> None:
        self._path = path
        self._format = line_format
        self._sink = sink
        self._intake = intake
        self._poll_seconds = poll_seconds
        self._catching_up = True
        self._whole = True  #: whether all that was written since the last session has been read, as far as is known
        self._linked: bool | None = None  #: None until the first look

    async def follow(self) -> NoReturn:
        """Follow until cancelled. NotConnected when the file exists and cannot be read; one that does not exist yet
        is waited for."""
        try:
            mark = Mark.decode(self._intake.position(POSITION_KEY))
            self._whole = mark is not None
            at_its_end = False
            while True:
                file = await self._begin(mark, at_its_end=at_its_end)
                try:
                    mark, at_its_end = await self._read_until_replaced(file)
                finally:
                    file.close()
        except OSError as error:
            raise NotConnected(f"{self._path.name} cannot be read: {error.strerror or error}") from error
        finally:
            self._link(up=False, detail="no longer followed")

    async def _begin(self, mark: Mark | None, *, at_its_end: bool) -> FollowedFile:
        """The file to read next, at the right place; waits until there is one."""
        if mark is not None and not at_its_end:
            found = await _opened_in_thread(partial(self._marked, mark))
            if found is not None:
                return found
        lost = mark if not at_its_end else None
        while True:
            passed: list[_Unread] = []
            file = await _opened_in_thread(partial(self._behind, mark, passed, at_its_end=at_its_end))
            if file is not None:
                with ExitStack() as unless_begun:
                    unless_begun.callback(file.close)
                    await self._say_unread(lost, passed)
                    unless_begun.pop_all()
                return file
            self._catching_up = False
            self._absent()
            await asyncio.sleep(self._poll_seconds)

    def _behind(self, mark: Mark | None, passed: list[_Unread], *, at_its_end: bool) -> FollowedFile | None:
        """What was written next after the part of `mark`: another part, or the log itself. What is passed over before
        that is added to `passed`."""
        if mark is not None and mark.changed_ns:
            before_ns = mark.changed_ns
            for part in parts(self._path):
                if part.changed_ns <= before_ns or (at_its_end and part.inode == mark.inode):
                    continue
                what, why = "file_packed", "was packed before it was read"
                if not part.packed:
                    try:
                        file = self._opened(part.path, inode=part.inode)
                    except PermissionError:
                        what, why = "file_unreadable", "may not be read"
                    else:
                        if file is not None:
                            return file
                        continue
                passed.append(
                    _Unread(what=what, why=f"{part.path.name} {why}", since_ns=before_ns, until_ns=part.changed_ns)
                )
                before_ns = part.changed_ns
        return self._opened(self._path)

    def _marked(self, mark: Mark) -> FollowedFile | None:
        """The file that `mark` belongs to, ready to read on from there: under its own name, renamed in its folder, or a
        copy."""
        try:
            its = [self._path, *siblings(self._path, inode=mark.inode)]
            copies = [part.path for part in parts(self._path) if not part.packed and mark.offset]
        except FileNotFoundError:
            return None
        copies = [path for path in copies if os.access(path, os.R_OK, effective_ids=True)]
        for path, inode in [*((path, mark.inode) for path in its), *((path, None) for path in copies)]:
            file = self._opened(path, inode=inode)
            if file is None:
                continue
            with ExitStack() as unless_it_is:
                unless_it_is.callback(file.close)
                if file.fits(mark):
                    file.seek(mark.offset)
                    unless_it_is.pop_all()
                    return file
        return None

    def _opened(self, path: Path, *, inode: int | None = None) -> FollowedFile | None:
        """The file of that name; None if there is none, or if it has another inode."""
        try:
            file = FollowedFile(path, max_line=self._format.max_line)
        except FileNotFoundError:
            return None
        if inode is None or file.inode == inode:
            return file
        file.close()
        return None

    async def _read_until_replaced(self, file: FollowedFile) -> tuple[Mark, bool]:
        """How far the file was read, and whether to its end: not if it was emptied and a copy of it lies beside."""
        mark = file.mark()
        replaced = False
        read_all_ns = reached_end_ns = time.time_ns()
        while True:
            if await asyncio.to_thread(file.fits, mark):
                read_all_ns = reached_end_ns
            else:
                self._intake.count("file_truncated")
                if (copy := await _opened_in_thread(partial(self._marked, mark))) is not None:
                    copy.close()
                    return mark, False
                await self._say_unseen("the file was emptied", since_ns=read_all_ns)
                rest = file.framer.close()
                file.seek(0)
                mark = await asyncio.to_thread(file.mark)
                await self._hand_over_rest(rest, mark)
            while chunk := await asyncio.to_thread(file.read):
                mark = await self._hand_over(file, chunk)
            reached_end_ns = time.time_ns()
            if replaced:
                rest = file.framer.close()
                mark = await asyncio.to_thread(file.mark)
                await self._hand_over_rest(rest, mark)
                return mark, True
            replaced = await self._is_replaced(file)
            if self._catching_up and not replaced:
                self._catching_up = False
                if self._whole:
                    self._intake.caught_up(f"read from {self._path.name}")
            await asyncio.sleep(self._poll_seconds)  # whoever rotates may still write to the old file for a moment

    async def _say_unread(self, lost: Mark | None, passed: Sequence[_Unread]) -> None:
        if lost is not None:
            self._whole = False
            self._intake.count("file_not_recognised")
            if lost.changed_ns and not passed:
                await self._say_unseen("the file that was read last is gone", since_ns=lost.changed_ns)
        for part in passed:
            self._whole = False
            self._intake.count(part.what)
            await self._say_unseen(part.why, since_ns=part.since_ns, until_ns=part.until_ns)

    async def _say_unseen(self, why: str, *, since_ns: int, until_ns: int | None = None) -> None:
        """Write to the coverage, and to the log, from when to when what was written to the log was not read."""
        since = _moment(since_ns)
        until = max(since, datetime.now(UTC) if until_ns is None else _moment(until_ns))
        log.warning(
            "a part of the log was not read: `cdrhub import` brings it in where it still is",
            action="log_part_unread",
            file=str(self._path),
            why=why,
            since=since.isoformat(),
            until=until.isoformat(),
        )
        await tell_blind(self._intake, since=since, until=until, detail=why)

    async def _hand_over(self, file: FollowedFile, chunk: bytes) -> Mark:
        framed = file.framer.feed(chunk)
        reached = await asyncio.to_thread(file.mark)
        position = (POSITION_KEY, reached.encode())
        if framed.too_long:
            self._intake.count("too_long", len(framed.too_long))
            await self._sink.take(framed.too_long, attributes={**self._attributes(), TOO_LONG: True})
        if framed.lines:
            await self._sink.take(framed.lines, attributes=self._attributes(), position=position)
        return reached

    async def _hand_over_rest(self, rest: bytes, mark: Mark) -> None:
        if rest:
            self._intake.count("unterminated")
            await self._sink.take(
                [rest], attributes={**self._attributes(), UNTERMINATED: True}, position=(POSITION_KEY, mark.encode())
            )

    async def _is_replaced(self, file: FollowedFile) -> bool:
        try:
            inode = (await asyncio.to_thread(self._path.stat)).st_ino
        except FileNotFoundError:
            self._link(up=False, detail="the file is gone")
            return False
        self._link(up=True)
        return inode != file.inode

    def _attributes(self) -> dict[str, object]:
        where: dict[str, object] = {"path": str(self._path)}
        return where | {"live": False} if self._catching_up else where

    def _absent(self) -> None:
        """Say once that the file does not exist, also if it never did."""
        if self._linked is not False:
            self._intake.link_down(str(self._path), "the file does not exist")
        self._linked = False

    def _link(self, *, up: bool, detail: str = "") -> None:
        if up and not self._linked:
            self._intake.link_up(str(self._path))
        elif self._linked and not up:
            self._intake.link_down(str(self._path), detail)
        self._linked = up


async def _opened_in_thread(look: Callable[[], FollowedFile | None]) -> FollowedFile | None:
    """What `look` opens, in a thread. Who waits for it may be cancelled: what is opened all the same is closed."""
    looking = asyncio.ensure_future(asyncio.to_thread(look))
    try:
        return await asyncio.shield(looking)
    except asyncio.CancelledError:
        looking.add_done_callback(_close_again)
        raise


def _close_again(looking: asyncio.Future[FollowedFile | None]) -> None:
    if not looking.cancelled() and looking.exception() is None and (file := looking.result()) is not None:
        file.close()


def _moment(ns: int) -> datetime:
    return datetime.fromtimestamp(ns / 1e9, tz=UTC)
