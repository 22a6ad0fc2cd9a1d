"""How lists are shown: a table for people, CSV, JSON and NDJSON for programs.

Times are shown in one zone, with its offset in the formats for programs. Data never reaches the terminal as control
sequences, nor a spreadsheet as formulas (`plain.py`).
"""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
import sys
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from stat import S_ISREG
from typing import TYPE_CHECKING, Any, TextIO
from zoneinfo import ZoneInfo

import typer

from cdrhub.cli.plain import cell, plain
from cdrhub.cli.progress import stage, stages
from cdrhub.errors import UsageError
from cdrhub.surrogates import without_surrogates

if TYPE_CHECKING:
    from cdrhub.store.suspense import RecordRow

WIDTH_OF_FILES = 250  #: columns of a table that goes to a file or a pipe
GAP = 2  #: columns between two of a table's
NARROWEST = 12  #: columns that a text is left, where others are kept whole on one line
ROOMY = 40  #: the same of a text that is hard to read in so few
WHOLE_UP_TO = 24  #: characters of a word that is kept on one line: numbers, times, names
IDS = {"id", "subject"}  #: columns of UUIDv7s, of which a terminal is shown the beginning
SHORT_IDS = (13, 18, 23, 28)  #: characters of it, the fewest that tell the rows apart
COUNTS = {"records", "calls", "count", "waiting", "refused", "attempts"}  #: columns of numbers, besides seconds
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_STEERS = re.compile(r"[\x7f-\x9f\u2028\u2029\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")


class Format(StrEnum):
    """Formats of a list."""

    TABLE = "table"
    CSV = "csv"
    JSON = "json"
    NDJSON = "ndjson"


@dataclass(frozen=True, kw_only=True, slots=True)
class Listing:
    """Rows to show. `columns` are keys of the rows; a table shows `brief` of them only, when given, under `headings`.

    Of `yields` a table leaves out what a terminal has no room for, and says so: first what is the same in all rows,
    then in this order. Texts that are `roomy` are given more than others before that.
    """

    columns: Sequence[str]
    rows: Iterable[Mapping[str, Any]]
    brief: Sequence[str] = ()
    headings: Mapping[str, str] = field(default_factory=dict)
    yields: Sequence[str] = ()
    roomy: Sequence[str] = ()
    title: str = ""
    empty: str = "nothing found"  #: what a table says when there are no rows


def show(listing: Listing, *, form: Format, zone: ZoneInfo, stream: TextIO | None = None) -> int:
    """Write `listing` to `stream` (standard output); the number of rows. Rows that are read as they are written
    to a file are counted on the terminal."""
    out = stream or sys.stdout
    with _watched(listing, stream=out) as watched:
        if form is Format.TABLE:
            return _table(watched, zone=zone, stream=out)
        if form is Format.CSV:
            return _csv(watched, zone=zone, stream=out)
        return _json(watched, zone=zone, stream=out, lines=form is Format.NDJSON)


def _is_file(stream: TextIO) -> bool:
    """Whether it goes to a file. What a pager shows has the terminal for itself."""
    try:
        return S_ISREG(os.fstat(stream.fileno()).st_mode)
    except (OSError, ValueError):  # it is closed, or none of the system's
        return False


@contextmanager
def _watched(listing: Listing, *, stream: TextIO) -> Iterator[Listing]:
    if isinstance(listing.rows, Sequence) or not sys.stderr.isatty() or not _is_file(stream):
        yield listing
        return
    with stages() as progress:
        yield replace(listing, rows=progress.track(listing.rows, task_id=stage(progress, "rows", None).task))


def show_row(row: Mapping[str, Any], *, zone: ZoneInfo, title: str = "") -> None:
    """Write one row as a table that has a line for each of its columns."""
    lines = [{"column": name, "value": spoken_value(value, zone=zone)} for name, value in row.items()]
    show(Listing(columns=("column", "value"), rows=lines, title=title), form=Format.TABLE, zone=zone)


def show_document(document: Mapping[str, Any], *, form: Format, zone: ZoneInfo) -> None:
    """Write what is no list as JSON, as one line of NDJSON."""
    sys.stdout.write(dumped(document, zone=zone, indent=2 if form is Format.JSON else None) + "\n")


