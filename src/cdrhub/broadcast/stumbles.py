"""Events at which an endpoint fails although it takes others: such as its program cannot handle. Pure.

Such an event must not hold up all that comes after it for three days. It is tried again by the first steps of the
endpoint's own schedule; other events of its call wait for it, all others go on; in the end it counts as refused. It is
to blame only if the endpoint took another event since: without that proof the endpoint is.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from cdrhub.broadcast.health import SCHEDULE

TRIES = 4  #: at once, after 5 s, 5 min and 30 min


@dataclass(slots=True)
class _Stumble:
    failures: int
    next_at: datetime
    took_others: bool = False  #: since the last of them


class Stumbles:
    """What one endpoint stumbles over, by position in the log; times are UTC."""

    def __init__(self) -> None:
        self._known: dict[int, _Stumble] = {}

    def __contains__(self, position: int) -> bool:
        return position in self._known

    def began(self, position: int, *, now: datetime) -> None:
        """The endpoint took others until it failed at this event."""
        self._known.setdefault(position, _Stumble(failures=1, next_at=now + SCHEDULE[1]))

    def again(self, position: int, *, now: datetime) -> bool:
        """The endpoint failed at this event once more. Whether the event is to blame, because others were taken
        since."""
        found = self._known.get(position)
        if found is None or not found.took_others:
            return False
        found.failures += 1
        found.next_at = now + SCHEDULE[min(found.failures, TRIES)]
        found.took_others = False
        return True

    def took(self, position: int, *, proof: bool) -> None:
        """The endpoint took or refused this event; `proof`: the request left after its last failure."""
        self._known.pop(position, None)
        for other in self._known.values():
            other.took_others = other.took_others or proof

    def failures(self, position: int) -> int:
        """How often it failed at this event."""
        found = self._known.get(position)
        return found.failures if found is not None else 0

    def waits(self, position: int, *, now: datetime) -> bool:
        """Whether it is not yet time to try this event again."""
        found = self._known.get(position)
        return found is not None and now < found.next_at

    def set_back(self, by: timedelta) -> None:
        """The clock was set back by so much: remaining waits stay as long as they were."""
        for found in self._known.values():
            found.next_at -= by

    def forget(self) -> None:
        """Forget all: another hub delivered meanwhile, or somebody says that the receiver is repaired."""
        self._known.clear()
