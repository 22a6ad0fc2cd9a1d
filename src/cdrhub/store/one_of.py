"""`column IN (…)` for a list of any length, which on PostgreSQL is one parameter.

There, an IN of several hundred values is as many parameters, and a text of its own for every number of them: written,
parsed and planned anew each time. An array is one parameter of one text. The others have no arrays.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import ARRAY, Column, ColumnElement, String, any_, bindparam
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.visitors import InternalTraversal
from sqlalchemy.types import Boolean


class OneOf(ColumnElement[bool]):
    """The column is one of the values of the parameter `name`, a list."""

    inherit_cache = True
    type = Boolean()
    _traverse_internals: Any = (
        ("values", InternalTraversal.dp_clauseelement),
        ("array", InternalTraversal.dp_clauseelement),
    )

    def __init__(self, column: Column[Any], name: str) -> None:
        self.values = column.in_(bindparam(name, expanding=True))
        # Without its length, to which the cast would cut a value.
        kind = String() if isinstance(column.type, String) else column.type
        self.array = column == any_(bindparam(name, type_=ARRAY(kind)))

    def self_group(self, against: object = None) -> OneOf:  # noqa: ARG002
        """Itself: SQLAlchemy would write `(…) = 1` where a boolean is no type of the database."""
        return self


@compiles(OneOf)
def _values(element: OneOf, compiler: SQLCompiler, **options: Any) -> str:
    return compiler.process(element.values, **options)


@compiles(OneOf, "postgresql")
def _array(element: OneOf, compiler: SQLCompiler, **options: Any) -> str:
    return compiler.process(element.array, **options)
