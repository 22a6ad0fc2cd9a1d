"""Independent changes in one round trip, where the database can do that.

A statement of PostgreSQL may carry others that change tables (https://www.postgresql.org/docs/current/queries-with.html).
None of them sees the effect of another, their order is undefined, and no two may change the same row.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from sqlalchemy import BindParameter, Delete, Insert, Select, Update, bindparam, literal_column, select
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.sql.visitors import replacement_traverse

Row = Mapping[str, Any]


class Together:
    """Statements by name. All their values are `bindparam`s, for each statement is given its own rows."""

    def __init__(self, **statements: Insert | Update | Delete) -> None:
        self._statements = statements
        self._as_one: dict[tuple[str, ...], Select[Any]] = {}

    async def execute(self, connection: AsyncConnection, rows: Mapping[str, Sequence[Row]]) -> None:
        """Execute each statement with its rows, if it has any."""
        given = {name: its for name, its in rows.items() if its}
        if connection.dialect.name == "postgresql" and len(given) > 1 and all(len(its) == 1 for its in given.values()):
            values = {f"{name}_{key}": value for name, (row,) in given.items() for key, value in row.items()}
            await connection.execute(self._one_of(tuple(given)), values)
            return
        for name, its in given.items():
            await connection.execute(self._statements[name], its)

    def _one_of(self, names: tuple[str, ...]) -> Select[Any]:
        """These statements as one, which takes a row of each."""
        if names not in self._as_one:
            parts = (_renamed(self._statements[name], name).cte(f"{name}_part") for name in names)
            self._as_one[names] = select(literal_column("1")).add_cte(*parts)
        return self._as_one[names]


def _renamed(statement: Insert | Update | Delete, name: str) -> Any:
    """The statement with its parameters named after it."""
    return replacement_traverse(statement, {}, partial(_parameter, of=name))


def _parameter(element: Any, *, of: str) -> Any:
    if isinstance(element, BindParameter) and element.required:
        return bindparam(f"{of}_{element.key}", type_=element.type)
    return None
