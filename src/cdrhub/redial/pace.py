"""How many requests a dialler may be sent now: its `max_live` and its `max_per_second`. No I/O, no clock of its own."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Pace:
    """An allowance that fills with time, up to one second's worth, and at least to one request."""

    per_second: float
    allowance: float = 1.0
    at: float | None = None  #: seconds of a monotonic clock at which it was last filled

    def room(self, *, now: float, free: int) -> int:
        """How many requests may leave at `now` (seconds of a monotonic clock), with `free` attempts under the limit."""
        if self.at is not None:
            filled = self.allowance + (now - self.at) * self.per_second
            self.allowance = min(filled, max(self.per_second, 1.0))
        self.at = now
        return max(0, min(int(self.allowance), free))

    def took(self, requests: int) -> None:
        """So many requests leave."""
        self.allowance -= requests
