"""Events at which an endpoint fails though it takes others, as one that its program cannot digest. Pure.

Such an event must not keep all that comes after it for three days: it is tried again by the first steps of the
endpoint's own schedule, what belongs to its call waits for it, and everything else goes on. In the end it is refused.
That the endpoint took another event since is the proof: without it the failure is the endpoint's.
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
        """It failed once more. Whether that is this event's doing, for it took another one since."""
        found = self._known.get(position)
        if found is None or not found.took_others:
            return False
        found.failures += 1
        found.next_at = now + SCHEDULE[min(found.failures, TRIES)]
        found.took_others = False
        return True

    def took(self, position: int, *, proof: bool) -> None:
        """It took this event, or refused it; `proof`: it was asked since it failed last."""
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
        """The clock was set back by so much: what is still to be waited for stays the same."""
        for found in self._known.values():
            found.next_at -= by

    def forget(self) -> None:
        """Somebody else delivered meanwhile, or says that the receiver is mended."""
        self._known.clear()
