"""What happens in one simulated call, while it is being put together."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from cdrhub.sources.freeswitch.simulate.events import Happening
from cdrhub.sources.freeswitch.simulate.shapes import Fields

#: The order of what happens in one moment: phones that stop ringing, those that begin, an answer, the losers of a race,
#: the end, and what mod_callcenter notices after it.
STOPS: Final = 0
RINGS: Final = 1
ANSWERS: Final = 2
LOSES: Final = 3
ENDS: Final = 4
AFTER: Final = 5


class Scene:
    """Gathers the events of a call. `fields` are the placeholders that all of them may name."""

    def __init__(self, fields: Fields) -> None:
        self._fields = dict(fields)
        self._happenings: list[tuple[datetime, int, Happening]] = []

    def add(self, at: datetime, rank: int, *shapes: str, fields: Fields | None = None, body: str = "") -> None:
        """These events at `at`, in this order; `fields` outrank the scene's. `body` is a background job's result."""
        named = self._fields | dict(fields or {})
        for shape in shapes:
            self._happenings.append((at, rank, Happening(at=at, shape=shape, fields=named, body=body)))

    def happenings(self) -> list[Happening]:
        """All events in the order of time."""
        return [happening for _, _, happening in sorted(self._happenings, key=lambda item: item[:2])]
