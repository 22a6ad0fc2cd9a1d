"""What no hub, receiver or operator does on purpose: numbers that no JSON writer takes, clocks that go back, names that
come and go."""

from __future__ import annotations

import pytest

from support.broadcast import receiving
from support.broadcasting import Bench, crm, until


async def test_a_number_beyond_64_bits_is_told_like_any_other(bench: Bench) -> None:
    """PostgreSQL keeps 1e30 as 31 digits, which read as a whole number could not be written again."""
    await bench.known()
    async with receiving() as receiver, bench.hub(crm(receiver)):
        await bench.tell((1, 1), snapshot={"tenant": "", "attributes": {"huge": 1e30, "largest": 1.7e308}})
        await bench.tell((2, 1))
        await until(lambda: len(receiver.taken) >= 2, seconds=8)
        assert receiver.taken[0].document["data"]["attributes"] == {"huge": 1e30, "largest": 1.7e308}


async def test_an_event_that_cannot_be_written_is_set_aside_and_takes_no_other_along(bench: Bench) -> None:
    if bench.store.database.kind == "postgresql":
        pytest.skip("the engine itself refuses an id that is none")
    await bench.known()
    async with receiving() as receiver, bench.hub(crm(receiver)) as hub:
        await bench.tell((1, 1), (1, 2), (1, 3), (2, 1))
        await bench.tell((1, 4), call_id="n" * 36)
        await bench.tell((1, 5), (2, 2))
        await until(lambda: len(receiver.taken) >= 6, seconds=12)
        assert receiver.in_order()
        print(await bench.deliveries(), hub.problems, await bench.endpoint())
