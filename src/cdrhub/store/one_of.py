"""`column IN (…)` for a list of any length, which on PostgreSQL and SQLite is one parameter.

There, an IN of several hundred values has as many parameters, and the statement is another one for each number of
values: written, parsed and planned anew; more than 32,766 are refused. An array is one parameter of one statement, and
so is JSON that SQLite takes apart. MariaDB's driver writes all values into the statement in any case.
"""

from __future__ import annotations

from typing import Any, Self

from sqlalchemy import ARRAY, Column, ColumnElement, Select, String, any_, bindparam, func, select
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.visitors import InternalTraversal
from sqlalchemy.types import Boolean

from cdrhub.store.sqlite_rows import READS_JSON
from cdrhub.store.types import Json


class _Spelt(ColumnElement[bool]):
    """A condition that has a form of its own for each kind of database."""

    inherit_cache = True
    type = Boolean()
    _traverse_internals: Any = (
        ("postgresql", InternalTraversal.dp_clauseelement),
        ("sqlite", InternalTraversal.dp_clauseelement),
        ("elsewhere", InternalTraversal.dp_clauseelement),
    )

    def __init__(
        self, *, postgresql: ColumnElement[bool], sqlite: ColumnElement[bool], elsewhere: ColumnElement[bool]
    ) -> None:
        self.postgresql = postgresql
        self.sqlite = sqlite
        self.elsewhere = elsewhere

    def self_group(self, against: object = None) -> Self:  # noqa: ARG002
        """Itself: SQLAlchemy would write `(…) = 1` where a boolean is no type of the database."""
        return self


@compiles(_Spelt)
def _form(element: _Spelt, compiler: SQLCompiler, **options: Any) -> str:
    form: ColumnElement[bool] = getattr(element, compiler.dialect.name, element.elsewhere)
    return compiler.process(form, **options)


class OneOf(_Spelt):
    """The column is one of the values of the parameter `name`, a list."""

    inherit_cache = True

    def __init__(self, its: Column[Any], name: str) -> None:
        # Without its length, to which the cast would cut a value.
        kind = String() if isinstance(its.type, String) else its.type
        listed = func.json_each(bindparam(name, type_=Json())).table_valued("value")
        values = its.in_(bindparam(name, expanding=True))
        super().__init__(
            postgresql=its == any_(bindparam(name, type_=ARRAY(kind))),
            sqlite=its.in_(select(listed.c.value)) if READS_JSON else values,
            elsewhere=values,
        )


class OneFound(_Spelt):
    """The column is one of the values that `query` finds, each looked up by the column's own index. Left to itself,
    PostgreSQL scans the whole table if it expects `query` to find much: all calls, for a few, after a backlog had been
    analysed."""

    inherit_cache = True

    def __init__(self, its: Column[Any], query: Select[Any]) -> None:
        either = its.in_(query)
        array = func.array(query.scalar_subquery(), type_=ARRAY(its.type))
        super().__init__(postgresql=its == any_(array), sqlite=either, elsewhere=either)
