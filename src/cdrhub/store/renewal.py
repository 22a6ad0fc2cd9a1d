"""Renewal: connections that were made before a failure of the database are not used again.

Disposing of a pool closes only its idle connections. Those in use go back to a pool that nobody asks any more, and stay
open, here and in the server, as long as the process lives.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import event
from sqlalchemy.exc import DisconnectionError
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.pool import ConnectionPoolEntry

_ROUND = "cdrhub_round"


class Renewal:
    """Counts the rounds of an engine's connections. Those of an earlier round are closed: one that nobody uses when
    it is asked for, one in use when it is given back."""

    def __init__(self, engine: AsyncEngine) -> None:
        self.made = 0  #: connections so far
        self._round = 0
        event.listen(engine.sync_engine, "connect", self._made)
        event.listen(engine.sync_engine, "checkout", self._asked_for)
        event.listen(engine.sync_engine, "checkin", self._given_back)

    def begin(self) -> None:
        """From now on use only connections that are made from now on."""
        self._round += 1

    def _made(self, _connection: Any, entry: ConnectionPoolEntry) -> None:
        self.made += 1
        entry.info[_ROUND] = self._round

    def _asked_for(self, _connection: Any, entry: ConnectionPoolEntry, _proxy: Any) -> None:
        if entry.info[_ROUND] < self._round:
            raise DisconnectionError  # the pool makes it anew

    def _given_back(self, _connection: Any, entry: ConnectionPoolEntry) -> None:
        if entry.dbapi_connection is not None and entry.info[_ROUND] < self._round:
            entry.invalidate()
