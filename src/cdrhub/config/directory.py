"""The directory file of a source: a CSV `number,kind,name,team,agent` that says what inside numbers are.

It names what the records do not: a 3CX line of 20 columns does not say that 611 is a queue. The first line names
the columns; `number` and `kind` are indispensable. UTF-8, or UTF-16 with a byte order mark; separated by commas,
semicolons or tabs.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pydantic import ValidationError

from cdrhub.config.problems import humanised, nearest
from cdrhub.errors import ConfigError
from cdrhub.model.numbers import inside_number
from cdrhub.model.update import MAX_TEXT
from cdrhub.sheet import Problem, Row, Sheet, SheetUnreadable, begun, decoded, shown
from cdrhub.sources.base import DirectoryEntry

MAX_ENTRIES = 100_000
MAX_DIRECTORY_BYTES = 16 * 1024**2
COLUMNS = tuple(DirectoryEntry.model_fields)
_REQUIRED = ("number", "kind")
_FIRST_LINE = f"the first line is {','.join(COLUMNS)}"


def read_directory(file: Path) -> tuple[tuple[DirectoryEntry, ...], Sequence[str]]:
    """The lines of `file` in its order, and what is wrong with others, by file, line and column. Raises ConfigError for
    a file that cannot be read at all."""
    try:
        with file.open("rb") as opened:
            content = opened.read(MAX_DIRECTORY_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"{file}: cannot be read: {error.strerror or error}") from error
    if len(content) > MAX_DIRECTORY_BYTES:
        raise ConfigError(f"{file}: has more than {MAX_DIRECTORY_BYTES} bytes")
    try:
        entries, problems = parse_directory(decoded(content))
    except SheetUnreadable as error:
        raise ConfigError(f"{file}: {error}") from error
    return entries, [
        f"{file}:{problem.line}: {f'{problem.column}: ' if problem.column else ''}{problem.said}"
        for problem in problems
    ]


def parse_directory(text: str) -> tuple[tuple[DirectoryEntry, ...], Sequence[Problem]]:
    """The lines of a directory file's text, and what is wrong with others. Raises SheetUnreadable."""
    header, rows, problems = begun(text)
    sheet = Sheet(header=header, problems=problems)
    columns = _columns(sheet)
    found: dict[str, tuple[int, DirectoryEntry]] = {}
    for row in rows if columns else ():
        entry = _entry(sheet, row, columns)
        if sheet.given_up:
            break
        if entry is None:
            continue
        if entry.number in found:
            said = f"the number {shown(entry.number)!r} stands on line {found[entry.number][0]} too"
            sheet.wrong(row.line, None, said)
        elif len(found) == MAX_ENTRIES:
            sheet.wrong(row.line, None, f"more than {MAX_ENTRIES} numbers")
            break
        else:
            found[entry.number] = (row.line, entry)
    return tuple(entry for _, entry in found.values()), problems


def _columns(sheet: Sheet) -> Sequence[str]:
    """The names of the columns in their order; none, with a problem, where they are not those of a directory."""
    line = sheet.header.line
    names = [cell.strip().lower() for cell in sheet.header.cells]
    for place, name in enumerate(names):
        if name not in COLUMNS:
            sheet.wrong(line, None, f"there is no column {shown(name)!r}{nearest(name, COLUMNS)}")
        elif name in names[:place]:
            sheet.wrong(line, None, f"the column {name!r} stands there twice")
    for name in _REQUIRED:
        if name not in names:
            sheet.wrong(line, None, f"the column {name!r} is missing: {_FIRST_LINE}")
    return () if sheet.problems else names


def _entry(sheet: Sheet, row: Row, columns: Sequence[str]) -> DirectoryEntry | None:
    values = sheet.values(row)
    if values is None:
        return None
    before = len(sheet.problems)
    cells = {
        name: sheet.text(row, place, value, at_most=MAX_TEXT)
        for place, (name, value) in enumerate(zip(columns, values, strict=True))
        if value
    }
    if len(sheet.problems) > before:
        return None
    if not inside_number(cells.get("number", "")):
        sheet.wrong(row.line, None, "the number is missing")
        return None
    cells["kind"] = cells.get("kind", "").lower()
    try:
        return DirectoryEntry.model_validate(cells)
    except ValidationError as error:
        for path, message in humanised(error, DirectoryEntry, cells):
            sheet.wrong(row.line, columns.index(str(path[0])), message)
        return None
