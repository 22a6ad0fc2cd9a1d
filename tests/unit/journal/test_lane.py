"""The thread boundary: start, group, stop, and every way these can cross."""

from __future__ import annotations

import asyncio
import sys
import threading

import pytest

from cdrhub.journal.lane import SWITCH_SECONDS, Lane


def lane_of(
    did: list[list[int]],
    *,
    began: threading.Event | None = None,
    gate: threading.Event | None = None,
    limit: int = 100,
) -> Lane[int]:
    def work(jobs: list[int]) -> None:
        did.append(jobs)
        if began is not None and gate is not None:
            began.set()
            gate.wait(10)

    return Lane("test-lane", setup=lambda: None, work=work, teardown=lambda: None, weigh=lambda _: 1, limit=limit)


async def test_what_waits_is_done_together_and_in_order() -> None:
    did: list[list[int]] = []
    began, gate = threading.Event(), threading.Event()
    lane = lane_of(did, began=began, gate=gate, limit=3)
    await lane.start()
    lane.submit(0)
    assert await asyncio.to_thread(began.wait, 10)
    for job in range(1, 6):
        lane.submit(job)
    gate.set()
    await lane.stop()
    assert did == [[0], [1, 2, 3], [4, 5]]


async def test_stop_does_what_was_submitted_before_it() -> None:
    did: list[list[int]] = []
    lane = lane_of(did)
    await lane.start()
    for job in range(1000):
        lane.submit(job)
    await lane.stop()
    assert [job for jobs in did for job in jobs] == list(range(1000))


async def test_a_setup_that_fails_is_the_starters_and_leaves_no_thread() -> None:
    def setup() -> None:
        raise OSError("no disk")

    before = threading.active_count()
    lane: Lane[int] = Lane(
        "test-lane", setup=setup, work=lambda _: None, teardown=lambda: None, weigh=lambda _: 1, limit=1
    )
    with pytest.raises(OSError, match="no disk"):
        await lane.start()
    assert threading.active_count() == before


async def test_a_start_that_is_cancelled_tears_down() -> None:
    gate, torn = threading.Event(), threading.Event()

    def setup() -> None:
        gate.wait(10)

    lane: Lane[int] = Lane(
        "test-lane",
        setup=setup,
        work=lambda _: None,
        teardown=torn.set,
        weigh=lambda _: 1,
        limit=1,
    )
    starting = asyncio.create_task(lane.start())
    await asyncio.sleep(0)
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    gate.set()
    assert await asyncio.to_thread(torn.wait, 10)
    await lane.stop()


async def test_posts_reach_the_loop() -> None:
    heard = asyncio.get_running_loop().create_future()

    def work(jobs: list[int]) -> None:
        lane.post(heard.set_result, jobs[0])

    lane: Lane[int] = Lane(
        "test-lane", setup=lambda: None, work=work, teardown=lambda: None, weigh=lambda _: 1, limit=1
    )
    await lane.start()
    lane.submit(7)
    assert await heard == 7
    await lane.stop()


async def test_a_lane_may_demand_the_interpreter_of_a_busy_loop() -> None:
    before = sys.getswitchinterval()
    sys.setswitchinterval(0.005)
    try:
        lane = lane_of([])
        await lane.start()
        await lane.stop()
        assert sys.getswitchinterval() == pytest.approx(SWITCH_SECONDS)
    finally:
        sys.setswitchinterval(before)
