"""A spreadsheet's CSV, read cell by cell: its rows, and every problem by its place. Pure.

Separators are commas, semicolons or tabs, as the header shows; quotes are those of RFC 4180. A cell is data whatever it
begins with; the apostrophe that keeps a spreadsheet from running a cell as a formula, as `--format csv` writes it, is
taken off. One bad row spoils a sheet, and is named with its line and column and what to do.
"""

from __future__ import annotations

import csv
import re
from codecs import BOM_UTF8, BOM_UTF16_BE, BOM_UTF16_LE
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from io import StringIO
from typing import Generic, TypeVar

from cdrhub.errors import CdrhubError

MAX_CELL = 16 * 1024  #: characters
MAX_COLUMNS = 500
MAX_PROBLEMS = 1_000  #: after which a sheet is not read on
MAX_SHOWN = 60  #: characters of a cell that a problem repeats
ENCODINGS = "windows-1252 (Western Europe), windows-1255 (Hebrew), windows-1256 (Arabic), gb18030 (Chinese)"

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_BREAK = re.compile(r"[\t\r\n]")
_CUT = re.compile(r"\d(?:[.,]\d+)?E\+\d+", re.IGNORECASE)
_SEPARATES = re.compile(r"\"?sep=.\"?\s*", re.IGNORECASE)
_STARTS_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\uff0b", "\uff0d", "\uff1d", "\uff20")
_SEPARATORS = ",;\t"
_MARKS = ((BOM_UTF8, "utf-8-sig"), (BOM_UTF16_LE, "utf-16"), (BOM_UTF16_BE, "utf-16"))


T = TypeVar("T")


class SheetUnreadable(CdrhubError):
    """The file as a whole cannot be read as a table."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Problem:
    """What is wrong at one place of a sheet."""

    line: int  #: from 1, where the row begins
    column: str  #: the header as the sheet has it; empty: the row as a whole
    said: str

    def __str__(self) -> str:
        return f"line {self.line}{f', column {self.column}' if self.column else ''}: {self.said}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One row, and the line in which it begins."""

    line: int
    cells: Sequence[str]


@dataclass(frozen=True, kw_only=True, slots=True)
class SheetRead(Generic[T]):
    """What a sheet holds. With any problem, nothing of it is to be taken."""

    given: Sequence[T]
    problems: Sequence[Problem]
    unsure: Sequence[Problem]
    unused: Sequence[str] = ()  #: headers that mean nothing here


@dataclass(slots=True)
class Sheet:
    """A table being read: its header, and what is wrong with it so far. `unsure` are places that are taken as they are
    and may be wrong."""

    header: Row
    problems: list[Problem] = field(default_factory=list)
    unsure: list[Problem] = field(default_factory=list)

    @property
    def given_up(self) -> bool:
        """Whether so much is wrong that more is of no use."""
        return len(self.problems) >= MAX_PROBLEMS

    def column(self, place: int) -> str:
        """How a problem names a column."""
        return shown(self.header.cells[place].strip()) or f"number {place + 1}"

    def wrong(self, line: int, place: int | None, said: str) -> None:
        """Note a problem; `place` None is the row as a whole."""
        self.problems.append(Problem(line=line, column=self.column(place) if place is not None else "", said=said))

    def values(self, row: Row) -> Sequence[str] | None:
        """The cells of a row, one for each header, stripped; None, with a problem, where they do not fit."""
        width = len(self.header.cells)
        if any(cell.strip() for cell in row.cells[width:]):
            self.wrong(
                row.line,
                None,
                f"{len(row.cells)} cells, and the header has {width}: a cell with a separator in it needs quotes",
            )
            return None
        cells = [plain(cell) for cell in row.cells[:width]]
        long = next((place for place, cell in enumerate(cells) if len(cell) > MAX_CELL), None)
        if long is not None:
            self.wrong(row.line, long, f"longer than {MAX_CELL} characters")
            return None
        return cells + [""] * (width - len(cells))

    def text(self, row: Row, place: int, value: str, *, at_most: int, lines: bool = False) -> str:
        """`value` if it has so many characters at most, on one line unless `lines`; else a problem and nothing."""
        if len(value) > at_most:
            self.wrong(row.line, place, f"{len(value)} characters: {at_most} at most")
        elif _CONTROL.search(_BREAK.sub(" ", value) if lines else value):
            needed = "must have no control characters" if lines else "must be one line without control characters"
            self.wrong(row.line, place, needed)
        else:
            return value
        return ""

    def is_cut_short(self, row: Row, place: int, value: str) -> bool:
        """Whether a spreadsheet kept only the first digits of `value`, which is a problem then."""
        cut = _CUT.fullmatch(value) is not None
        if cut:
            said = "was cut short by a spreadsheet: make the column text there, and export it again"
            self.wrong(row.line, place, f"{shown(value)} {said}")
        return cut


