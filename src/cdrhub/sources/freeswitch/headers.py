"""The headers of one Event Socket event, read when they are asked for.

An event has 10 to 400 headers and a decoder wants twenty, so nothing is parsed that nobody named. Of a plain event
the text is split at newlines first and a value is url-decoded after that: FreeSWITCH leaves a `%0A` that was in a
caller's name as it is, so that decoding first would let a caller write headers. Only `\\n` ends a line.
https://developer.signalwire.com/freeswitch/FreeSWITCH-Explained/Modules/mod_event_socket_1048924/
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from typing import Any, Protocol
from urllib.parse import unquote

MAX_EVENT_BYTES = 1 << 20  #: of one event, headers and body; FreeSWITCH's largest in the field is some 40 KB
UNDEFINED = "_undef_"  #: how a plain event writes an empty value

_UNDEFINED = UNDEFINED.encode()
_EMPTY_LINE = re.compile(rb"\n\n")  #: `bytes.find` stops at each single newline: two to three times as slow


class Headers(Protocol):
    """What an event's headers can be asked."""

    def get(self, name: str) -> str | None:
        """The first value called `name`, decoded; None where it is missing or empty."""


class PlainHeaders:
    """Headers of a `text/event-plain` body: lines `Name: url-encoded value`, up to the first empty line.

    Results are cached: a decoder asks for a quarter of its headers twice, and looking for a missing one goes through
    the whole event.
    """

    __slots__ = ("_found", "_lines")

    def __init__(self, body: bytes) -> None:
        end = _EMPTY_LINE.search(body)
        self._lines = b"\n%b\n" % (body if end is None else body[: end.start()])
        self._found: dict[str, str | None] = {}

    def get(self, name: str) -> str | None:
        found = self._found
        if name not in found:
            found[name] = self._read(name)
        return found[name]

    def _read(self, name: str) -> str | None:
        needle = _needle(name)
        start = self._lines.find(needle)
        if start < 0:
            return None
        start += len(needle)
        raw = self._lines[start : self._lines.find(b"\n", start)]
        if not raw or raw == _UNDEFINED:
            return None
        text = raw.decode("utf-8", "replace")
        return unquote(text, errors="replace") if "%" in text else text

    def names(self) -> list[str]:
        """Every header's name, in order."""
        lines = self._lines.decode("utf-8", "replace").split("\n")
        return [line.partition(": ")[0] for line in lines if ": " in line]


class JsonHeaders:
    """Headers of a `text/event-json` body: one object, values not encoded; an array's first text counts."""

    __slots__ = ("_headers",)

    def __init__(self, headers: Mapping[str, Any]) -> None:
        self._headers = headers

    def get(self, name: str) -> str | None:
        value = self._headers.get(name)
        if isinstance(value, list):
            value = value[0] if value else None
        return value if isinstance(value, str) and value and value != UNDEFINED else None


@cache
def _needle(name: str) -> bytes:
    return f"\n{name}: ".encode()
