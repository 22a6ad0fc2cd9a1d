"""Following a growing log file of lines, across restarts, rotation and truncation.

What was read is remembered with the records themselves: file (inode), offset after the last complete line, and a
digest of the bytes before it, for inode numbers are used again and a truncated file can have grown past the offset
unseen. A replaced file is read to its end before its successor is begun, also when it was replaced while nobody
followed it, if it still lies in the same folder. Half a last line waits until it is complete. The file is only read.
"""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import NoReturn

import orjson

from cdrhub.errors import NotConnected
from cdrhub.sources.base import TOO_LONG, Intake
from cdrhub.sources.transports.lines import LineFormat, LineFramer, LineSink

POLL_SECONDS = 0.5
READ_BYTES = 262_144
FINGERPRINT_BYTES = 256  #: before the offset; a 3CX line has about 300
MAX_SIBLINGS = 10_000  #: files of the folder that are looked at for one that was renamed
POSITION_KEY = "file"


@dataclass(frozen=True, kw_only=True, slots=True)
class Mark:
    """How far a file was read."""

    inode: int
    offset: int  #: bytes
    fingerprint: str  #: of the FINGERPRINT_BYTES before the offset

    def encode(self) -> str:
        """As it is remembered."""
        return orjson.dumps({"inode": self.inode, "offset": self.offset, "fingerprint": self.fingerprint}).decode()

    @classmethod
    def decode(cls, text: str | None) -> Mark | None:
        """The mark that was remembered; None if there is none or it is of another form."""
        try:
            said = orjson.loads(text or "null")
            return cls(inode=int(said["inode"]), offset=int(said["offset"]), fingerprint=str(said["fingerprint"]))
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
        return Mark(inode=self.inode, offset=offset, fingerprint=self._fingerprint(offset))

    def fits(self, mark: Mark) -> bool:
        """Whether this file still is the one that was read up to `mark`: not truncated, not written anew."""
        return os.fstat(self._descriptor).st_size >= mark.offset and self._fingerprint(mark.offset) == mark.fingerprint

    def seek(self, offset: int) -> None:
        """Go on at `offset` with nothing pending."""
        self._read_to = offset

    def _fingerprint(self, offset: int) -> str:
        start = max(0, offset - FINGERPRINT_BYTES)
        return blake2b(os.pread(self._descriptor, offset - start, start), digest_size=16).hexdigest()


class FileTail:
    """Follows `path` and hands its lines to a sink, in order, from where the last session stopped."""

    def __init__(
        self,
        path: Path,
        *,
        line_format: LineFormat,
        sink: LineSink,
        intake: Intake,
        poll_seconds: float = POLL_SECONDS,
    ) -> None:
        self._path = path
        self._format = line_format
        self._sink = sink
        self._intake = intake
        self._poll_seconds = poll_seconds
        self._catching_up = True
        self._linked = False

    async def follow(self) -> NoReturn:
        """Follow until cancelled. NotConnected when the file exists and cannot be read; one that does not exist yet
        is waited for."""
        try:
            mark = Mark.decode(self._intake.position(POSITION_KEY))
            while True:
                file = await self._begin(mark)
                try:
                    await self._read_until_replaced(file)
                finally:
                    file.close()
                mark = None
        except OSError as error:
            raise NotConnected(f"{self._path.name} cannot be read: {error.strerror or error}") from error
        finally:
            self._link(up=False, detail="no longer followed")

    async def _begin(self, mark: Mark | None) -> FollowedFile:
        """The file to read next, at the right place; waits until there is one."""
        while True:
            file = await asyncio.to_thread(self._open, mark)
            if file is not None:
                self._link(up=True)
                return file
            self._catching_up = False
            self._link(up=False, detail="the file does not exist")
            await asyncio.sleep(self._poll_seconds)

    def _open(self, mark: Mark | None) -> FollowedFile | None:
        if mark is not None and (found := self._marked(mark)) is not None:
            found.seek(mark.offset)
            return found
        try:
            file = FollowedFile(self._path, max_line=self._format.max_line)
        except FileNotFoundError:
            return None
        if mark is not None:
            self._intake.count("file_not_recognised")
        return file

    def _marked(self, mark: Mark) -> FollowedFile | None:
        """The file that `mark` is of, under its own name or renamed within its folder."""
        candidates = [self._path]
        try:
            with os.scandir(self._path.parent) as entries:
                for _, entry in zip(range(MAX_SIBLINGS), entries, strict=False):
                    if entry.inode() == mark.inode and entry.name != self._path.name:
                        candidates.append(Path(entry.path))
        except FileNotFoundError:
            return None
        for path in candidates:
            try:
                file = FollowedFile(path, max_line=self._format.max_line)
            except FileNotFoundError:
                continue
            if file.inode == mark.inode and file.fits(mark):
                return file
            file.close()
        return None

    async def _read_until_replaced(self, file: FollowedFile) -> None:
        mark = file.mark()
        replaced = False
        while True:
            if not await asyncio.to_thread(file.fits, mark):
                self._intake.count("file_truncated")
                rest = file.framer.close()
                file.seek(0)
                mark = await asyncio.to_thread(file.mark)
                await self._hand_over_rest(rest, mark)
            while chunk := await asyncio.to_thread(file.read):
                mark = await self._hand_over(file, chunk)
            if replaced:
                rest = file.framer.close()
                await self._hand_over_rest(rest, await asyncio.to_thread(file.mark))
                return
            replaced = await self._is_replaced(file)
            self._catching_up = self._catching_up and replaced
            await asyncio.sleep(self._poll_seconds)  # whoever rotates may still write to the old file for a moment

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
                [rest], attributes={**self._attributes(), "unterminated": True}, position=(POSITION_KEY, mark.encode())
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

    def _link(self, *, up: bool, detail: str = "") -> None:
        if up and not self._linked:
            self._intake.link_up(str(self._path))
        elif self._linked and not up:
            self._intake.link_down(str(self._path), detail)
        self._linked = up
