"""What this process remembers of recently written calls, so that their records need not be read and decoded again."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

from cdrhub.model.immutable import immutable
from cdrhub.model.update import CallUpdate
from cdrhub.store.transaction import CallKey

REMEMBERED_BYTES = 48 * 2**20  #: of all calls together
LARGE_CALL_BYTES = 4 * 2**20  #: a call beyond this is read again rather than remembered
UPDATE_BYTES = 3_000  #: of an update, other than what it quotes of its record
LEG_BYTES = 800
MEMBER_BYTES = 100  #: of a value in the attributes, other than its text
_NESTED = (dict, list)


@immutable
class Remembered:
    """A call as this process last wrote it: all its updates at that revision, and what they quote of their records
    (`quoted_bytes`)."""

    call_id: str
    revision: int
    updates: tuple[CallUpdate, ...]
    quoted: int  #: bytes

    @property
    def weight(self) -> int:
        """Roughly how many bytes this takes."""
        return self.quoted + UPDATE_BYTES * len(self.updates)


def quoted_bytes(update: CallUpdate, *, body_bytes: int) -> int:
    """Roughly how many bytes of memory an update takes for what its record says: the text of the record, its legs, and
    each value in its attributes. An empty array takes more than twenty times its length in JSON."""
    at_most = LARGE_CALL_BYTES // MEMBER_BYTES
    return body_bytes + LEG_BYTES * len(update.legs) + MEMBER_BYTES * _members(update.attributes, at_most=at_most)


def _members(value: Any, *, at_most: int) -> int:
    """How many values there are in an object and in all that is inside it; not counted on beyond `at_most`."""
    count, inside = 0, [value]
    while inside and count <= at_most:
        one = inside.pop()
        count += len(one)
        inside += [each for each in (one if type(one) is list else one.values()) if type(each) in _NESTED]
    return count


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
