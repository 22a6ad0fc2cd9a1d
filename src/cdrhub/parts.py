"""A long sequence in parts: `itertools.batched`, which Python 3.11 lacks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeVar

T = TypeVar("T")


def in_parts(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    """`items` in their order, `size` at a time; the last part may be shorter, and no items are no part."""
    for begin in range(0, len(items), size):
        yield items[begin : begin + size]
