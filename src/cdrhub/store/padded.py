"""Rows of several tables by one query, in one round trip to the database."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sqlalchemy import Column, Select, Table, null, select, type_coerce


def padded(table: Table, columns: Iterable[Column[Any]]) -> Select[Any]:
    """The rows of `table` with all of `columns`, for a union: null for those that only other tables have."""
    return select(
        *(table.c.get(column.name, type_coerce(null(), column.type)).label(column.name) for column in columns)
    )
