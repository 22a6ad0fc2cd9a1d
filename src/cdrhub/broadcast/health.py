"""How an endpoint is, and when it is tried again: the schedule of Standard Webhooks as a pure state machine.

The schedule belongs to the endpoint, not to each event: while it fails, only its oldest event is sent, as a probe, at
once, after 5 s, 5 min, 30 min, 2 h, 5 h, 10 h, 14 h, 20 h and 24 h (75 h 35 min in all). One success, and everything
that waited follows. After the last attempt, or an answer 410 Gone, the endpoint is disabled until a person says
otherwise.

https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md, "Deliverability and
reliability".
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

from cdrhub.store.event_tables import DISABLED

#: Between one attempt and the next, the first at once.
SCHEDULE = tuple(
    timedelta(seconds=seconds) for seconds in (0, 5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400)
)
MAX_RETRY_AFTER = timedelta(hours=24)  #: a receiver that asks for more is asked after that
NEVER_SO_LATE = max(*SCHEDULE, MAX_RETRY_AFTER) + timedelta(hours=1)  #: a time beyond that was set by a wrong clock


class EndpointState(StrEnum):
    """`webhook_endpoints.state`."""

    HEALTHY = "healthy"
    FAILING = "failing"
    DISABLED = DISABLED


class AnswerKind(StrEnum):
    """What an answer says."""

    DELIVERED = "delivered"
    REFUSED = "refused"  #: this event, and nothing of the others
    FAILED = "failed"  #: the endpoint cannot take events at the moment
    GONE = "gone"  #: it wants no more


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """What came back: an HTTP status, or none and why. `retry_after` is what the receiver asked for."""

    status: int | None
    error: str = ""
    retry_after: timedelta | None = None

    @property
    def kind(self) -> AnswerKind:
        """A redirect is a failure: it is not followed, for it might lead into a private network."""
        match self.status:
            case None:
                return AnswerKind.FAILED
            case status if 200 <= status < 300:
                return AnswerKind.DELIVERED
            case 410:
                return AnswerKind.GONE
            case 408 | 425 | 429:
                return AnswerKind.FAILED
            case status if 400 <= status < 500:
                return AnswerKind.REFUSED
            case _:
                return AnswerKind.FAILED


@dataclass(frozen=True, kw_only=True, slots=True)
class Health:
    """The state of one endpoint. `attempt` counts the failures in a row; times are UTC."""

    state: EndpointState = EndpointState.HEALTHY
    attempt: int = 0
    failing_since: datetime | None = None
    next_at: datetime | None = None  #: not to be tried before
    last_status: int | None = None
    last_error: str = ""

    def may_try(self, now: datetime) -> bool:
        """Whether something may be sent now. A clock that was ahead when the time was set makes nobody wait for it."""
        if self.state is EndpointState.DISABLED:
            return False
        return self.next_at is None or not now < self.next_at <= now + NEVER_SO_LATE


def after_success(health: Health, answer: Answer) -> Health:
    """It took an event."""
    if health.state is EndpointState.HEALTHY and health.last_status == answer.status:
        return health
    return Health(last_status=answer.status)


def after_failure(health: Health, answer: Answer, *, now: datetime) -> Health:
    """It did not take the probe, or the event that was the first to fail."""
    attempt = health.attempt + 1
    failed = replace(
        health,
        attempt=attempt,
        failing_since=health.failing_since or now,
        last_status=answer.status,
        last_error=answer.error,
    )
    if answer.kind is AnswerKind.GONE or attempt >= len(SCHEDULE):
        return replace(failed, state=EndpointState.DISABLED, next_at=None)
    wait = max(SCHEDULE[attempt], min(answer.retry_after or timedelta(0), MAX_RETRY_AFTER))
    return replace(failed, state=EndpointState.FAILING, next_at=now + wait)


def after_another(health: Health, answer: Answer, *, now: datetime) -> Health:
    """Another request that left together with the one that failed did so too. That is no further attempt, but it may
    say that the endpoint is gone, or ask for a longer wait."""
    if answer.kind is AnswerKind.GONE:
        return after_failure(replace(health, attempt=health.attempt - 1), answer, now=now)
    if health.next_at is None or answer.retry_after is None:
        return health
    return replace(health, next_at=max(health.next_at, now + min(answer.retry_after, MAX_RETRY_AFTER)))


def after_set_back(health: Health, by: timedelta) -> Health:
    """The clock was set back by so much: the remaining wait stays as long as it was."""
    return replace(health, next_at=health.next_at - by) if health.next_at is not None else health
