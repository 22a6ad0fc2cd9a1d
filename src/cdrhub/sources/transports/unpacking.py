"""Bodies that are packed (`Content-Encoding`, RFC 9110, 8.4), unpacked within bounds.

The HTTP server is told to leave bodies packed: left to itself it answers what it cannot unpack, and nobody here hears
of the request.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import Any, Final

UNPACKED: Final = "gzip, deflate"  #: as a header `Accept-Encoding` says it
INPUT_BYTES = 1_024  #: unpacked at once; of a damaged body the piece with the damage is lost
_GZIP, _ZLIB, _RAW = 31, 15, -15  #: `wbits` of https://docs.python.org/3/library/zlib.html#zlib.decompress
_DEFLATE_METHOD = 8  #: the lower half of a zlib stream's first byte (RFC 1950)


class Unpacker:
    """One body. `encoding` is `gzip` or `deflate`; the latter also without the head that RFC 1950 wants, as some
    write it."""

    def __init__(self, encoding: str) -> None:
        self._gzip = encoding == "gzip"
        self._stream: Any = None
        self._begun = False

    def unpack(self, packed: bytes, *, at_most: int) -> tuple[bytes, bool]:
        """Unpack the next bytes of the body: the result, `at_most` bytes of it, and whether the body is damaged there.
        What lies beyond that limit or the damage is dropped."""
        found = bytearray()
        for at in range(0, len(packed), INPUT_BYTES):
            rest = packed[at : at + INPUT_BYTES]
            while (rest := self._without_fill(rest)) and len(found) < at_most:
                try:
                    stream = self._open(rest)
                    found += stream.decompress(rest, at_most - len(found))
                except zlib.error:
                    return bytes(found), True
                rest = stream.unused_data
                if stream.eof:
                    self._stream = None
        return bytes(found), False

    @property
    def complete(self) -> bool:
        """Whether the body has come to its end; an empty one has."""
        return not self._begun or self._stream is None

    def _open(self, beginning: bytes) -> Any:
        if self._stream is None:
            if self._begun and not self._gzip:
                raise zlib.error("there is more behind the end")
            raw = not self._gzip and beginning[0] & 0xF != _DEFLATE_METHOD
            self._stream = zlib.decompressobj(_GZIP if self._gzip else _RAW if raw else _ZLIB)
            self._begun = True
        return self._stream

    def _without_fill(self, packed: bytes) -> bytes:
        """`packed` without the zeros that may fill up the space between two streams of gzip."""
        between = self._gzip and self._begun and self._stream is None
        return packed.lstrip(b"\0") if between else packed


def encoding_of(headers: Sequence[str]) -> str:
    """How a body is packed, by its headers `Content-Encoding`: `gzip`, `deflate`, empty for not at all; anything else
    is their words, and nobody here unpacks it."""
    words = [word.strip().lower() for header in headers for word in header.split(",")]
    words = [word.removeprefix("x-") if word == "x-gzip" else word for word in words if word not in ("", "identity")]
    return ", ".join(words)
