"""What redial asks about phone systems, of the hub or of whoever stands in for it."""

from __future__ import annotations

from typing import Protocol

from cdrhub.model.numbers import NumberPlan


class PhoneSystems(Protocol):
    """The phone systems, each under the name of its source."""

    def healthy(self, source: str) -> bool:
        """Whether the hub sees the phone system."""

    def clock_suspect(self, source: str) -> bool:
        """Whether its clock, or its zone, is known to be wrong."""

    def dialler(self, source: str) -> str:
        """The name of its dialler; empty where it has none."""

    def speaks_live(self, source: str) -> bool:
        """Whether it tells of calls while they live."""

    def plan(self, source: str) -> NumberPlan:
        """How its numbers read."""
