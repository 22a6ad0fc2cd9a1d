"""How errors of the drivers are sorted."""

from __future__ import annotations

import sqlite3

import asyncpg
import pytest
from asyncmy import errors as asyncmy_errors
from sqlalchemy.exc import IntegrityError, OperationalError

from cdrhub.store import mariadb, postgresql, sqlite
from cdrhub.store.trouble import Trouble, driver_error


def violation(constraint: str) -> asyncpg.UniqueViolationError:
    """What PostgreSQL says of a key that is there already."""
    error = asyncpg.UniqueViolationError(f'duplicate key value violates unique constraint "{constraint}"')
    error.constraint_name = constraint
    return error


@pytest.mark.parametrize(
    ("error", "trouble"),
    [
        (violation("uq_calls_call_key_source"), Trouble.RACED),
        (violation("uq_records_digest_source"), Trouble.RACED),
        (violation("call_legs_pkey"), Trouble.REFUSED),
        (asyncpg.UniqueViolationError(""), Trouble.REFUSED),
        (asyncpg.DeadlockDetectedError(""), Trouble.TRANSIENT),
        (asyncpg.SerializationError(""), Trouble.TRANSIENT),
        (asyncpg.QueryCanceledError(""), Trouble.TRANSIENT),
        (asyncpg.NumericValueOutOfRangeError(""), Trouble.REFUSED),
        (asyncpg.StringDataRightTruncationError(""), Trouble.REFUSED),
        (asyncpg.NotNullViolationError(""), Trouble.REFUSED),
        (asyncpg.ProgramLimitExceededError(""), Trouble.REFUSED),
        (asyncpg.CharacterNotInRepertoireError(""), Trouble.REFUSED),
        (ValueError("bad"), Trouble.REFUSED),
        (asyncpg.DiskFullError(""), Trouble.AWAY),
        (asyncpg.AdminShutdownError(""), Trouble.AWAY),
        (asyncpg.CannotConnectNowError(""), Trouble.AWAY),
        (asyncpg.ReadOnlySQLTransactionError(""), Trouble.AWAY),
        (asyncpg.InsufficientPrivilegeError(""), Trouble.AWAY),
        (asyncpg.UndefinedTableError(""), Trouble.AWAY),
        (asyncpg.InterfaceError("connection is closed"), Trouble.AWAY),
        (ConnectionResetError(), Trouble.AWAY),
        (TimeoutError(), Trouble.AWAY),
        (KeyError("ours"), None),
    ],
    ids=repr,
)
def test_postgresql(error: Exception, trouble: Trouble | None) -> None:
    assert postgresql.trouble(error) is trouble


@pytest.mark.parametrize(
    ("error", "trouble"),
    [
        (
            asyncmy_errors.IntegrityError(1062, "Duplicate entry 'k-a' for key 'uq_calls_call_key_source'"),
            Trouble.RACED,
        ),
        (
            asyncmy_errors.IntegrityError(1062, "Duplicate entry 'd-a' for key 'uq_records_digest_source'"),
            Trouble.RACED,
        ),
        (asyncmy_errors.IntegrityError(1062, "Duplicate entry 'c-1000#2' for key 'PRIMARY'"), Trouble.REFUSED),
        (asyncmy_errors.OperationalError(1213, "Deadlock"), Trouble.TRANSIENT),
        (asyncmy_errors.OperationalError(1205, "Lock wait timeout"), Trouble.TRANSIENT),
        (asyncmy_errors.DataError(1406, "Data too long"), Trouble.REFUSED),
        (asyncmy_errors.OperationalError(1153, "packet bigger than max_allowed_packet"), Trouble.REFUSED),
        (asyncmy_errors.OperationalError(2013, "Lost connection"), Trouble.AWAY),
        (asyncmy_errors.OperationalError(1040, "Too many connections"), Trouble.AWAY),
        (asyncmy_errors.InternalError(1021, "Disk full"), Trouble.AWAY),
        (ConnectionRefusedError(), Trouble.AWAY),
        (UnicodeEncodeError("utf-8", "\ud800", 0, 1, "surrogate"), Trouble.REFUSED),
        (KeyError("ours"), None),
    ],
    ids=repr,
)
def test_mariadb(error: Exception, trouble: Trouble | None) -> None:
    assert mariadb.trouble(error) is trouble


@pytest.mark.parametrize(
    ("error", "trouble"),
    [
        (sqlite3.IntegrityError("UNIQUE constraint failed: records.digest, records.source"), Trouble.RACED),
        (sqlite3.IntegrityError("UNIQUE constraint failed: calls.call_key, calls.source"), Trouble.RACED),
        (sqlite3.IntegrityError("UNIQUE constraint failed: call_legs.call_id, call_legs.leg_key"), Trouble.REFUSED),
        (sqlite3.IntegrityError("NOT NULL constraint failed: calls.state"), Trouble.REFUSED),
        (sqlite3.OperationalError("database is locked"), Trouble.TRANSIENT),
        (sqlite3.OperationalError("database or disk is full"), Trouble.AWAY),
        (sqlite3.OperationalError("disk I/O error"), Trouble.AWAY),
        (OverflowError("Python int too large to convert to SQLite INTEGER"), Trouble.REFUSED),
        (sqlite3.ProgrammingError("Error binding parameter 1"), Trouble.REFUSED),
        (KeyError("ours"), None),
    ],
    ids=repr,
)
def test_sqlite(error: Exception, trouble: Trouble | None) -> None:
    assert sqlite.trouble(error) is trouble


def test_the_driver_s_error_is_found_inside_sqlalchemy_s() -> None:
    inner = sqlite3.IntegrityError("UNIQUE constraint failed: calls.call_key, calls.source")
    assert driver_error(IntegrityError("INSERT", {}, inner)) is inner
    assert sqlite.trouble(IntegrityError("INSERT", {}, inner)) is Trouble.RACED
    locked = OperationalError("BEGIN", {}, sqlite3.OperationalError("database is locked"))
    assert sqlite.trouble(locked) is Trouble.TRANSIENT
