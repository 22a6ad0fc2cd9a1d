"""What redial asks of the hub about a phone system: whether it is seen, who dials for it, how its numbers read.

A view over the configuration of the moment and over the sources at work; it holds nothing itself. A source with `into`
is another eye on the same phone system: the system is seen while one of its sources sees it.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator

from cdrhub.config import Config
from cdrhub.model.numbers import NumberPlan
from cdrhub.sources.registry import system


class PhoneSystemsOfHub:
    """The phone systems of a configuration, as this hub sees them. `sees` says whether a source at work is not blind,
    `clock_suspect` holds the sources whose clock is known to be wrong."""

    def __init__(
        self, *, config: Callable[[], Config], sees: Callable[[str], bool], clock_suspect: Container[str]
    ) -> None:
        self._config = config
        self._sees = sees
        self._clock_suspect = clock_suspect

    def _eyes(self, source: str) -> Iterator[str]:
        return (name for name, table in self._config().sources.items() if (table.into or name) == source)

    def healthy(self, source: str) -> bool:
        """Whether the hub sees the phone system. One that is merely silent is seen."""
        return any(self._sees(name) for name in self._eyes(source))

    def clock_suspect(self, source: str) -> bool:
        """Whether its clock, or its zone, is known to be wrong."""
        return any(name in self._clock_suspect for name in self._eyes(source))

    def dialler(self, source: str) -> str:
        """The name of its dialler; empty where it has none."""
        table = self._config().sources.get(source)
        return (table.dialler or "") if table is not None else ""

    def speaks_live(self, source: str) -> bool:
        """Whether one of its sources tells of calls while they live."""
        tables = self._config().sources
        return any(system(tables[name].type).delivery(tables[name]).speaks == "live" for name in self._eyes(source))

    def plan(self, source: str) -> NumberPlan:
        """How its numbers read; the plain plan where the configuration has no such source."""
        config = self._config()
        return config.number_plan(source) if source in config.sources else NumberPlan()
