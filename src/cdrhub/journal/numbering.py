"""Whether the numbers of a journal agree with each other.

A group begins where the one before it ended, whether that is among those that cannot be read or not, and nothing is
left of what the checkpoint covers. So a number that another one took the place of shows, but for a checkpoint that
stays within its group: that one is written twice.
"""

from __future__ import annotations

import sqlite3
from datetime import UTC, datetime

from cdrhub.journal.packing import microseconds

_LATEST = microseconds(datetime.max.replace(tzinfo=UTC))
_GROUPS = """
SELECT last, count, received_at FROM groups
UNION ALL SELECT last, count, received_at FROM damaged WHERE last > ? ORDER BY last
"""


def contradiction(connection: sqlite3.Connection) -> str | None:
    """What is contradictory about the numbers; None where they agree. Raises TypeError for what is no number."""
    checkpoint, again = connection.execute("SELECT checkpoint, checkpoint_again FROM progress").fetchone()
    if checkpoint != again:
        return f"the checkpoint is {checkpoint} and {again}"
    reached = None
    for last, count, received_at in connection.execute(_GROUPS, (checkpoint,)):
        before = last - count
        if last <= checkpoint:
            return f"entry {last} is there, which the checkpoint {checkpoint} covers"
        if before > checkpoint if reached is None else before != reached:
            return f"the group that ends with entry {last} begins behind entry {before}, not {reached or checkpoint}"
        if not 0 <= received_at <= _LATEST:
            return f"the group that ends with entry {last} was received out of all time"
        reached = last
    return None
