"""MariaDB through asyncmy: READ COMMITTED, multi-row statements, InnoDB's locks taken in the order of the keys."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from asyncmy import errors
from asyncmy.connection import Connection
from sqlalchemy import URL
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from cdrhub.store.portable import PortableTransaction, insert_statement
from cdrhub.store.rows import CALL_COLUMNS, UPDATED_COLUMNS, Row
from cdrhub.store.tables import calls
from cdrhub.store.trouble import IDLE_SECONDS, NO_SUCH_VALUE, Trouble, driver_error, unique_violation
from cdrhub.store.types import UtcDateTime, mariadb_time

CONNECT_SECONDS = 10.0  #: from the first packet to the last of the handshake
#: Whatever the server's is. The driver writes bytes with backslashes also where the server takes them for themselves
#: (NO_BACKSLASH_ESCAPES): a quote in a body would end its literal. A mode that is not strict cuts values in silence.
SQL_MODE = "STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION"

# Error numbers: https://mariadb.com/kb/en/mariadb-error-code-reference/
DUPLICATE_KEY = 1062
TOO_LARGE = 1153  # packet larger than max_allowed_packet
TRANSIENT = frozenset({1205, 1213, 1020})  # lock wait time-out, deadlock, row changed since read
REFUSED = frozenset(
    {
        1048,  # column cannot be null
        1118,  # row too large
        TOO_LARGE,
        1264,  # out of range
        1265,  # data truncated
        1292,  # wrong value
        1366,  # wrong string value
        1367,  # illegal value
        1406,  # data too long
        1690,  # out of range
        4025,  # check constraint
    }
)

# All rows exist and are locked: this is an update of many rows in one statement.
_UPDATE = (
    f"{insert_statement(calls, CALL_COLUMNS, '%s')} ON DUPLICATE KEY UPDATE "
    f"{', '.join(f'{name} = VALUES({name})' for name in UPDATED_COLUMNS)}"
)


class MariaDBTransaction(PortableTransaction):
    """A READ COMMITTED transaction."""

    placeholder = "%s"
    conversions = {UtcDateTime: mariadb_time}  # noqa: RUF012  (read-only, declared in the base)

    async def update_calls(self, rows: Sequence[Row]) -> None:
        if rows:
            await self.connection.exec_driver_sql(_UPDATE, self.converted(calls, CALL_COLUMNS, rows))


class _Connection(Connection):
    """Sends nothing that the server would not take: of a larger statement it may only hang up, which looks as if it had
    gone away and were worth waiting for."""

    largest: int | None = None  #: bytes; `max_allowed_packet` of the session

    async def _execute_command(self, command: int, sql: bytes | str) -> None:
        size = len(sql.encode() if isinstance(sql, str) else sql) + 1  # the command itself
        if self.largest is not None and size > self.largest:
            said = f"a statement of {size} bytes, and max_allowed_packet of the server is {self.largest}"
            raise errors.OperationalError(TOO_LARGE, said)
        await super()._execute_command(command, sql)  # type: ignore[misc]  # all commands pass through it


async def _connect(**how: Any) -> Connection:
    """The driver's own `connect_timeout` ends with TCP's handshake: a server that says nothing then would hold us. Of a
    password it would make Latin-1; the server's own programs send UTF-8."""
    how["password"] = how.get("password", "").encode()
    connection = _Connection(**how)  # type: ignore[no-untyped-call]
    try:
        async with asyncio.timeout(CONNECT_SECONDS):
            await connection.connect()
            async with connection.cursor() as cursor:
                await cursor.execute("SELECT @@max_allowed_packet")
                (connection.largest,) = await cursor.fetchone()
    except BaseException:
        connection.close()  # nobody else has it yet
        raise
    return connection


def engine(url: URL, *, writer: bool, connections: int, seconds: float) -> AsyncEngine:
    """An engine for `mariadb://…`; TLS by `ssl_ca`, `ssl_cert`, `ssl_key`, `ssl_check_hostname` in the query. A reader
    that gets no answer for `seconds` ends its connection; a writer's transaction is bounded as a whole."""
    # The server ends a transaction that says nothing for so long: a hub that is suspended in the middle of one holds
    # its locks, that of a lease among them.
    idle = f"SET idle_transaction_timeout = {IDLE_SECONDS:d}"
    waiting = {"init_command": idle} if writer else {"read_timeout": seconds}
    return create_async_engine(
        url.set(drivername="mariadb+asyncmy").update_query_dict({"charset": "utf8mb4"}),
        isolation_level="READ COMMITTED",
        pool_size=connections,
        max_overflow=0,
        pool_timeout=seconds / 2,
        pool_pre_ping=not writer,
        pool_recycle=3600,
        connect_args={"async_creator_fn": _connect, "sql_mode": f"'{SQL_MODE}'", **waiting},
        hide_parameters=True,
    )


def trouble(error: BaseException) -> Trouble | None:
    """What `error` means for the batch."""
    cause = driver_error(error)
    if type(cause).__module__.startswith(("asyncmy", "sqlalchemy")):
        number = cause.args[0] if cause.args and isinstance(cause.args[0], int) else 0
        if number == DUPLICATE_KEY:
            return unique_violation(str(cause.args[-1]))
        if number in TRANSIENT:
            return Trouble.TRANSIENT
        return Trouble.REFUSED if number in REFUSED else Trouble.AWAY
    if isinstance(cause, NO_SUCH_VALUE):
        return Trouble.REFUSED
    return Trouble.AWAY if isinstance(cause, OSError | EOFError) else None
