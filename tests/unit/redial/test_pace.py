"""How many requests may leave now."""

from __future__ import annotations

from cdrhub.redial.pace import Pace


def test_a_dialler_without_free_lines_is_asked_for_nothing() -> None:
    pace = Pace(per_second=5.0, allowance=5.0)
    assert [pace.room(now=0.0, free=free) for free in (3, 0, -2)] == [3, 0, 0]


def test_an_allowance_fills_with_time_up_to_one_second() -> None:
    pace = Pace(per_second=5.0)
    assert pace.room(now=0.0, free=10) == 1
    pace.took(1)
    assert pace.room(now=0.1, free=10) == 0
    assert pace.room(now=0.5, free=10) == 2
    assert pace.room(now=100.0, free=10) == 5


def test_a_slow_dialler_is_asked_for_one_at_a_time() -> None:
    pace = Pace(per_second=0.1)
    assert pace.room(now=0.0, free=10) == 1
    pace.took(1)
    assert pace.room(now=9.0, free=10) == 0
    assert pace.room(now=100.0, free=10) == 1
