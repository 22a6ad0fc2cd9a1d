"""What would be said over and over."""

from __future__ import annotations

from cdrhub.throttle import MAX_REMEMBERED, Throttle


class Clock:
    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


def test_each_thing_is_said_at_once_and_again_after_a_while() -> None:
    clock = Clock()
    throttle = Throttle(every=60.0, clock=clock)
    assert [throttle.allows("a"), throttle.allows("a"), throttle.allows("b")] == [True, False, True]
    clock.seconds = 59.9
    assert not throttle.allows("a")
    clock.seconds = 60.0
    assert throttle.allows("a")


def test_what_is_over_was_said_or_not_and_is_said_at_once_when_it_comes_back() -> None:
    throttle = Throttle(every=60.0, clock=Clock())
    throttle.allows("a")
    assert [throttle.over("a"), throttle.over("a"), throttle.over("b")] == [True, False, False]
    assert throttle.allows("a")


def test_of_words_that_are_others_each_time_only_the_last_are_remembered() -> None:
    throttle = Throttle(every=60.0, clock=Clock())
    throttle.allows("first")
    throttle.allows("again")
    for number in range(MAX_REMEMBERED - 1):
        throttle.allows(number)
    assert not throttle.over("first")
    assert throttle.over("again")
