"""Public facts as they stand in the log, and which of them somebody wants. Pure.

The log is the table `outbox` in the order of `position`: dense, rising, given once and never again. Everyone reads by
position, so a reader knows that it missed nothing: after position 7 comes 8.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from fnmatch import fnmatchcase
from typing import Any

#: Every public type, with what became true (docs/events.md has an example of each).
TYPES: Mapping[str, str] = {
    "call.started": "a call began",
    "call.answered": "an agent answered, and the call goes on",
    "call.ended": "a call ended, and its case does not go on by itself",
    "call.hangup": "a call ended, and its case goes on by itself",
    "call.corrected": "a public column of an ended call changed",
    "call.withdrawn": "the call proved to be another one, or none",
    "redial.requested": "the next number is being dialled",
    "redial.scheduled": "the next number will be dialled at `due_at`",
    "redial.failed": "dialling failed, and the case is paused",
    "attempt.unknown": "nobody can say what became of an attempt",
    "case.contacted": "the person was reached",
    "case.exhausted": "no number is left",
    "case.cancelled": "somebody stopped the case",
    "case.paused": "a person must look at the case",
    "source.blind": "a hub sees nothing of a source any more",
    "source.recovered": "a hub sees a source again",
    "source.quiet": "a source is silent for longer than usual",
    "record.suspended": "a record could not be understood and is kept",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Event:
    """One public fact. `stored_at` is when it became true in the database (UTC)."""

    position: int
    call_id: str | None
    case_id: str | None
    source: str
    type: str
    revision: int
    stored_at: datetime
    snapshot: Mapping[str, Any]

    @property
    def tenant(self) -> str:
        return str(self.snapshot.get("tenant") or "")

    @property
    def lines(self) -> frozenset[str]:
        """What this event must stay in order with: its call, its case; else its source."""
        found = frozenset(one for one in (self.call_id, self.case_id) if one is not None)
        return found or frozenset({f"source {self.source}"})


@dataclass(frozen=True, kw_only=True, slots=True)
class Selection:
    """Which events somebody wants. Types are patterns (`call.*`); an empty list is everything.

    An event without a queue (of a case, of a source) is not one of a queue.
    """

    types: Sequence[str] = ()
    sources: Sequence[str] = ()
    queues: Sequence[str] = ()
    tenants: Sequence[str] = ()

    def __contains__(self, event: Event) -> bool:
        return (
            (not self.types or any(fnmatchcase(event.type, pattern) for pattern in self.types))
            and (not self.sources or event.source in self.sources)
            and (not self.tenants or event.tenant in self.tenants)
            and (not self.queues or event.snapshot.get("queue") in self.queues)
        )
