"""Say a message that would be repeated endlessly once, and again after a while if it still holds."""

from __future__ import annotations

import time
from collections.abc import Callable

EVERY_SECONDS = 60.0
MAX_REMEMBERED = 1_000  #: things; words of an error may be others each time


class Throttle:
    """Remembers when each thing was said last."""

    def __init__(self, *, every: float = EVERY_SECONDS, clock: Callable[[], float] = time.monotonic) -> None:
        self._every = every
        self._clock = clock
        self._said: dict[object, float] = {}

    def allows(self, what: object) -> bool:
        """Whether it is time to say `what` (the first time, and then every so many seconds)."""
        at = self._clock()
        if (last := self._said.get(what)) is not None and at - last < self._every:
            return False
        self._said.pop(what, None)
        self._said[what] = at
        if len(self._said) > MAX_REMEMBERED:
            del self._said[next(iter(self._said))]  # what was said longest ago
        return True

    def over(self, what: object) -> bool:
        """`what` holds no longer; whether it had been said."""
        return self._said.pop(what, None) is not None
