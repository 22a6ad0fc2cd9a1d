"""Plain SQL on the database of a daemon, past the program."""

from __future__ import annotations

import contextlib
import sqlite3
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import psycopg


def rows(url: str, query: str) -> Sequence[tuple[object, ...]]:
    """The rows of a query, on SQLite or PostgreSQL."""
    if url.startswith("sqlite:///"):
        with contextlib.closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as database:
            return database.execute(query).fetchall()
    with psycopg.connect(url) as connection:
        return connection.execute(query.encode()).fetchall()


def rows_by_name(file: Path, query: str, *values: str) -> Sequence[Mapping[str, Any]]:
    """The rows of a query on an SQLite file, each value by the name of its column."""
    with contextlib.closing(sqlite3.connect(file)) as database:
        database.row_factory = sqlite3.Row
        return [dict(row) for row in database.execute(query, values)]


def rows_once_there(url: str, query: str, *, seconds: float = 60.0) -> Sequence[tuple[object, ...]]:
    """The rows of a query, as soon as there is one."""
    deadline = time.monotonic() + seconds
    while not (found := rows(url, query)):
        if time.monotonic() > deadline:
            raise TimeoutError(f"after {seconds} s there is still no row: {query}")
        time.sleep(0.05)
    return found
