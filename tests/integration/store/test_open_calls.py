"""Calls without an end, for whoever concludes something about them."""

from __future__ import annotations

from typing import Any

from cdrhub.model.call import Call
from cdrhub.store import Store
from cdrhub.store import open_calls as module
from cdrhub.store.open_calls import open_calls
from support.ledger import at, ended, item, message


def waiting(key: str) -> bytes:
    legs = {"q": {"role": "queue", "queue": "Sales", "offered_at": 1}}
    return message(key, values={"state": "queued", "started_at": 0}, legs=legs)


async def found(store: Store, *, seconds: float = 1_000, **which: Any) -> list[Call]:
    return [each.call async for each in open_calls(store, silent_since=at(seconds), **which)]


async def test_calls_of_one_source_or_of_all_that_have_no_end(store: Store) -> None:
    for key, source in (("a", "lagos"), ("b", "lagos"), ("a", "abuja")):
        await store.write([item(waiting(key), source=source)])
    await store.write([item(ended("c"))])
    assert sorted(call.call_key for call in await found(store)) == ["a", "a", "b"]
    assert sorted(call.call_key for call in await found(store, source="lagos")) == ["a", "b"]
    assert await found(store, source="kano") == []
    (call,) = await found(store, source="abuja")
    assert [(leg.leg_key, leg.queue, leg.offered_at) for leg in call.legs] == [("q", "Sales", at(1))]


async def test_only_those_that_are_silent_for_long_enough(store: Store) -> None:
    await store.write([item(waiting("early"), received=10)])
    await store.write([item(waiting("late"), received=90)])
    assert [call.call_key for call in await found(store, seconds=50)] == ["early"]


async def test_more_than_a_page(store: Store) -> None:
    keys = [f"call-{number:04}" for number in range(2 * module.PAGE + 1)]
    await store.write([item(waiting(key)) for key in keys])
    assert sorted(call.call_key for call in await found(store, source="lagos")) == keys
