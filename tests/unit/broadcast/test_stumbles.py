"""Events at which an endpoint fails though it takes others."""

from __future__ import annotations

from datetime import timedelta

from cdrhub.broadcast.health import SCHEDULE
from cdrhub.broadcast.stumbles import TRIES, Stumbles
from support.broadcast import NOON


def test_each_failure_waits_for_longer() -> None:
    stumbles, now = Stumbles(), NOON
    stumbles.began(7, now=now)
    for failures in range(1, TRIES):
        assert stumbles.failures(7) == failures
        assert stumbles.waits(7, now=now + SCHEDULE[failures] - timedelta(seconds=1))
        now += SCHEDULE[failures]
        assert not stumbles.waits(7, now=now)
        stumbles.took(8, proof=True)
        assert stumbles.again(7, now=now)
    assert stumbles.failures(7) == TRIES
    assert (stumbles.failures(8), stumbles.waits(8, now=now), stumbles.again(8, now=now)) == (0, False, False)


def test_only_where_it_took_another_one_since_is_the_event_to_blame() -> None:
    stumbles = Stumbles()
    stumbles.began(7, now=NOON)
    assert not stumbles.again(7, now=NOON)
    stumbles.took(8, proof=False)
    assert not stumbles.again(7, now=NOON)
    stumbles.took(8, proof=True)
    stumbles.took(9, proof=False)
    assert stumbles.again(7, now=NOON)
    assert not stumbles.again(7, now=NOON), "each failure wants a proof of its own"
    assert stumbles.failures(7) == 2


def test_what_began_once_does_not_begin_anew() -> None:
    stumbles = Stumbles()
    stumbles.began(7, now=NOON)
    stumbles.took(8, proof=True)
    stumbles.again(7, now=NOON)
    stumbles.began(7, now=NOON)
    assert stumbles.failures(7) == 2


def test_what_was_taken_or_is_somebody_elses_now_is_forgotten() -> None:
    stumbles = Stumbles()
    for position in (7, 8):
        stumbles.began(position, now=NOON)
    stumbles.took(7, proof=True)
    assert (7 in stumbles, 8 in stumbles) == (False, True)
    stumbles.forget()
    assert 8 not in stumbles


def test_a_clock_that_is_set_back_makes_nobody_wait() -> None:
    stumbles = Stumbles()
    stumbles.began(7, now=NOON)
    stumbles.set_back(timedelta(hours=1))
    assert not stumbles.waits(7, now=NOON - timedelta(hours=1) + SCHEDULE[1])
