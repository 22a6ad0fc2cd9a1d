"""Framing of line-oriented records: bytes in, complete lines out. No I/O.

TCP may split and join records anywhere, and a reader that does not carry the rest over loses or mutilates some. The
framer gives the same lines however its input was cut: what follows the last newline waits for more bytes. A line ends
in LF, one CR before it is taken off, blank lines are dropped, every other byte survives (NUL, binary, any encoding)
but the byte order mark that a writer of UTF-8 may begin its stream with: with it the first record would be another one
than without. A line over the limit is given up to the limit, apart from the others, and reading goes on at the next
newline.
"""

from __future__ import annotations

from codecs import BOM_UTF8
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

DEFAULT_MAX_LINE = 65_536  #: bytes of one line, without its end

UNTERMINATED = "unterminated"
"""Record attribute, true for what came after the last newline of a stream that has ended: it may be half a line."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LineFormat:
    """What a transport must know of a system's lines."""

    is_record: Callable[[bytes], bool]  #: whether a line can be this system's; a foreign one is kept too, to a limit
    max_line: int = DEFAULT_MAX_LINE


class LineSink(Protocol):
    """Where a transport hands lines over."""

    async def take(
        self, lines: Sequence[bytes], *, attributes: Mapping[str, Any], position: tuple[str, str] | None = None
    ) -> None:
        """Make `lines` durable, in order, and remember `position` with them; waits as long as that takes."""


@dataclass(frozen=True, slots=True)
class Framed:
    """What one chunk of bytes completed, in order; `too_long` are the first parts of lines over the limit."""

    lines: Sequence[bytes]
    too_long: Sequence[bytes] = ()


class LineFramer:
    """The state between two chunks of one stream: at most `max_line` + 1 bytes."""

    def __init__(self, max_line: int = DEFAULT_MAX_LINE) -> None:
        self._max_line = max_line
        self._rest = bytearray()
        self._skipping = False
        self._first = True

    def feed(self, chunk: bytes) -> Framed:
        """The lines that `chunk` completed."""
        cut = chunk.rfind(b"\n")
        if cut < 0:
            return Framed((), self._wait_for_more(chunk))
        ended = bytes(self._rest) + chunk[:cut] if self._rest else chunk[:cut]
        parts = ended.split(b"\n")
        self._rest.clear()
        if self._first:
            self._first = False
            parts[0] = parts[0].removeprefix(BOM_UTF8)
        if self._skipping:
            self._skipping = False
            del parts[0]
        limit = self._max_line
        lines, too_long = [], []
        for part in parts:
            line = part[:-1] if part.endswith(b"\r") else part
            if len(line) > limit:
                too_long.append(line[:limit])
            elif line and not line.isspace():
                lines.append(line)
        too_long.extend(self._wait_for_more(chunk[cut + 1 :]))
        return Framed(lines, too_long)

    def _wait_for_more(self, piece: bytes) -> Sequence[bytes]:
        if self._skipping:
            return ()
        self._rest += piece
        if len(self._rest) <= self._max_line + 1:  # the last byte may be the CR of a line that just fits
            return ()
        first = bytes(self._rest[: self._max_line])
        self._rest.clear()
        self._skipping = True
        return (first,)

    @property
    def pending(self) -> int:
        """Bytes that wait for the end of their line."""
        return len(self._rest)

    def close(self) -> bytes:
        """The unterminated rest at the end of the stream, `b""` if there is none (or only blanks)."""
        rest = bytes(self._rest)
        if self._first:
            rest = rest.removeprefix(BOM_UTF8)
        self._rest.clear()
        self._skipping = False
        self._first = True
        rest = rest.removesuffix(b"\r")
        return b"" if rest.isspace() else rest
