"""Plain SQL on the database of a daemon, past the program."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Sequence

import psycopg


def rows(url: str, query: str) -> Sequence[tuple[object, ...]]:
    """The rows of a query, on SQLite or PostgreSQL."""
    if url.startswith("sqlite:///"):
        with contextlib.closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as database:
            return database.execute(query).fetchall()
    with psycopg.connect(url) as connection:
        return connection.execute(query.encode()).fetchall()
