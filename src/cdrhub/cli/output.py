"""How lists are shown: a table for people, CSV, JSON and NDJSON for programs.

Times are shown in one zone, with its offset in the formats for programs. Data never reaches the terminal as control
sequences, nor a spreadsheet as formulas (`plain.py`).
"""

from __future__ import annotations

import csv
import json
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import TYPE_CHECKING, Any, TextIO
from zoneinfo import ZoneInfo

from cdrhub.cli.plain import cell, plain

if TYPE_CHECKING:
    from cdrhub.store.suspense import RecordRow

WIDTH_OF_FILES = 250  #: columns of a table that goes to a file or a pipe
_STEERS = re.compile(r"[\x7f-\x9f\u2028\u2029\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")


class Format(StrEnum):
    """Formats of a list."""

    TABLE = "table"
    CSV = "csv"
    JSON = "json"
    NDJSON = "ndjson"


@dataclass(frozen=True, kw_only=True, slots=True)
class Listing:
    """Rows to show. `columns` are keys of the rows; a table shows `brief` of them only, when given."""

    columns: Sequence[str]
    rows: Iterable[Mapping[str, Any]]
    brief: Sequence[str] = ()
    title: str = ""
    empty: str = "nothing found"  #: what a table says when there are no rows


def show(listing: Listing, *, form: Format, zone: ZoneInfo, stream: TextIO | None = None) -> int:
    """Write `listing` to `stream` (standard output); the number of rows."""
    out = stream or sys.stdout
    if form is Format.TABLE:
        return _table(listing, zone=zone, stream=out)
    if form is Format.CSV:
        return _csv(listing, zone=zone, stream=out)
    return _json(listing, zone=zone, stream=out, lines=form is Format.NDJSON)


def counted(number: int, noun: str) -> str:
    """`1 record`, `2 records`."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


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
    text = text.encode("utf-8", "replace").decode()
    return _STEERS.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def _simple(value: Any, zone: ZoneInfo) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _simple(item, zone) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_simple(item, zone) for item in value]
    if isinstance(value, Decimal):
        return str(value)
    if value is None or isinstance(value, bool | int | float):
        return value
    return spoken_value(value, zone=zone)


def _table(listing: Listing, *, zone: ZoneInfo, stream: TextIO) -> int:
    from rich.box import SIMPLE_HEAD  # noqa: PLC0415 - only a table needs rich
    from rich.console import Console  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    columns = listing.brief or listing.columns
    table = Table(box=SIMPLE_HEAD, title=listing.title or None, title_justify="left", pad_edge=False)
    for name in columns:
        numeric = name.endswith("_seconds") or name in {"records", "calls", "count"}
        table.add_column(name.replace("_", " "), justify="right" if numeric else "left", overflow="fold")
    count = 0
    for row in listing.rows:
        table.add_row(*(Text(plain(spoken_value(row.get(name), zone=zone, brief=True))) for name in columns))
        count += 1
    console = Console(file=stream, highlight=False, width=None if stream.isatty() else WIDTH_OF_FILES)
    if count:
        console.print(table)
    else:
        console.print(Text(listing.empty))
    return count


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
