"""One transaction of redial, begun again where another hub was faster.

Two unique keys of `attempts` see to it that a case, and an agent, has one live attempt. Who comes second meets them at
the commit, and reads anew what now stands.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

from cdrhub.store.engine import Database, RacedError
from cdrhub.store.transaction import Transaction

RACES = 5  #: after so many the key is not about to be free

T = TypeVar("T")


async def transact(database: Database, work: Callable[[Transaction], Awaitable[T]]) -> T:
    """Run `work` in a write transaction. Raises RacedError where another's attempt stays in the way, StoreUnavailable
    while the database is away."""
    for _ in range(RACES):
        try:
            return await database.write(work)
        except RacedError:
            continue
    return await database.write(work)
