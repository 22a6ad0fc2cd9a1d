"""What SQLite and MariaDB share: many rows in one statement of the driver, and probing before inserting.

Neither tells which rows of an insert were new without telling too much (MariaDB returns the existing row as if it were
the new one). So where a batch may repeat something, what exists is asked for first, and the rest is inserted plainly;
if another writer was faster in between, the unique key says so and the batch is written again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any, ClassVar

from sqlalchemy import Column, Table, select

from cdrhub.store.rows import CALL_COLUMNS, ID_POSITION, RECORD_COLUMNS, Row
from cdrhub.store.tables import calls, records
from cdrhub.store.transaction import (
    KNOWN_CALL_COLUMNS,
    CallKey,
    KnownCall,
    RecordKey,
    Transaction,
    by_source,
    known_call,
)

Changes = tuple[tuple[int, Callable[[Any], Any]], ...]
"""Positions in a row, and how the values there are changed."""


class PortableTransaction(Transaction):
    """A transaction of an engine whose driver takes lists of plain tuples."""

    placeholder: ClassVar[str]
    #: By the type of a column: how the driver wants values that it would not store as `types.py` reads them.
    conversions: ClassVar[Mapping[type, Callable[[Any], Any]]]

    async def insert_records(self, rows: Sequence[Row], *, expect_new: bool) -> set[RecordKey] | None:
        missing = rows if expect_new else await self._missing(rows, records.c.digest)
        await self.append(records, RECORD_COLUMNS, missing)
        return None if expect_new else {(row[0], row[1]) for row in missing}

    async def insert_calls(self, rows: Sequence[Row], *, expect_new: bool) -> set[str] | None:
        missing = rows if expect_new else await self._missing(rows, calls.c.call_key)
        await self.append(calls, CALL_COLUMNS, missing)
        return None if expect_new else {row[ID_POSITION] for row in missing}

    async def _missing(self, rows: Sequence[Row], key: Column[Any]) -> list[Row]:
        """Those of `rows`, which begin with their source and their `key`, that the table of this column lacks."""
        known: set[tuple[str, Any]] = set()
        for source, some in by_source((row[0], row[1]) for row in rows):
            query = select(key).where(key.in_(some), key.table.c.source == source)
            known.update((source, found) for found in await self.connection.scalars(query))
        return [row for row in rows if (row[0], row[1]) not in known]

    async def lock_calls(self, keys: Sequence[CallKey]) -> list[KnownCall]:
        found: list[KnownCall] = []
        for source, some in by_source(keys):
            found += map(
                known_call,
                await self.connection.execute(
                    select(*KNOWN_CALL_COLUMNS)
                    .where(calls.c.call_key.in_(some), calls.c.source == source)
                    .order_by(calls.c.call_key)
                    .with_for_update()
                ),
            )
        return found

    async def append(self, table: Table, columns: Sequence[str], rows: Sequence[Row]) -> None:
        if rows:
            statement = insert_statement(table, tuple(columns), self.placeholder)
            await self.connection.exec_driver_sql(statement, self.converted(table, tuple(columns), rows))

    def converted(self, table: Table, columns: tuple[str, ...], rows: Sequence[Row]) -> list[Row]:
        """`rows` as the driver takes them."""
        return list(zip(*changed(rows, _changes(type(self), table, columns)), strict=True))


def changed(rows: Sequence[Row], changes: Changes) -> list[Sequence[Any]]:
    """The columns of `rows` (one at least), those of `changes` with their values changed unless they are None."""
    turned: list[Sequence[Any]] = list(zip(*rows, strict=True))
    for position, change in changes:
        turned[position] = [value if value is None else change(value) for value in turned[position]]
    return turned


def changes_by_type(
    table: Table, columns: tuple[str, ...], conversions: Mapping[type, Callable[[Any], Any]]
) -> Changes:
    """Which of these columns need a conversion, by their type."""
    return tuple(
        (position, conversions[type(table.c[name].type)])
        for position, name in enumerate(columns)
        if type(table.c[name].type) in conversions
    )


@cache
def insert_statement(table: Table, columns: tuple[str, ...], placeholder: str) -> str:
    """A plain insert; no name of ours needs quotes."""
    return f"INSERT INTO {table.name} ({', '.join(columns)}) VALUES ({', '.join([placeholder] * len(columns))})"  # noqa: S608  (names of ours only)


@cache
def _changes(kind: type[PortableTransaction], table: Table, columns: tuple[str, ...]) -> Changes:
    return changes_by_type(table, columns, kind.conversions)
