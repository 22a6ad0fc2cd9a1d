"""What an error of a database means for the batch that met it."""

from __future__ import annotations

from enum import Enum, auto

from sqlalchemy import UniqueConstraint
from sqlalchemy.exc import DBAPIError, StatementError

from cdrhub.store.redial_tables import attempts, cases, redial_decisions
from cdrhub.store.tables import agent_states, calls, records

IDLE_SECONDS = 20  #: in the middle of a transaction, after which the server ends it: its hub is suspended, or gone

#: The unique keys that decide what is new, as the engines name them: by constraint, or (SQLite) by columns.
_DECIDING = tuple(
    name
    for table in (records, calls, agent_states, attempts, cases, redial_decisions)
    for key in table.constraints
    if isinstance(key, UniqueConstraint)
    for name in (str(key.name), ", ".join(f"{table.name}.{column.name}" for column in key.columns))
)


class Trouble(Enum):
    """The kinds of trouble; each engine sorts its errors into them."""

    RACED = auto()  #: a key that decides what is new: the guess was wrong, or another writer was faster
    TRANSIENT = auto()  #: deadlock, serialisation, lock time-out: the same transaction may work now
    AWAY = auto()  #: no connection, shutting down, disk full: wait for the database
    REFUSED = auto()  #: some value of the batch: find the record and suspend it


#: What the drivers and we raise for a value of a wrong type or form, before it reaches the server.
NO_SUCH_VALUE = (ValueError, TypeError, OverflowError, AttributeError)


def unique_violation(said: str) -> Trouble:
    """What a violated constraint means, by the message `said` of the engine. Only the unique keys that decide what is
    new can be met by writing the batch again; any other stays violated."""
    return Trouble.RACED if any(name in said for name in _DECIDING) else Trouble.REFUSED


def driver_error(error: BaseException) -> BaseException:
    """The driver's own error inside SQLAlchemy's and its adapters'."""
    while True:
        inner = error.orig if isinstance(error, StatementError) else None
        if inner is None and not isinstance(error, DBAPIError):
            inner = error.__cause__ if type(error).__module__.startswith("sqlalchemy.") else None
        if inner is None:
            return error
        error = inner
