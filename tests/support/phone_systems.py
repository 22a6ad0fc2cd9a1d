"""Phone systems as a test wants redial to find them."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

from cdrhub.model.numbers import NumberPlan


@dataclass
class Systems:
    """All of them are seen but the `blind` ones, have one dialler unless told otherwise, and one country."""

    blind: Collection[str] = ()
    wrong_clocks: Collection[str] = ()
    dialler_name: str = "crm"
    diallers: dict[str, str] = field(default_factory=dict)  #: of those that have another, by their source
    live: bool = True
    region: str = "NG"

    def healthy(self, source: str) -> bool:
        return source not in self.blind

    def clock_suspect(self, source: str) -> bool:
        return source in self.wrong_clocks

    def dialler(self, source: str) -> str:
        return self.diallers.get(source, self.dialler_name)

    def speaks_live(self, _source: str) -> bool:
        return self.live

    def plan(self, _source: str) -> NumberPlan:
        return NumberPlan(region=self.region)