@contextmanager
def unread() -> Iterator[None]:
    """Let work go on when nobody reads its output any more (`| head`): the rest of the output goes nowhere."""
    try:
        yield
    except SystemExit as ended:  # of rich, which sees to the rest itself
        if not isinstance(ended.__context__, BrokenPipeError):
            raise
    except BrokenPipeError:
        with Path(os.devnull).open("wb") as nowhere:
            os.dup2(nowhere.fileno(), sys.stdout.fileno())


def tell(line: str) -> None:
    """Say that one step of such a work is done."""
    with unread():
        typer.echo(plain(line))


def paragraph(text: str, *, indent: int) -> str:
    """`text` wrapped for a terminal, with further lines indented by `indent` blanks; unchanged if it does not go to a
    terminal, or if that is too narrow."""
    columns = shutil.get_terminal_size().columns
    if not sys.stdout.isatty() or columns < indent + NARROWEST:
        return text
    return textwrap.fill(
        text, width=columns, subsequent_indent=" " * indent, break_long_words=False, break_on_hyphens=False
    )


def refuse_csv(form: Format, *, of: str) -> None:
    """UsageError where CSV is asked for of what is no list."""
    if form is Format.CSV:
        raise UsageError(f"{of} is no table: use --format table, json or ndjson")


def counted(number: int, noun: str, plural: str = "") -> str:
    """`1 record`, `2 records`; `2 entries` with that `plural`."""
    return f"{number} {noun if number == 1 else plural or f'{noun}s'}"


def record_row(record: RecordRow) -> dict[str, Any]:
    """The columns of a record by name, its digest as hexadecimal digits."""
    return {**asdict(record), "digest": record.digest.hex()}


def spoken_value(value: Any, *, zone: ZoneInfo, brief: bool = False) -> str:
    """`value` as text; times in `zone`, `brief` without their offset."""
    if value is None:
        return ""
    if isinstance(value, datetime):
        local = value.astimezone(zone)
        return local.strftime("%Y-%m-%d %H:%M:%S") if brief else local.isoformat()
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, bytes):
        return value.decode("utf-8", "backslashreplace")
    if isinstance(value, Mapping | list | tuple):
        return dumped(value, zone=zone)
    return str(value)


def dumped(value: Any, *, zone: ZoneInfo, indent: int | None = None) -> str:
    """`value` as JSON that is safe in a terminal: controls that JSON leaves as they are are escaped too."""
    text = json.dumps(_simple(value, zone), ensure_ascii=False, indent=indent)
    return _STEERS.sub(lambda found: f"\\u{ord(found[0]):04x}", without_surrogates(text))


def _simple(value: Any, zone: ZoneInfo) -> Any:
    if value is None or isinstance(value, str | bool | int | float):
        return value
    if isinstance(value, Mapping):
        return {str(key): _simple(item, zone) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_simple(item, zone) for item in value]
    if isinstance(value, Decimal):
        return str(value)
    return spoken_value(value, zone=zone)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Column:
    """One column of a table: its heading and its cells, as they are shown."""

    name: str
    heading: str
    cells: Sequence[str]
    narrowest: int

    @property
    def width(self) -> int:
        return max(map(_width, (self.heading, *self.cells)))

    @property
    def numeric(self) -> bool:
        return self.name.endswith("_seconds") or self.name in COUNTS

    @property
    def whole(self) -> bool:
        """Whether its cells are single words or times, that are hard to read in two pieces."""
        if self.name.endswith("_at") or self.name in IDS:
            return True
        return all(len(cell) <= WHOLE_UP_TO and " " not in cell for cell in self.cells)

    @property
    def least(self) -> int:
        """The least width that is worth showing: a long text may go on on the next line."""
        return self.width if self.whole or self.width <= WHOLE_UP_TO else min(self.width, self.narrowest)

    @property
    def constant(self) -> bool:
        return len(set(self.cells)) == 1


def _table(listing: Listing, *, zone: ZoneInfo, stream: TextIO) -> int:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    terminal = stream.isatty()
    console = Console(file=stream, highlight=False, width=None if terminal else WIDTH_OF_FILES)
    rows = list(listing.rows)
    if not rows:
        console.print(Text(listing.empty))
        return 0
    columns = [column for column in _columns(listing, rows, zone=zone, terminal=terminal) if any(column.cells)]
    shown = _fitting(columns, listing.yields, room=console.width)
    table = Table(
        box=SIMPLE_HEAD, title=listing.title or None, title_justify="left", pad_edge=False, padding=(0, GAP - 1, 0, 0)
    )
    whole = sum(column.width if column.whole else NARROWEST for column in shown) + GAP * len(shown) <= console.width
    for column in shown:
        table.add_column(
            Text(column.heading),
            justify="right" if column.numeric else "left",
            overflow="fold",
            no_wrap=whole and column.whole,
        )
    for cells in zip(*(column.cells for column in shown), strict=True):
        table.add_row(*map(Text, cells))
    console.print(table)
    if left_out := [column.heading for column in columns if column not in shown]:
        console.print(Text(f"no room for: {', '.join(left_out)} (a wider terminal or --format json shows all)"))
    return len(rows)


