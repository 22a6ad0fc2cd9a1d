"""What this process remembers of recently written calls, so that their records need not be read and decoded again."""

from __future__ import annotations

from collections import OrderedDict

from cdrhub.model.immutable import immutable
from cdrhub.model.update import CallUpdate
from cdrhub.store.transaction import CallKey

REMEMBERED_BYTES = 48 * 2**20  #: of all calls together
LARGE_CALL_BYTES = 4 * 2**20  #: a call beyond this is read again rather than remembered
UPDATE_BYTES = 3_000  #: of an update, other than what it quotes of its record


@immutable
class Remembered:
    """A call as this process last wrote it: all its updates at that revision, and the size of their records, which is
    about what the updates quote of them."""

    call_id: str
    revision: int
    updates: tuple[CallUpdate, ...]
    body_bytes: int

    @property
    def weight(self) -> int:
        """Roughly how many bytes this takes."""
        return self.body_bytes + UPDATE_BYTES * len(self.updates)


class Memory:
    """The most recently written calls, bounded by their number of updates and by their size."""

    def __init__(self, capacity: int, *, capacity_bytes: int = REMEMBERED_BYTES) -> None:
        self._capacity = capacity
        self._capacity_bytes = capacity_bytes
        self._calls: OrderedDict[CallKey, Remembered] = OrderedDict()
        self._updates = 0
        self._bytes = 0

    def get(self, key: CallKey) -> Remembered | None:
        """What is remembered of that call."""
        return self._calls.get(key)

    def put(self, key: CallKey, remembered: Remembered) -> None:
        """Remember a call that is not too large, and forget the oldest ones beyond the capacity."""
        if key in self._calls:
            self.drop(key)
        weight = remembered.weight
        if weight > LARGE_CALL_BYTES or len(remembered.updates) > self._capacity:
            return
        self._calls[key] = remembered
        self._updates += len(remembered.updates)
        self._bytes += weight
        while self._updates > self._capacity or self._bytes > self._capacity_bytes:
            self.drop(next(iter(self._calls)))

    def drop(self, key: CallKey) -> None:
        """Forget a call."""
        known = self._calls.pop(key, None)
        if known is not None:
            self._updates -= len(known.updates)
            self._bytes -= known.weight

    def clear(self) -> None:
        """Forget everything."""
        self._calls.clear()
        self._updates = 0
        self._bytes = 0
