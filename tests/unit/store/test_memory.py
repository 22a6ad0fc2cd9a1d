"""The memory of recent calls is bounded by updates and by bytes, and forgets the oldest first."""

from __future__ import annotations

from cdrhub.model.update import CallUpdate
from cdrhub.store.memory import LARGE_CALL_BYTES, UPDATE_BYTES, Memory, Remembered


def remembered(count: int, *, body_bytes: int = 0) -> Remembered:
    """A call of `count` updates."""
    one = CallUpdate(call_key="k", kind="cdr", digest=b"0" * 16, values={})
    return Remembered(call_id="id", revision=1, updates=(one,) * count, body_bytes=body_bytes)


def test_the_oldest_is_forgotten_first() -> None:
    memory = Memory(5)
    for key in ("a", "b", "c"):
        memory.put(("s", key), remembered(2))
    assert memory.get(("s", "a")) is None
    assert memory.get(("s", "b")) is not None
    assert memory.get(("s", "c")) is not None


def test_what_is_put_again_is_young_and_counted_once() -> None:
    memory = Memory(5)
    memory.put(("s", "a"), remembered(2))
    memory.put(("s", "b"), remembered(2))
    memory.put(("s", "a"), remembered(3))
    assert memory.get(("s", "b")) is not None
    memory.put(("s", "c"), remembered(1))
    assert memory.get(("s", "b")) is None
    assert memory.get(("s", "a")) is not None


def test_a_call_larger_than_the_memory_is_not_kept() -> None:
    memory = Memory(5)
    memory.put(("s", "a"), remembered(6))
    assert memory.get(("s", "a")) is None
    memory.put(("s", "b"), remembered(5))
    assert memory.get(("s", "b")) is not None
    memory.put(("s", "c"), remembered(6))
    assert memory.get(("s", "b")) is not None  # what cannot be kept drives nothing out


def test_the_oldest_is_forgotten_beyond_the_bytes() -> None:
    memory = Memory(1000, capacity_bytes=2 * (UPDATE_BYTES + 70_000))
    for key in ("a", "b", "c"):
        memory.put(("s", key), remembered(1, body_bytes=70_000))
    assert [memory.get(("s", key)) is not None for key in ("a", "b", "c")] == [False, True, True]
    memory.put(("s", "b"), remembered(1))
    memory.put(("s", "d"), remembered(1, body_bytes=60_000))
    assert [memory.get(("s", key)) is not None for key in ("b", "c", "d")] == [True, True, True]


def test_a_large_call_is_not_kept_and_what_was_known_of_it_is_gone() -> None:
    memory = Memory(1000)
    memory.put(("s", "a"), remembered(1))
    memory.put(("s", "b"), remembered(1))
    memory.put(("s", "a"), remembered(2, body_bytes=LARGE_CALL_BYTES))
    assert memory.get(("s", "a")) is None
    assert memory.get(("s", "b")) is not None


def test_dropping_and_clearing_make_room() -> None:
    memory = Memory(4)
    memory.put(("s", "a"), remembered(4))
    memory.drop(("s", "a"))
    memory.drop(("s", "never"))
    memory.put(("s", "b"), remembered(4))
    memory.clear()
    memory.put(("s", "c"), remembered(4))
    assert memory.get(("s", "c")) is not None
    assert memory.get(("s", "b")) is None