def decoded(raw: bytes, *, encoding: str | None = None, hint: str = "") -> str:
    """The text of a file: by its byte order mark, else in `encoding`, else UTF-8. `hint` is said of a file that is not
    UTF-8, beside how to save it.

    Raises SheetUnreadable, with the line, for bytes that are not of the encoding: to guess would make other names of
    them.
    """
    for mark, of_mark in _MARKS:
        if raw.startswith(mark):
            encoding = of_mark
    try:
        text = raw.decode(encoding or "utf-8")
    except LookupError as error:
        raise SheetUnreadable(f"there is no encoding {encoding!r}: there are e.g. {ENCODINGS}") from error
    except UnicodeError as error:
        said = f"it is not {encoding or 'UTF-8'}"
        if isinstance(error, UnicodeDecodeError):
            line = raw.count(b"\n", 0, error.start) + 1
            said = f"line {line}: byte 0x{raw[error.start]:02x} is not {encoding or 'UTF-8'}"
        raise SheetUnreadable(said if encoding else f'{said}; save the file as "CSV UTF-8"{hint}') from error
    if "\x00" in text:
        raise SheetUnreadable("this is no text: export a workbook as CSV first")
    return text


def begun(text: str) -> tuple[Row, Iterator[Row], list[Problem]]:
    """The first row of a sheet, the rows after it, and the problems that are found as they are read. Raises
    SheetUnreadable."""
    problems: list[Problem] = []
    found = _rows(text, problems)
    first = next(found, None)
    if first is None:
        raise SheetUnreadable(str(problems[0]) if problems else "the sheet is empty")
    return first, found, problems


def _rows(text: str, problems: list[Problem]) -> Iterator[Row]:
    """The rows that hold anything. One that cannot be read is a problem and the last: nobody knows where the next one
    begins."""
    text = text.removeprefix("\ufeff")
    first, _, rest = text.partition("\n")
    skipped = 0
    if _SEPARATES.fullmatch(first):  # what Excel writes to say how it separates
        text, skipped, first = rest, 1, rest.partition("\n")[0]
    outside = re.sub(r'"[^"]*"', "", first)
    reader = csv.reader(StringIO(text, newline=""), delimiter=max(_SEPARATORS, key=outside.count), strict=True)
    while True:
        line = reader.line_num + skipped + 1
        try:
            cells = next(reader, None)
        except csv.Error as error:
            said = f"this row cannot be read ({error}): close each quote, and double a quote within a cell"
            problems.append(Problem(line=line, column="", said=said))
            return
        if cells is None:
            return
        if any(cell.strip() for cell in cells):
            yield Row(line=line, cells=cells)


def plain(cell: str) -> str:
    """A cell without the space around it, and without the apostrophe that keeps it from being a formula."""
    text = cell.strip()
    return text[1:].strip() if text.startswith("'") and text[1:].startswith(_STARTS_FORMULA) else text


def shown(text: str) -> str:
    """A cell as a problem repeats it."""
    return text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}…"
