"""The database for one command: how what is found piece by piece is handed on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from cdrhub.cli.database import Opened


@pytest.mark.parametrize(("at_once", "taken"), [(1, 1), (3, 3), (10, 7)])
def test_items_are_taken_so_many_at_a_time(at_once: int, taken: int) -> None:
    made: list[int] = []

    async def items() -> AsyncIterator[int]:
        for number in range(7):
            made.append(number)
            yield number

    nowhere: Any = None  # neither a store nor a reader is needed
    with asyncio.Runner() as runner:
        each = Opened(store=nowhere, reader=nowhere, runner=runner).each(items(), at_once=at_once)
        assert next(each) == 0
        assert len(made) == taken
        assert list(each) == [1, 2, 3, 4, 5, 6]
