"""Column types that hold the same values on SQLite, PostgreSQL and MariaDB.

What differs between the engines is decided here and nowhere else: times keep their microseconds and come back aware,
in UTC; text is compared byte by byte, with case and trailing blanks (MariaDB's default collations ignore both);
bodies may be of any length; JSON is JSONB where the engine has it; ids of calls are native UUIDs or 36 characters.
"""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from functools import lru_cache
from typing import Any

import orjson
from sqlalchemy import BigInteger, DateTime, Dialect, Integer, LargeBinary, Numeric, String, Text
from sqlalchemy.dialects import mysql, postgresql
from sqlalchemy.types import TypeDecorator, TypeEngine

MARIADB_DIALECTS = frozenset({"mysql", "mariadb"})
MARIADB_CHARSET = "utf8mb4"
MARIADB_COLLATION = "utf8mb4_nopad_bin"
"""Binary and without padding: `A` is not `a`, `7` is not `7 `."""

COST_DIGITS, COST_DECIMALS = 12, 4
UUID_CHARACTERS = 36
SQLITE_TIME_CHARACTERS = 27
HOUR_CHARACTERS = 20

CACHED_TIMES = 8_192  #: as text; one moment stands in several columns of a call and its legs


def text(length: int) -> TypeEngine[str]:
    """Text of at most `length` characters, compared and sorted by its bytes on every engine."""
    return (
        String(length)
        .with_variant(postgresql.VARCHAR(length, collation="C"), "postgresql")
        .with_variant(
            mysql.VARCHAR(length, charset=MARIADB_CHARSET, collation=MARIADB_COLLATION),
            "mysql",
            "mariadb",
        )
    )


def body() -> TypeEngine[bytes]:
    """Bytes of any length (MariaDB's BLOB would end at 64 KiB)."""
    return LargeBinary().with_variant(mysql.LONGBLOB(), "mysql", "mariadb")


def digest(length: int) -> TypeEngine[bytes]:
    """Exactly `length` bytes."""
    return LargeBinary(length).with_variant(mysql.BINARY(length), "mysql", "mariadb")


def serial() -> TypeEngine[int]:
    """A rising 64-bit number (SQLite numbers only a column of type INTEGER)."""
    return BigInteger().with_variant(Integer(), "sqlite")


@lru_cache(maxsize=CACHED_TIMES)
def sqlite_time(value: datetime) -> str:
    """`value` as SQLite holds it: `2026-03-01T08:00:00.000000Z`, which sorts as text and which its date functions
    understand."""
    if value.tzinfo is not UTC:
        value = value.astimezone(UTC)
    return value.isoformat("T", "microseconds")[:26] + "Z"


def hour_of(value: datetime) -> str:
    """The hour of `value`, UTC: `2026-03-01T08:00:00Z`."""
    return sqlite_time(value)[:13] + ":00:00Z"


def mariadb_time(value: datetime) -> datetime:
    """`value` as MariaDB's zone-less DATETIME(6) holds it: in UTC."""
    return value.astimezone(UTC).replace(tzinfo=None)


def to_json(value: Any) -> str:
    """`value` as JSON text. Raises TypeError for what JSON cannot hold."""
    return orjson.dumps(value).decode()


class UtcDateTime(TypeDecorator[datetime]):
    """An aware moment with microseconds; comes back in UTC. A naive one is refused."""

    impl = DateTime
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        if dialect.name == "postgresql":
            return dialect.type_descriptor(postgresql.TIMESTAMP(timezone=True))
        if dialect.name in MARIADB_DIALECTS:
            return dialect.type_descriptor(mysql.DATETIME(fsp=6))
        return dialect.type_descriptor(String(SQLITE_TIME_CHARACTERS))

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> Any:
        if value is None:
            return None
        if value.tzinfo is None:
            raise TypeError("a time without a zone cannot be stored")
        if dialect.name == "postgresql":
            return value
        return mariadb_time(value) if dialect.name in MARIADB_DIALECTS else sqlite_time(value)

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if dialect.name == "postgresql":
            return value.astimezone(UTC)  # type: ignore[no-any-return]
        if dialect.name in MARIADB_DIALECTS:
            return value.replace(tzinfo=UTC)  # type: ignore[no-any-return]
        return datetime.fromisoformat(value)


class Json(TypeDecorator[Any]):
    """A JSON value; None is SQL's NULL."""

    impl = Text
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        if dialect.name == "postgresql":
            return dialect.type_descriptor(postgresql.JSONB(none_as_null=True))
        if dialect.name in MARIADB_DIALECTS:
            return dialect.type_descriptor(mysql.LONGTEXT(charset=MARIADB_CHARSET, collation=MARIADB_COLLATION))
        return dialect.type_descriptor(Text())

    def process_bind_param(self, value: Any, dialect: Dialect) -> Any:
        if value is None or dialect.name == "postgresql":
            return value
        return to_json(value)

    def process_result_value(self, value: Any, dialect: Dialect) -> Any:
        if value is None or dialect.name == "postgresql":
            return value
        return orjson.loads(value)


class Cost(TypeDecorator[Decimal]):
    """Money in major units with four decimals, exact (SQLite has no decimals: text)."""

    impl = Numeric
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        if dialect.name == "sqlite":
            return dialect.type_descriptor(String(COST_DIGITS + 2))
        return dialect.type_descriptor(Numeric(COST_DIGITS, COST_DECIMALS))

    def process_bind_param(self, value: Decimal | None, dialect: Dialect) -> Any:
        if value is None or dialect.name != "sqlite":
            return value
        return str(value)

    def process_result_value(self, value: Any, dialect: Dialect) -> Decimal | None:
        if dialect.name == "sqlite" and value is not None:
            return Decimal(value)
        exact: Decimal | None = value
        return exact


class CallId(TypeDecorator[str]):
    """The id of a call, a UUID as its 36 characters: native on PostgreSQL, text elsewhere (MariaDB has a native type
    only since 10.7)."""

    impl = String
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        if dialect.name == "postgresql":
            return dialect.type_descriptor(postgresql.UUID(as_uuid=False))
        if dialect.name in MARIADB_DIALECTS:
            return dialect.type_descriptor(mysql.CHAR(UUID_CHARACTERS, charset="ascii", collation="ascii_bin"))
        return dialect.type_descriptor(String(UUID_CHARACTERS))
