"""Many rows as one statement of SQLite: JSON that SQLite itself takes apart, and all their bytes in one BLOB beside it.

Python's driver gives up the interpreter's lock at each step of a statement and asks for it again after it. With a step
for each row, beside an event loop that is busy, a record took 300 µs and more, nearly all of it waiting
(docs/decisions/0008-speed.md). One statement for all rows of a table is one step: SQLite does its work on another core
while the interpreter goes on.

JSON is what every SQLite since 3.38 reads by itself (https://www.sqlite.org/json1.html); `AS MATERIALIZED` keeps it
from writing each row's JSON anew for each column. A column of bytes holds `[where, how many]` of the BLOB.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from functools import cache
from typing import Any, Final

import orjson
from sqlalchemy import LargeBinary, Table

from cdrhub.store.portable import Changes, changed, changes_by_type
from cdrhub.store.rows import Row
from cdrhub.store.types import Cost, UtcDateTime, sqlite_time

#: Whether this SQLite has `->>`, and so JSON without being asked for it.
READS_JSON: Final = sqlite3.sqlite_version_info >= (3, 38)

_NUL = b"\\u0000"
_LINES = "WITH lines (line) AS MATERIALIZED (SELECT value FROM json_each(:rows)) "

#: Before the first bytes: substr() of a BLOB without any is NULL, whatever is asked of it.
_MARGIN = b"\0"


def parameters(table: Table, columns: tuple[str, ...], rows: Sequence[Row]) -> dict[str, Any] | None:
    """`rows`, one at least, as parameters of the statements below; None where a text holds NUL, at which SQLite ends.

    Raises TypeError for what no column holds, such as a lone surrogate or a number beyond 64 bits.
    """
    turned = changed(rows, _changes(table, columns))
    blob = {"bytes": _take_bytes(turned, bytes_at)} if (bytes_at := _bytes_at(table, columns)) else {}
    text = orjson.dumps(list(zip(*turned, strict=True)))
    return None if _NUL in text else {"rows": text.decode(), **blob}


@cache
def insert_statement(table: Table, columns: tuple[str, ...]) -> str:
    """Insert all rows, in their order; no name of ours needs quotes."""
    values = ", ".join(_values(table, columns))
    return f"{_LINES}INSERT INTO {table.name} ({', '.join(columns)}) SELECT {values} FROM lines"  # noqa: S608  (names of ours only)


@cache
def update_statement(table: Table, columns: tuple[str, ...], *, key: str) -> str:
    """Set all columns but `key` of the row that has that key, for each of the rows."""
    values = dict(zip(columns, _values(table, columns), strict=True))
    its_key = values.pop(key)
    changes = ", ".join(f"{name} = {value}" for name, value in values.items())
    return f"{_LINES}UPDATE {table.name} SET {changes} FROM lines WHERE {table.name}.{key} = {its_key}"  # noqa: S608


def one_text(columns: Sequence[str], query: str) -> str:
    """A statement that gives all rows of `query` as one text, in one step; `rows_in` reads it."""
    return f"SELECT json_group_array(json_array({', '.join(columns)})) FROM ({query})"  # noqa: S608


def rows_in(text: str) -> list[list[Any]]:
    """The rows of `one_text`."""
    found: list[list[Any]] = orjson.loads(text)
    return found


def _take_bytes(turned: list[Sequence[Any]], bytes_at: tuple[int, ...]) -> bytes:
    """The bytes of these columns, one behind the other; the columns then say where they are."""
    taken = [_MARGIN]
    begin = 1 + len(_MARGIN)  # substr() counts from one
    for position in bytes_at:
        places: list[tuple[int, int] | None] = []
        for piece in turned[position]:
            if piece is None:
                places.append(None)
            else:
                places.append((begin, len(piece)))
                taken.append(piece)
                begin += len(piece)
        turned[position] = places
    return b"".join(taken)


@cache
def _changes(table: Table, columns: tuple[str, ...]) -> Changes:
    return changes_by_type(table, columns, {UtcDateTime: sqlite_time, Cost: str})


@cache
def _bytes_at(table: Table, columns: tuple[str, ...]) -> tuple[int, ...]:
    return tuple(position for position, name in enumerate(columns) if isinstance(table.c[name].type, LargeBinary))


def _values(table: Table, columns: tuple[str, ...]) -> list[str]:
    bytes_at = _bytes_at(table, columns)
    return [
        f"substr(:bytes, line->>'$[{position}][0]', line->>'$[{position}][1]')"
        if position in bytes_at
        else f"line->>{position}"
        for position in range(len(columns))
    ]
