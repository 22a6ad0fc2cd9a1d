"""The memory of recent calls is bounded by updates and by bytes, and forgets the oldest first."""

from __future__ import annotations

import tracemalloc
from typing import Any

import orjson
import pytest

from cdrhub.model.update import CallUpdate, LegUpdate
from cdrhub.store.memory import LARGE_CALL_BYTES, UPDATE_BYTES, Memory, Remembered, quoted_bytes


def remembered(count: int, *, quoted: int = 0) -> Remembered:
    """A call of `count` updates."""
    one = CallUpdate(call_key="k", kind="cdr", digest=b"0" * 16, values={})
    return Remembered(call_id="id", revision=1, updates=(one,) * count, quoted=quoted)


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
        memory.put(("s", key), remembered(1, quoted=70_000))
    assert [memory.get(("s", key)) is not None for key in ("a", "b", "c")] == [False, True, True]
    memory.put(("s", "b"), remembered(1))
    memory.put(("s", "d"), remembered(1, quoted=60_000))
    assert [memory.get(("s", key)) is not None for key in ("b", "c", "d")] == [True, True, True]


def test_a_large_call_is_not_kept_and_what_was_known_of_it_is_gone() -> None:
    memory = Memory(1000)
    memory.put(("s", "a"), remembered(1))
    memory.put(("s", "b"), remembered(1))
    memory.put(("s", "a"), remembered(2, quoted=LARGE_CALL_BYTES))
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


@pytest.mark.parametrize(
    "attributes",
    [
        {"CustomData": [[] for _ in range(20_000)]},
        {"CustomData": [{"a": {}} for _ in range(10_000)]},
        {f"field {number}": number for number in range(1_000)},
        {"aiData": {"words": [{"word": "shalom", "start": number * 0.3, "end": 0.1} for number in range(3_000)]}},
        {"transcript": "shalom " * 9_000},
    ],
)
def test_what_an_update_quotes_is_weighed_as_what_it_takes(attributes: dict[str, Any]) -> None:
    """A record of a megabyte of empty arrays took twenty: what was to be 48 MB of recent calls was a gigabyte."""
    body = orjson.dumps(attributes)
    tracemalloc.start()
    try:
        kept = orjson.loads(body)
        taken, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    update = CallUpdate(call_key="k", kind="cdr", digest=b"0" * 16, values={}, attributes=kept)
    assert taken / 2 < quoted_bytes(update, body_bytes=len(body)) + UPDATE_BYTES < taken * 4


def test_legs_are_weighed_and_what_is_too_large_anyway_is_not_counted_to_its_end() -> None:
    one = CallUpdate(call_key="k", kind="cdr", digest=b"0" * 16, values={})
    legs = tuple(LegUpdate(leg_key=f"{number}", values={"role": "agent"}) for number in range(64))
    many = CallUpdate(call_key="k", kind="cdr", digest=b"0" * 16, values={}, legs=legs)
    assert quoted_bytes(many, body_bytes=400) > quoted_bytes(one, body_bytes=400) + 64 * 500
    deep = CallUpdate(call_key="k", kind="cdr", digest=b"0" * 16, values={}, attributes={"a": [[[]] * 10] * 1_000_000})
    assert quoted_bytes(deep, body_bytes=0) > LARGE_CALL_BYTES
