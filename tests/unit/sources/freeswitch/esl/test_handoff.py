"""The buffer between the thread and the event loop."""

from __future__ import annotations

import asyncio
import threading

import pytest

from cdrhub.errors import NotConnected
from cdrhub.sources.freeswitch.esl.handoff import Handoff


def handoff(*, max_events: int = 4, max_bytes: int = 1_000) -> tuple[Handoff, list[str]]:
    calls: list[str] = []
    loop = asyncio.get_running_loop()
    return (
        Handoff(loop, on_space=lambda: calls.append("space"), max_events=max_events, max_bytes=max_bytes),
        calls,
    )


async def test_order_and_limit() -> None:
    between, _ = handoff()
    assert between.put([b"1", b"2", b"3"]) is False
    assert await between.take(limit=2) == [b"1", b"2"]
    assert await between.take(limit=2) == [b"3"]
    assert between.buffered == 0


async def test_it_is_full_by_number_and_by_bytes() -> None:
    between, _ = handoff()
    assert between.put([b""] * 4) is True
    between, _ = handoff()
    assert between.put([b"x" * 1_000]) is True
    assert between.pauses == 1


async def test_space_is_told_once_at_half_capacity_and_only_to_one_who_waits() -> None:
    between, calls = handoff()
    between.put([b"1"])
    await between.take(limit=1)
    assert calls == []
    assert between.put([b"1", b"2", b"3", b"4", b"5"]) is True
    await between.take(limit=2)
    assert calls == []
    assert between.full is False
    assert between.put([b"6"]) is True
    await between.take(limit=2)
    await between.take(limit=2)
    assert calls == ["space"]


async def test_a_sleeping_consumer_is_woken_from_a_thread() -> None:
    between, _ = handoff()
    taking = asyncio.create_task(between.take(limit=9))
    await asyncio.sleep(0)
    thread = threading.Thread(target=between.put, args=([b"1"],))
    thread.start()
    assert await taking == [b"1"]
    thread.join()


async def test_the_end_comes_after_the_last_body_and_the_first_reason_counts() -> None:
    between, _ = handoff()
    taking = asyncio.create_task(between.take(limit=9))
    await asyncio.sleep(0)
    between.put([b"1"])
    between.end(NotConnected("first"))
    between.end(NotConnected("second"))
    assert await taking == [b"1"]
    for _ in range(2):
        with pytest.raises(NotConnected, match="first"):
            await between.take(limit=9)


async def test_a_cancelled_taker_has_taken_nothing() -> None:
    between, _ = handoff()
    taking = asyncio.create_task(between.take(limit=9))
    await asyncio.sleep(0)
    between.put([b"1"])
    taking.cancel()
    await asyncio.wait({taking})
    assert await between.take(limit=9) == [b"1"]


async def test_a_flood_from_a_thread_arrives_in_order() -> None:
    between, _ = handoff(max_events=50)
    total = 5_000

    def produce() -> None:
        for number in range(total):
            between.put([b"%d" % number])
        between.end(NotConnected("over"))

    thread = threading.Thread(target=produce)
    thread.start()
    found: list[bytes] = []
    while len(found) < total:
        found += await between.take(limit=7)
    with pytest.raises(NotConnected):
        await between.take(limit=7)
    thread.join()
    assert found == [b"%d" % number for number in range(total)]


def test_a_thread_may_outlive_the_event_loop() -> None:
    async def sleep_in_take() -> Handoff:
        between, _ = handoff()
        taking = asyncio.create_task(between.take(limit=1))
        await asyncio.sleep(0)
        taking.cancel()
        await asyncio.wait({taking})
        return between

    between = asyncio.run(sleep_in_take())
    assert between.put([b"1"]) is False
    between.end(NotConnected("late"))
    assert between.buffered == 1
