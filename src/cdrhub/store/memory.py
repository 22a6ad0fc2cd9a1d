"""What this process remembers of recently written calls, so that their records need not be read and decoded again."""

from __future__ import annotations

from collections import OrderedDict

from cdrhub.model.immutable import immutable
from cdrhub.model.update import CallUpdate
from cdrhub.store.transaction import CallKey


@immutable
class Remembered:
    """A call as this process last wrote it: all its updates at that revision."""

    call_id: str
    revision: int
    updates: tuple[CallUpdate, ...]


class Memory:
    """The most recently written calls, bounded by their number of updates."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._calls: OrderedDict[CallKey, Remembered] = OrderedDict()
        self._updates = 0

    def get(self, key: CallKey) -> Remembered | None:
        """What is remembered of that call."""
        return self._calls.get(key)

    def put(self, key: CallKey, remembered: Remembered) -> None:
        """Remember a call, and forget the oldest ones beyond the capacity."""
        self.drop(key)
        self._calls[key] = remembered
        self._updates += len(remembered.updates)
        while self._updates > self._capacity:
            _, oldest = self._calls.popitem(last=False)
            self._updates -= len(oldest.updates)

    def drop(self, key: CallKey) -> None:
        """Forget a call."""
        known = self._calls.pop(key, None)
        if known is not None:
            self._updates -= len(known.updates)

    def clear(self) -> None:
        """Forget everything."""
        self._calls.clear()
        self._updates = 0