def _columns(listing: Listing, rows: Sequence[Mapping[str, Any]], *, zone: ZoneInfo, terminal: bool) -> list[_Column]:
    """The columns of a table; the heading of times says of which zone they are. A terminal gets times without the
    year, where all are of this one, and short ids."""
    names = listing.brief or listing.columns
    times = {
        name: [value.astimezone(zone) for row in rows if isinstance(value := row.get(name), datetime)] for name in names
    }
    years = {time.year for some in times.values() for time in some}
    this_year = terminal and years == {datetime.now(UTC).astimezone(zone).year}
    columns = []
    for name in names:
        cells = [plain(_said(row.get(name), zone=zone, this_year=this_year)) for row in rows]
        if terminal and name in IDS:
            cells = _short(cells)
        heading = listing.headings.get(name) or re.sub("_seconds$", " s", name).replace("_", " ")
        if zones := sorted({str(time.tzname()) for time in times[name]}):
            heading = f"{heading} ({'/'.join(zones)})"
        narrowest = ROOMY if name in listing.roomy else NARROWEST
        columns.append(_Column(name=name, heading=heading, cells=cells, narrowest=narrowest))
    return columns


def _said(value: Any, *, zone: ZoneInfo, this_year: bool) -> str:
    if this_year and isinstance(value, datetime):
        return value.astimezone(zone).strftime("%m-%d %H:%M:%S")
    return spoken_value(value, zone=zone, brief=True)


def _short(cells: list[str]) -> list[str]:
    """UUIDs cut to the beginnings that tell them apart; anything else as it is."""
    ids = {cell for cell in cells if _UUID.fullmatch(cell)}
    for length in SHORT_IDS:
        if len({each[:length] for each in ids}) == len(ids):
            return [cell[:length] if cell in ids else cell for cell in cells]
    return cells


def _fitting(columns: Sequence[_Column], yields: Sequence[str], *, room: int) -> list[_Column]:
    """Those of `columns` that fit into `room`: as many of `yields` are left out as it takes."""

    def fit(some: Sequence[_Column]) -> bool:
        return sum(each.least for each in some) + GAP * len(some) <= room

    shown = list(columns)
    gone = []
    order = {name: place for place, name in enumerate(yields)}
    going = sorted(
        (column for column in columns if column.name in order),
        key=lambda column: (not column.constant, order[column.name]),
    )
    for column in going:
        if fit(shown):
            break
        shown.remove(column)
        gone.append(column)
    for column in reversed(gone):  # a wide one that went last may leave room for others
        if fit([*shown, column]):
            shown.append(column)
    return [column for column in columns if column in shown]


def _width(text: str) -> int:
    from rich.cells import cell_len

    return cell_len(text)


def _csv(listing: Listing, *, zone: ZoneInfo, stream: TextIO) -> int:
    writer = csv.writer(stream, lineterminator="\r\n")
    writer.writerow(listing.columns)
    count = 0
    for row in listing.rows:
        writer.writerow([_cell(row.get(name), zone) for name in listing.columns])
        count += 1
    return count


def _cell(value: Any, zone: ZoneInfo) -> str:
    if isinstance(value, int | float | Decimal) and not isinstance(value, bool):
        return str(value)
    return cell(spoken_value(value, zone=zone))


def _json(listing: Listing, *, zone: ZoneInfo, stream: TextIO, lines: bool) -> int:
    count = 0
    stream.write("" if lines else "[")
    for row in listing.rows:
        chosen = {name: row.get(name) for name in listing.columns}
        stream.write("" if lines else (",\n " if count else "\n "))
        stream.write(dumped(chosen, zone=zone))
        stream.write("\n" if lines else "")
        count += 1
    stream.write("" if lines else ("\n]\n" if count else "]\n"))
    return count
