"""What an error of a database means for the batch that met it."""

from __future__ import annotations

from enum import Enum, auto

from sqlalchemy.exc import DBAPIError, StatementError


class Trouble(Enum):
    """The kinds of trouble; each engine sorts its errors into them."""

    RACED = auto()  #: a unique key: the guess that everything is new was wrong, or another writer was faster
    TRANSIENT = auto()  #: deadlock, serialisation, lock time-out: the same transaction may work now
    AWAY = auto()  #: no connection, shutting down, disk full: wait for the database
    REFUSED = auto()  #: some value of the batch: find the record and suspend it


#: What the drivers and we raise for a value of a wrong type or form, before it reaches the server.
NO_SUCH_VALUE = (ValueError, TypeError, OverflowError, AttributeError)


def driver_error(error: BaseException) -> BaseException:
    """The driver's own error inside SQLAlchemy's and its adapters'."""
    while True:
        inner = error.orig if isinstance(error, StatementError) else None
        if inner is None and not isinstance(error, DBAPIError):
            inner = error.__cause__ if type(error).__module__.startswith("sqlalchemy.") else None
        if inner is None:
            return error
        error = inner
