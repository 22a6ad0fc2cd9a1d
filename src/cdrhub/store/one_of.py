"""`column IN (…)` for a list of any length, which on PostgreSQL and SQLite is one parameter.

There, an IN of several hundred values is as many parameters, and a text of its own for every number of them: written,
parsed and planned anew each time; beyond 32,766 values no text at all. An array is one parameter of one text, and so is
JSON that SQLite takes apart. MariaDB's driver writes all values into the text in any case.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import ARRAY, Column, ColumnElement, Select, String, any_, bindparam, func, select
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.visitors import InternalTraversal
from sqlalchemy.types import Boolean

from cdrhub.store.sqlite_rows import READS_JSON
from cdrhub.store.types import Json


class OneOf(ColumnElement[bool]):
    """The column is one of the values of the parameter `name`, a list."""

    inherit_cache = True
    type = Boolean()
    _traverse_internals: Any = (
        ("values", InternalTraversal.dp_clauseelement),
        ("array", InternalTraversal.dp_clauseelement),
        ("json", InternalTraversal.dp_clauseelement),
    )

    def __init__(self, its: Column[Any], name: str) -> None:
        self.values = its.in_(bindparam(name, expanding=True))
        # Without its length, to which the cast would cut a value.
        kind = String() if isinstance(its.type, String) else its.type
        self.array = its == any_(bindparam(name, type_=ARRAY(kind)))
        listed = func.json_each(bindparam(name, type_=Json())).table_valued("value")
        self.json = its.in_(select(listed.c.value))

    def self_group(self, against: object = None) -> OneOf:  # noqa: ARG002
        """Itself: SQLAlchemy would write `(…) = 1` where a boolean is no type of the database."""
        return self


class OneFound(ColumnElement[bool]):
    """The column is one of what `query` finds, and is looked for by its own index once that is found. PostgreSQL, where
    it believes that much is found, would rather go through the whole table and ask for each row whether it is among it:
    a table of all calls, for a few that a backlog had left when it was analysed."""

    inherit_cache = True
    type = Boolean()
    _traverse_internals: Any = (
        ("either", InternalTraversal.dp_clauseelement),
        ("array", InternalTraversal.dp_clauseelement),
    )

    def __init__(self, its: Column[Any], query: Select[Any]) -> None:
        self.either = its.in_(query)
        self.array = its == any_(func.array(query.scalar_subquery(), type_=ARRAY(its.type)))

    def self_group(self, against: object = None) -> OneFound:  # noqa: ARG002
        """Itself, as above."""
        return self


@compiles(OneFound)
def _either(element: OneFound, compiler: SQLCompiler, **options: Any) -> str:
    return compiler.process(element.either, **options)


@compiles(OneFound, "postgresql")
def _found(element: OneFound, compiler: SQLCompiler, **options: Any) -> str:
    return compiler.process(element.array, **options)


@compiles(OneOf)
def _values(element: OneOf, compiler: SQLCompiler, **options: Any) -> str:
    return compiler.process(element.values, **options)


@compiles(OneOf, "postgresql")
def _array(element: OneOf, compiler: SQLCompiler, **options: Any) -> str:
    return compiler.process(element.array, **options)


@compiles(OneOf, "sqlite")
def _json(element: OneOf, compiler: SQLCompiler, **options: Any) -> str:
    return compiler.process(element.json if READS_JSON else element.values, **options)
