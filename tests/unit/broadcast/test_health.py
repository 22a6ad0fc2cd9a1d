"""The schedule of an endpoint, and what an answer says."""

from __future__ import annotations

from datetime import timedelta
from itertools import pairwise

import pytest

from cdrhub.broadcast.health import Answer, AnswerKind, EndpointState, Health, after_failure, after_success
from support.broadcast import NOON

DOWN = Answer(status=503, error="HTTP 503")


def failed(times: int, answer: Answer = DOWN) -> list[Health]:
    """The states after each of so many failures, each probe sent when it may be."""
    states, health, now = [], Health(), NOON
    for _ in range(times):
        health = after_failure(health, answer, now=now)
        now = health.next_at or now
        states.append(health)
    return states


def test_the_schedule_is_that_of_standard_webhooks() -> None:
    moments = [NOON, *(health.next_at for health in failed(9) if health.next_at is not None)]
    assert [after - before for before, after in pairwise(moments)] == [
        timedelta(seconds=5),
        timedelta(minutes=5),
        timedelta(minutes=30),
        timedelta(hours=2),
        timedelta(hours=5),
        timedelta(hours=10),
        timedelta(hours=14),
        timedelta(hours=20),
        timedelta(hours=24),
    ]
    assert moments[-1] - NOON == timedelta(hours=75, minutes=35, seconds=5)


def test_after_the_last_attempt_it_is_disabled_and_says_since_when() -> None:
    last = failed(10)[-1]
    assert last.state is EndpointState.DISABLED
    assert last.failing_since == NOON
    assert not last.may_try(NOON + timedelta(days=1000))
    assert (last.last_status, last.last_error) == (503, "HTTP 503")


def test_while_it_fails_it_is_tried_at_its_time_and_not_before() -> None:
    (health,) = failed(1)
    assert not health.may_try(NOON + timedelta(seconds=4.9))
    assert health.may_try(NOON + timedelta(seconds=5))


def test_gone_disables_at_once() -> None:
    assert failed(1, Answer(status=410))[0].state is EndpointState.DISABLED


@pytest.mark.parametrize(
    ("asked", "waits"),
    [
        (timedelta(seconds=1), timedelta(seconds=5)),
        (timedelta(hours=1), timedelta(hours=1)),
        (timedelta(days=30), timedelta(hours=24)),
    ],
)
def test_retry_after_makes_it_later_but_not_sooner_nor_for_ever(asked: timedelta, waits: timedelta) -> None:
    (health,) = failed(1, Answer(status=429, retry_after=asked))
    assert health.next_at == NOON + waits


def test_one_success_makes_it_healthy_and_the_schedule_begins_anew() -> None:
    health = after_success(failed(7)[-1], Answer(status=204))
    assert health == Health(last_status=204)
    assert after_failure(health, DOWN, now=NOON).next_at == NOON + timedelta(seconds=5)


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (200, AnswerKind.DELIVERED),
        (204, AnswerKind.DELIVERED),
        (299, AnswerKind.DELIVERED),
        (301, AnswerKind.FAILED),
        (307, AnswerKind.FAILED),
        (400, AnswerKind.REFUSED),
        (404, AnswerKind.REFUSED),
        (408, AnswerKind.FAILED),
        (410, AnswerKind.GONE),
        (422, AnswerKind.REFUSED),
        (425, AnswerKind.FAILED),
        (429, AnswerKind.FAILED),
        (500, AnswerKind.FAILED),
        (599, AnswerKind.FAILED),
        (None, AnswerKind.FAILED),
    ],
)
def test_what_an_answer_says(status: int | None, kind: AnswerKind) -> None:
    assert Answer(status=status).kind is kind


@pytest.mark.parametrize(("ahead", "may"), [(timedelta(hours=24), False), (timedelta(hours=26), True)])
def test_a_time_that_a_wrong_clock_set_is_not_waited_for(ahead: timedelta, may: bool) -> None:
    """A machine that starts with its clock years ahead would not try the endpoint for years."""
    health = Health(state=EndpointState.FAILING, attempt=1, failing_since=NOON, next_at=NOON + ahead)
    assert health.may_try(NOON) is may
