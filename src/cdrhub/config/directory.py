"""The directory file of a source: a CSV `number,kind,name,team,agent` that says what inside numbers are.

It names what the records do not: a 3CX line of 20 columns does not say that 611 is a queue. The first line names
the columns; `number` and `kind` are indispensable. UTF-8, with or without a byte order mark.
"""

from __future__ import annotations

import csv
from pathlib import Path

from pydantic import ValidationError

from cdrhub.config.problems import humanised, nearest
from cdrhub.errors import ConfigError
from cdrhub.model.numbers import inside_number
from cdrhub.sources.base import DirectoryEntry

MAX_ENTRIES = 100_000
MAX_DIRECTORY_BYTES = 16 * 1024**2
COLUMNS = tuple(DirectoryEntry.model_fields)
_REQUIRED = ("number", "kind")


def read_directory(file: Path) -> tuple[DirectoryEntry, ...]:
    """The lines of `file` in its order. Raises ConfigError that names file, line and column."""
    try:
        with file.open("rb") as opened:
            content = opened.read(MAX_DIRECTORY_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"{file}: cannot be read: {error.strerror or error}") from error
    if len(content) > MAX_DIRECTORY_BYTES:
        raise ConfigError(f"{file}: has more than {MAX_DIRECTORY_BYTES} bytes")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ConfigError(f"{file}:{line}: is not text in UTF-8") from error
    return parse_directory(text, name=str(file))


def parse_directory(text: str, *, name: str) -> tuple[DirectoryEntry, ...]:
    """The lines of a directory file's text; `name` stands before the line number in errors."""
    reader = csv.reader(text.splitlines(), strict=True)
    entries: dict[str, tuple[int, DirectoryEntry]] = {}
    header: list[str] | None = None
    try:
        for cells in reader:
            where = f"{name}:{reader.line_num}"
            row = [cell.strip() for cell in cells]
            if not any(row):
                continue
            if any("\0" in cell for cell in row):  # kept in the database, of which PostgreSQL takes none
                raise ConfigError(f"{where}: holds the character NUL: save the file as CSV in UTF-8")
            if header is None:
                header = _checked_header(row, where)
                continue
            entry = _entry(header, row, where)
            if entry.number in entries:
                raise ConfigError(f"{where}: the number {entry.number!r} stands on line {entries[entry.number][0]} too")
            if len(entries) == MAX_ENTRIES:
                raise ConfigError(f"{where}: more than {MAX_ENTRIES} lines")
            entries[entry.number] = (reader.line_num, entry)
    except csv.Error as error:
        raise ConfigError(f"{name}:{reader.line_num}: is not CSV: {error}") from error
    if header is None:
        raise ConfigError(f"{name}: is empty: its first line is {','.join(COLUMNS)}")
    return tuple(entry for _, entry in entries.values())


def _checked_header(row: list[str], where: str) -> list[str]:
    header = [cell.lower() for cell in row]
    for column in header:
        if column not in COLUMNS:
            raise ConfigError(f"{where}: there is no column {column!r}{nearest(column, COLUMNS)}")
    if len(set(header)) != len(header):
        raise ConfigError(f"{where}: a column stands there twice")
    for column in _REQUIRED:
        if column not in header:
            raise ConfigError(f"{where}: the column {column!r} is missing: the first line is {','.join(COLUMNS)}")
    return header


def _entry(header: list[str], row: list[str], where: str) -> DirectoryEntry:
    if len(row) > len(header):
        raise ConfigError(f"{where}: has {len(row)} cells, the first line has {len(header)}")
    cells = {column: cell for column, cell in zip(header, row, strict=False) if cell}
    if not inside_number(cells.get("number", "")):
        raise ConfigError(f"{where}: the number is missing")
    cells["kind"] = cells.get("kind", "").lower()
    try:
        return DirectoryEntry.model_validate(cells)
    except ValidationError as error:
        column, message = next(iter(humanised(error, DirectoryEntry, cells)))
        raise ConfigError(f"{where}: {'.'.join(map(str, column))}: {message}") from error
