"""On which line of a TOML file each key stands, so that an error can name it.

The standard library's parser (tomllib) gives values without positions. This scanner walks over a document that
tomllib has already accepted (TOML 1.0, https://toml.io/en/v1.0.0), so it has to find keys, not mistakes.
"""

from __future__ import annotations

import re
import tomllib
from bisect import bisect_right
from collections.abc import Iterator, Mapping

KeyPath = tuple[str | int, ...]
"""The way to a value: keys of tables and, inside arrays, positions from 0."""

_BLANK = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_STRING = re.compile(
    r'"""(?:[^\\]|\\.)*?"{3,5}|\'\'\'.*?\'{3,5}|"(?:[^"\\\n]|\\.)*"|\'[^\'\n]*\'',
    re.DOTALL,
)
_SCALAR = re.compile(r"[^\s,\]}#][^,\]}#\n]*")
_DOT = re.compile(r"[ \t]*\.[ \t]*")
_SPACE = re.compile(r"[ \t]*")


def key_lines(document: str) -> Mapping[KeyPath, int]:
    """The line, from 1, of every key, table header and array element of `document`.

    `document` must be valid TOML. A table that is only implied (`a` of `[a.b]`) has the line of the first header or
    dotted key that implies it.
    """
    return _Scanner(document).scan()


def line_of(lines: Mapping[KeyPath, int], path: KeyPath) -> int | None:
    """The line of `path`, or of the nearest table around it that stands in the file; None for the document itself."""
    for length in range(len(path), 0, -1):
        if path[:length] in lines:
            return lines[path[:length]]
    return None


class _Scanner:
    def __init__(self, document: str) -> None:
        self._text = document
        self._at = 0
        self._starts = [0, *(found.end() for found in re.finditer("\n", document))]
        self._lines: dict[KeyPath, int] = {}
        self._elements: dict[KeyPath, int] = {}  #: arrays of tables: how many elements there are so far

    def scan(self) -> dict[KeyPath, int]:
        table: KeyPath = ()
        self._skip(_BLANK)
        while self._at < len(self._text):
            if self._text.startswith("[[", self._at):
                table = self._header(brackets=2)
                count = self._elements.get(table, 0)
                self._elements[table] = count + 1
                table = (*table, count)
                self._lines[table] = self._line(self._at)
            elif self._text[self._at] == "[":
                table = self._header(brackets=1)
            else:
                self._pair(table)
            self._skip(_BLANK)
        return self._lines

    def _header(self, *, brackets: int) -> KeyPath:
        self._at += brackets
        self._skip(_SPACE)
        line = self._line(self._at)
        path: KeyPath = ()
        keys = list(self._dotted())
        for position, key in enumerate(keys, start=1):
            path = (*path, key)
            self._lines.setdefault(path, line)
            if path in self._elements and not (position == len(keys) and brackets == 2):
                path = (*path, self._elements[path] - 1)
        self._skip(_SPACE)
        self._at += brackets
        return path

    def _pair(self, table: KeyPath) -> None:
        line = self._line(self._at)
        path = table
        for key in self._dotted():
            path = (*path, key)
            self._lines.setdefault(path, line)
        self._skip(_SPACE)
        self._at += 1  # the equals sign
        self._skip(_SPACE)
        self._value(path)

    def _dotted(self) -> Iterator[str]:
        yield self._key()
        while dot := _DOT.match(self._text, self._at):
            self._at = dot.end()
            yield self._key()

    def _key(self) -> str:
        if bare := _BARE_KEY.match(self._text, self._at):
            self._at = bare.end()
            return bare[0]
        quoted = self._take(_STRING)
        return str(next(iter(tomllib.loads(f"{quoted} = 0"))))

    def _value(self, path: KeyPath) -> None:
        opening = self._text[self._at]
        if opening == "[":
            self._at += 1
            position = 0
            while self._more("]"):
                self._lines[(*path, position)] = self._line(self._at)
                self._value((*path, position))
                position += 1
        elif opening == "{":
            self._at += 1
            while self._more("}"):
                self._pair(path)
        else:
            self._take(_STRING if opening in "\"'" else _SCALAR)

    def _more(self, closing: str) -> bool:
        """Go to the next element of an array or inline table; False behind its end."""
        self._skip(_BLANK)
        if self._text[self._at] == ",":
            self._at += 1
            self._skip(_BLANK)
        if self._text[self._at] != closing:
            return True
        self._at += 1
        return False

    def _take(self, pattern: re.Pattern[str]) -> str:
        found = pattern.match(self._text, self._at)
        if found is None:  # tomllib accepted the document, so this would be an oversight of this scanner
            raise ValueError(f"line {self._line(self._at)} cannot be scanned")
        self._at = found.end()
        return found[0]

    def _skip(self, pattern: re.Pattern[str]) -> None:
        if found := pattern.match(self._text, self._at):
            self._at = found.end()

    def _line(self, at: int) -> int:
        return bisect_right(self._starts, at)
