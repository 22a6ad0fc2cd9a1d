"""What would be said over and over."""

from __future__ import annotations

from cdrhub.sometimes import MAX_REMEMBERED, Sometimes


class Clock:
    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


def test_each_thing_is_said_at_once_and_again_after_a_while() -> None:
    clock = Clock()
    sometimes = Sometimes(every=60.0, clock=clock)
    assert [sometimes.now("a"), sometimes.now("a"), sometimes.now("b")] == [True, False, True]
    clock.seconds = 59.9
    assert not sometimes.now("a")
    clock.seconds = 60.0
    assert sometimes.now("a")


def test_what_is_over_was_said_or_not_and_is_said_at_once_when_it_comes_back() -> None:
    sometimes = Sometimes(every=60.0, clock=Clock())
    sometimes.now("a")
    assert [sometimes.over("a"), sometimes.over("a"), sometimes.over("b")] == [True, False, False]
    assert sometimes.now("a")


def test_of_words_that_are_others_each_time_only_the_last_are_remembered() -> None:
    sometimes = Sometimes(every=60.0, clock=Clock())
    sometimes.now("first")
    sometimes.now("again")
    for number in range(MAX_REMEMBERED - 1):
        sometimes.now(number)
    assert not sometimes.over("first")
    assert sometimes.over("again")
