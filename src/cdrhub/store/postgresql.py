"""PostgreSQL through asyncpg: binary COPY for what is new, arrays for what may exist.

COPY writes many rows to a page at a time and costs a fraction of any insert, but knows no ON CONFLICT. So a batch is
copied in the belief that all of it is new, which is what phone systems send; a unique violation ends that belief, and
the batch is written again with `INSERT … SELECT FROM unnest(…) ON CONFLICT DO NOTHING RETURNING`, and so are the
next ones for a while.

Statements of a prepared plan are cached by the connection, and a plan made while a table was empty and never analysed
would read it whole ever after. So these connections are told never to: every statement here has an index.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any, cast

import asyncpg
import orjson
from sqlalchemy import URL, Table
from sqlalchemy.dialects import postgresql
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from cdrhub.store.rows import CALL_COLUMNS, RECORD_COLUMNS, UPDATED_COLUMNS, Row
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
from cdrhub.store.trouble import IDLE_SECONDS, NO_SUCH_VALUE, Trouble, driver_error, unique_violation
from cdrhub.store.types import to_json
from cdrhub.turns import Turn

CONNECT_SECONDS = 10.0

# A hub that is suspended in the middle of a transaction holds its locks, that of a lease among them: no other hub could
# go on for as long as it sleeps. So the server ends a transaction that says nothing for so long.
_SETTINGS = (
    f"SET idle_in_transaction_session_timeout = {IDLE_SECONDS * 1000:d}; "
    "SET enable_seqscan = off; SET enable_hashjoin = off; SET enable_mergejoin = off; SET jit = off; "
    "SET default_transaction_isolation = 'read committed'; "
    # The journal forgets a record, and a request to dial leaves, behind a commit: a server that crashes must not have
    # lost it. What else a server is told to wait for, its standbys or not, is its operator's.
    "SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'"
)

LOCK_CALLS = (
    f"SELECT {', '.join(column.name for column in KNOWN_CALL_COLUMNS)} FROM calls "  # noqa: S608  (names of ours only)
    "WHERE call_key = ANY($1::varchar[]) AND source = $2 ORDER BY call_key FOR UPDATE"
)

# Classes and codes: https://www.postgresql.org/docs/current/errcodes-appendix.html
_TRANSIENT = frozenset({"40001", "40P01", "55P03", "57014"})
_REFUSED_CLASSES = frozenset({"22", "23", "54"})


_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def _encode_time(value: datetime) -> tuple[int]:
    """An aware time as PostgreSQL counts it. A call has fifteen times, and the driver's own way takes twice as long."""
    return ((value - _EPOCH) // _MICROSECOND,)


def _decode_time(value: tuple[int]) -> datetime:
    return _EPOCH + timedelta(microseconds=value[0])


async def _in_turns(rows: Sequence[Row]) -> AsyncIterator[Row]:
    """The rows, others having their turn in between: the driver encodes a whole batch without waiting for anything."""
    turn = Turn()
    for row in rows:
        await turn.give_way()
        yield row


def _array_type(table: Table, name: str) -> str:
    kind: str = table.c[name].type.compile(dialect=postgresql.dialect())  # type: ignore[no-untyped-call]
    return kind.partition(" COLLATE")[0].partition("(")[0] + "[]"


@cache
def _from_arrays(table: Table, columns: tuple[str, ...]) -> str:
    """`unnest(…) AS u (…)`: one parameter for each column."""
    arrays = ", ".join(f"${number}::{_array_type(table, name)}" for number, name in enumerate(columns, start=1))
    return f"unnest({arrays}) AS u ({', '.join(columns)})"


@cache
def _insert_missing(table: Table, columns: tuple[str, ...], conflict: str, returning: str) -> str:
    return (
        f"INSERT INTO {table.name} ({', '.join(columns)}) SELECT * FROM {_from_arrays(table, columns)} "  # noqa: S608
        f"ON CONFLICT ({conflict}) DO NOTHING RETURNING {returning}"
    )


@cache
def _update_calls() -> str:
    """All rows exist and are locked: this is an update of many rows that finds each by its id, whatever the planner
    believes of a table that was never analysed. (`UPDATE … FROM unnest(…)` went through the whole table for it.)"""
    return (
        f"INSERT INTO calls ({', '.join(CALL_COLUMNS)}) SELECT * FROM {_from_arrays(calls, CALL_COLUMNS)} "  # noqa: S608
        f"ON CONFLICT (id) DO UPDATE SET {', '.join(f'{name} = EXCLUDED.{name}' for name in UPDATED_COLUMNS)}"
    )


class PostgresTransaction(Transaction):
    """A READ COMMITTED transaction. Its first statement must go through SQLAlchemy, which begins it lazily."""

    async def _driver(self) -> asyncpg.Connection[Any]:
        raw = await self.connection.get_raw_connection()
        return cast("asyncpg.Connection[Any]", raw.driver_connection)

    async def insert_records(self, rows: Sequence[Row], *, expect_new: bool) -> set[RecordKey] | None:
        if expect_new:
            await self.append(records, RECORD_COLUMNS, rows)
            return None
        if not rows:
            return set()
        statement = _insert_missing(records, RECORD_COLUMNS, "digest, source", "source, digest")
        found = await (await self._driver()).fetch(statement, *zip(*rows, strict=True))
        return {(row[0], row[1]) for row in found}

    async def insert_calls(self, rows: Sequence[Row], *, expect_new: bool) -> set[str] | None:
        if expect_new:
            await self.append(calls, CALL_COLUMNS, rows)
            return None
        if not rows:
            return set()
        statement = _insert_missing(calls, CALL_COLUMNS, "call_key, source", "id")
        found = await (await self._driver()).fetch(statement, *zip(*rows, strict=True))
        return {str(row[0]) for row in found}

    async def lock_calls(self, keys: Sequence[CallKey]) -> list[KnownCall]:
        driver = await self._driver()
        found: list[KnownCall] = []
        for source, some in by_source(keys, at_once=len(keys)):
            rows = await driver.fetch(LOCK_CALLS, some, source)
            found.extend(known_call((str(row[0]), *row[1:])) for row in rows)
        return found

    async def update_calls(self, rows: Sequence[Row]) -> None:
        if rows:
            await (await self._driver()).execute(_update_calls(), *zip(*rows, strict=True))

    @asynccontextmanager
    async def keeping_plans(self) -> AsyncIterator[None]:
        # It believes that a list it does not know has ten values, and plans each anew for being shorter: planning takes
        # longer than finding a few rows.
        driver = await self._driver()
        await driver.execute("SET LOCAL plan_cache_mode = force_generic_plan")
        yield
        await driver.execute("SET LOCAL plan_cache_mode = DEFAULT")

    async def append(self, table: Table, columns: Sequence[str], rows: Sequence[Row]) -> None:
        if rows:
            driver = await self._driver()
            await driver.copy_records_to_table(table.name, records=_in_turns(rows), columns=columns)


def engine(url: URL, *, writer: bool, connections: int, seconds: float) -> AsyncEngine:
    """An engine for `postgresql://…`; the whole query of the URL is libpq's (`sslmode`, `sslrootcert`, …). A statement
    that takes longer than `seconds` ends its connection."""
    dsn = url.set(drivername="postgresql").render_as_string(hide_password=False)

    async def connect() -> asyncpg.Connection[Any]:
        connection: asyncpg.Connection[Any] = await asyncpg.connect(
            dsn, timeout=CONNECT_SECONDS, command_timeout=seconds
        )
        try:
            if writer:
                await connection.execute(_SETTINGS)
                await connection.set_type_codec(
                    "timestamptz", schema="pg_catalog", encoder=_encode_time, decoder=_decode_time, format="tuple"
                )
        except BaseException:
            connection.terminate()  # nobody else has it yet
            raise
        return connection

    return create_async_engine(
        "postgresql+asyncpg://",
        async_creator=connect,
        pool_size=connections,
        max_overflow=0,
        pool_timeout=seconds / 2,
        pool_pre_ping=not writer,
        hide_parameters=True,
        # JSONB keeps 1e30 as 31 digits; Python's own reader makes a whole number of them that nothing here can write.
        json_deserializer=orjson.loads,
        json_serializer=to_json,
    )


def trouble(error: BaseException) -> Trouble | None:
    """What `error` means for the batch."""
    cause = driver_error(error)
    if isinstance(cause, asyncpg.UniqueViolationError):
        return unique_violation(str(cause.constraint_name))
    if isinstance(cause, asyncpg.PostgresError):
        state = cause.sqlstate or ""
        if state in _TRANSIENT:
            return Trouble.TRANSIENT
        return Trouble.REFUSED if state[:2] in _REFUSED_CLASSES else Trouble.AWAY
    if isinstance(cause, NO_SUCH_VALUE):
        return Trouble.REFUSED
    if isinstance(
        cause, asyncpg.InterfaceError | asyncpg.InternalClientError | OSError | EOFError | asyncio.TimeoutError
    ):
        return Trouble.AWAY
    return None
