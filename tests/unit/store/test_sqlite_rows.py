"""Rows as JSON and one BLOB arrive in SQLite as the same rows, whatever their values are."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Column, Integer, LargeBinary, MetaData, Table, Text

from cdrhub.model.disposition import State
from cdrhub.store import sqlite_rows
from cdrhub.store.types import Cost, UtcDateTime

TABLE = Table(
    "things",
    MetaData(),
    Column("id", Integer(), primary_key=True),
    Column("words", Text()),
    Column("whole", Integer()),
    Column("first", LargeBinary()),
    Column("second", LargeBinary()),
    Column("moment", UtcDateTime()),
    Column("cost", Cost()),
)
COLUMNS = tuple(TABLE.c.keys())
CREATE = (
    "CREATE TABLE things (id INTEGER PRIMARY KEY, words TEXT, whole INTEGER, first BLOB, second BLOB, moment, cost)"
)

pytestmark = pytest.mark.skipif(not sqlite_rows.READS_JSON, reason="needs an SQLite that reads JSON by itself")


@pytest.fixture
def database() -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.execute(CREATE)
        yield connection


def insert(database: sqlite3.Connection, *rows: tuple[Any, ...]) -> None:
    parameters = sqlite_rows.parameters(TABLE, COLUMNS, rows)
    assert parameters is not None
    database.execute(sqlite_rows.insert_statement(TABLE, COLUMNS), parameters)


def row(number: int, **values: Any) -> tuple[Any, ...]:
    said = dict.fromkeys(COLUMNS) | {"id": number} | values
    return tuple(said[name] for name in COLUMNS)


TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\0"))


@given(
    rows=st.lists(
        st.tuples(
            TEXTS | st.none(),
            st.integers(-(2**63), 2**63 - 1) | st.none(),
            st.binary() | st.none(),
            st.binary() | st.none(),
        ),
        min_size=1,
        max_size=5,
    )
)
def test_any_values_come_back(rows: list[tuple[str | None, int | None, bytes | None, bytes | None]]) -> None:
    with closing(sqlite3.connect(":memory:")) as database:
        database.execute(CREATE)
        insert(database, *((number, *values, None, None) for number, values in enumerate(rows)))
        found = database.execute("SELECT words, whole, first, second FROM things ORDER BY id").fetchall()
    assert found == rows


def test_words_times_and_money_are_stored_as_the_types_read_them(database: sqlite3.Connection) -> None:
    moment = datetime(2026, 3, 1, 9, 0, tzinfo=timezone(timedelta(hours=1)))
    insert(database, row(1, words=State.ENDED, moment=moment, cost=Decimal("0.0700")))
    insert(database, row(2, words='{"a":"\\u0041"}', moment=datetime(2026, 3, 1, 8, 0, 0, 5, tzinfo=UTC)))
    assert database.execute("SELECT words, moment, cost FROM things").fetchall() == [
        ("ended", "2026-03-01T08:00:00.000000Z", "0.0700"),
        ('{"a":"\\u0041"}', "2026-03-01T08:00:00.000005Z", None),
    ]


@pytest.mark.parametrize("value", [b"no text", object(), "\ud800", 2**64])
def test_what_no_column_holds_is_refused(value: object) -> None:
    with pytest.raises(TypeError):
        sqlite_rows.parameters(TABLE, COLUMNS, [row(1, words=value)])


def test_a_time_that_is_none_is_refused() -> None:
    with pytest.raises(AttributeError):
        sqlite_rows.parameters(TABLE, COLUMNS, [row(1, moment="yesterday")])


def test_a_text_with_nul_goes_another_way() -> None:
    assert sqlite_rows.parameters(TABLE, COLUMNS, [row(1, words="a\0b")]) is None


def test_many_rows_are_set_by_their_key(database: sqlite3.Connection) -> None:
    insert(database, *(row(number, words=f"old {number}", first=b"kept") for number in range(4)))
    columns = ("words", "second", "id")
    parameters = sqlite_rows.parameters(TABLE, columns, [("new 3", b"\xff\0", 3), (None, None, 1), ("nobody", b"", 9)])
    assert parameters is not None
    database.execute(sqlite_rows.update_statement(TABLE, columns, key="id"), parameters)
    assert database.execute("SELECT id, words, first, second FROM things ORDER BY id").fetchall() == [
        (0, "old 0", b"kept", None),
        (1, None, b"kept", None),
        (2, "old 2", b"kept", None),
        (3, "new 3", b"kept", b"\xff\0"),
    ]


def test_rows_come_as_one_text(database: sqlite3.Connection) -> None:
    insert(database, *(row(number, words='"quoted" \U0001f4de\n', whole=2**40) for number in range(3)))
    statement = sqlite_rows.one_text(["id", "words", "whole"], "SELECT * FROM things WHERE id > ?")
    ((text,),) = database.execute(statement, (0,)).fetchall()
    assert sqlite_rows.rows_in(text) == [[number, '"quoted" \U0001f4de\n', 2**40] for number in (1, 2)]
    ((nothing,),) = database.execute(statement, (9,)).fetchall()
    assert sqlite_rows.rows_in(nothing) == []
