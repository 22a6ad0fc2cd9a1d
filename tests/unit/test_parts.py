from __future__ import annotations

from cdrhub.parts import in_parts


def test_parts_are_in_order_and_the_last_one_may_be_shorter() -> None:
    assert list(in_parts([1, 2, 3, 4, 5], 2)) == [[1, 2], [3, 4], [5]]


def test_nothing_has_no_parts() -> None:
    assert list(in_parts([], 2)) == []
