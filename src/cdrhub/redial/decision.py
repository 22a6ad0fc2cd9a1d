"""What follows when a call of a case ended, a dialler refused, an order came or a time was reached. Pure.

Each function takes the case as it stands after the event (the attempt that is over marked so) and gives one Decision,
with the rule that made it. The engine stores it, also when it is "nothing", and carries it out in the same transaction.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

from cdrhub.model.dialling import Refusal
from cdrhub.model.disposition import Direction, Disposition
from cdrhub.redial.model import MAY_HAVE_REACHED, Attempt, AttemptState, Case, CaseState, Number, PlacedBy
from cdrhub.redial.policy import Objection, Policy, Surroundings, objection

FUTURE_TOLERANCE = timedelta(seconds=60)  #: an end later than its own receipt by more is a wrong clock


class Result(StrEnum):
    """What a decision does."""

    CONTACTED = "contacted"  #: the person was reached: what is pending is cancelled
    NEXT = "next"  #: the number is requested now
    SCHEDULED = "scheduled"  #: it is requested at `due_at`, if the rules then allow it
    EXHAUSTED = "exhausted"  #: no number of the round is left
    PAUSED = "paused"  #: a person must look; `reason` says why
    CANCELLED = "cancelled"  #: a person stopped it
    NOTHING = "nothing"


GOES_ON = frozenset({Result.NEXT, Result.SCHEDULED})
"""After these the case goes on by itself."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Timing:
    """The seconds and counts of redial that are keys of the configuration."""

    max_age: timedelta = timedelta(seconds=300)  #: of news that may still make somebody's telephone ring
    agent_retry: timedelta = timedelta(seconds=60)
    agent_retries: int = 3
    network_retry: timedelta = timedelta(seconds=60)
    network_retries: int = 5


@dataclass(frozen=True, kw_only=True, slots=True)
class EndedCall:
    """A settled call as decisions see it. Times are aware, UTC."""

    disposition: Disposition
    direction: Direction
    ended_at: datetime | None
    received_at: datetime  #: of its decisive record, by the hub's clock
    live: bool = True  #: that record came while it happened: no import, replay, recovered list
    doubtful: bool = False  #: it may have been a conversation: something that was to be told of it never came
    clock_suspect: bool = False  #: the source's clock is known to be wrong, or `ended_at` may be an hour off

    @property
    def reached(self) -> bool:
        """Whether a person on the customer's side answered."""
        return self.disposition is Disposition.ANSWERED

    @property
    def over(self) -> datetime:
        """When it ended; where that is not told, or by a clock that is wrong, when it was heard of."""
        return self._told or self.received_at

    def age(self, now: datetime) -> timedelta | None:
        """How old the news is; None: so old that nobody can tell, for it did not come live."""
        return now - self.over if self._told is not None or self.live else None

    @property
    def _told(self) -> datetime | None:
        told = self.ended_at
        if told is None or self.clock_suspect or told - self.received_at > FUTURE_TOLERANCE:
            return None
        return told


@dataclass(frozen=True, kw_only=True, slots=True)
class Decision:
    """What is done, and the rule that says so."""

    result: Result
    rule: str
    detail: str = ""
    number: Number | None = None
    due_at: datetime | None = None
    reason: str = ""  #: `cases.state_reason` of a pause

    @property
    def goes_on(self) -> bool:
        """Whether the case goes on by itself."""
        return self.result in GOES_ON


def after_call(
    case: Case,
    attempt: Attempt,
    call: EndedCall,
    *,
    policy: Policy,
    timing: Timing,
    around: Surroundings,
    before: Result | None = None,
    reported: bool = False,
    another: bool = False,
) -> Decision:
    """The call of `attempt` settled. `before` is what an earlier revision of the same call decided, if one did;
    `reported`: a person has said what became of the attempt, and knows better than its record; `another`: the attempt
    was another call already. One attempt, one decision: after it a call can tell only that the person was reached.

    `case` is as it stands with the attempt still in the state it had; what follows from its end is worked out here.
    """
    if reported:
        return _nothing("reported")
    if call.reached:
        if before is Result.CONTACTED:
            return _nothing("decided_before", detail=str(before))
        if case.state is CaseState.CONTACTED:
            return _nothing("case_closed", detail=f"the case is {case.state}")
        return Decision(result=Result.CONTACTED, rule="reached")
    if before is not None:
        if before is Result.CONTACTED and attempt.round == case.round:
            return Decision(
                result=Result.PAUSED, rule="contradiction", reason="contradiction", detail="it was told as reached"
            )
        return _nothing("decided_before", detail=str(before))
    if case.closed:
        return _nothing("case_closed", detail=f"the case is {case.state}")
    if attempt.state is AttemptState.REFUSED and call.disposition is Disposition.NOT_DIALLED:
        return _nothing("refused_before", detail="the dialler told it before its record")
    case = with_end(case, attempt, outcome=call.disposition, at=call.over)
    if another:
        return _nothing("decided_before", detail="by another call of the attempt")
    if case.state is CaseState.PAUSED:
        return _nothing("case_paused", detail=case.state_reason)
    if attempt.state is AttemptState.SUPERSEDED:
        return _nothing("superseded")
    if attempt.round != case.round:
        return _nothing("earlier_round", detail=f"round {attempt.round} of {case.round}")
    if case.live_attempt is not None:
        return _attempt_live(case)
    if attempt.state is AttemptState.UNKNOWN or (attempt.state is AttemptState.ENDED and attempt.outcome is not None):
        return _nothing("decided_before", detail=f"the attempt was {attempt.state}")
    if _went_on(case, attempt):
        return _nothing("went_on")
    if case.state_reason in MAY_HAVE_REACHED:  # it was paused, and somebody else dialled all the same
        return Decision(result=Result.PAUSED, rule="case_paused", reason=case.state_reason)
    if call.doubtful:
        return Decision(result=Result.PAUSED, rule="call_in_doubt", reason="attempt_unknown")
    age = call.age(around.now)
    if age is None or age > timing.max_age:
        detail = "it did not come live" if age is None else f"{int(age.total_seconds())} s old"
        return old_news(detail)
    if call.disposition is Disposition.NOT_DIALLED:
        return _agent_failed(case, attempt, policy=policy, timing=timing, around=around)
    if call.disposition is Disposition.ABANDONED and call.direction is Direction.OUTBOUND:
        return Decision(result=Result.PAUSED, rule="abandoned_by_us", reason="abandoned")
    return next_number(case, policy=policy, around=around)


def after_refusal(
    case: Case,
    attempt: Attempt,
    refusal: Refusal,
    *,
    detail: str,
    policy: Policy,
    timing: Timing,
    around: Surroundings,
) -> Decision:
    """The dialler said no, and its answer was read: only then may anything be asked again."""
    case = with_attempt(case, replace(attempt, state=AttemptState.REFUSED, refusal=refusal, ended_at=around.now))
    if case.closed or case.state is CaseState.PAUSED:
        return _nothing("case_closed" if case.closed else "case_paused", detail=detail)
    match refusal:
        case Refusal.AGENT:
            return _agent_failed(case, attempt, policy=policy, timing=timing, around=around)
        case Refusal.NUMBER:
            return next_number(case, policy=policy, around=around)
        case Refusal.CONFIGURATION:
            return Decision(result=Result.PAUSED, rule="dialler_refuses", reason="dialler_configuration", detail=detail)
        case Refusal.NETWORK:
            on_it = [other for other in case.of_round() if other.number_key == attempt.number_key]
            failures = sum(other.refusal is Refusal.NETWORK for other in on_it)
            return _again(
                case,
                attempt,
                failures=failures,
                most=timing.network_retries,
                wait=timing.network_retry,
                rule="network_retry",
                reason="network",
                policy=policy,
                around=around,
            )


def next_number(case: Case, *, policy: Policy, around: Surroundings) -> Decision:
    """The first untried number that is allowed now; else the one that is allowed soonest; else none is left.

    Nothing while an attempt of the case is live: its end decides.
    """
    if case.live_attempt is not None:
        return _attempt_live(case)
    if not case.numbers:
        return Decision(result=Result.EXHAUSTED, rule="no_number")
    later: list[tuple[datetime, Number, Objection]] = []
    never: list[Objection] = []
    passed: list[str] = []
    untried = case.untried()
    for number in untried:
        found = objection(case, number, policy, around)
        if found is None:
            return Decision(result=Result.NEXT, rule="first_untried", number=number, detail="; ".join(passed))
        passed.append(f"not {number.key}: {found.rule}")
        if found.until is None:
            never.append(found)
        else:
            later.append((found.until, number, found))
    if later:
        due, number, found = min(later, key=lambda item: (item[0], item[1].position))
        return Decision(result=Result.SCHEDULED, rule=found.rule, detail=found.detail, number=number, due_at=due)
    detail = "; ".join(dict.fromkeys(f"{found.rule}: {found.detail}" for found in never)) or "every number was tried"
    return Decision(result=Result.EXHAUSTED, rule="none_left", detail=detail)


def when_due(case: Case, key: str, *, policy: Policy, around: Surroundings) -> Decision:
    """A case whose time has come, or whose decided attempt met an objection. `key` is the number that was meant: it is
    dialled if the rules allow it now.

    One whose agent or network failed, or on which the person wants to be called back, waits where they do not: that
    never leads to the next number.
    """
    if case.live_attempt is not None:
        return _attempt_live(case)
    number = case.untried_number(key)
    found = objection(case, number, policy, around) if number is not None else None
    if number is not None and found is None:
        return Decision(result=Result.NEXT, rule="due", number=number)
    if found is not None and found.until is not None and _owes(case, key, around):
        return Decision(
            result=Result.SCHEDULED, rule=found.rule, detail=found.detail, number=number, due_at=found.until
        )
    return next_number(case, policy=policy, around=around)


def when_resumed(case: Case, *, policy: Policy, around: Surroundings) -> Decision:
    """A paused case that a person lets go on: with the number that it owes a call, else with the next one."""
    if _owes(case, case.next_key, around):
        return when_due(case, case.next_key, policy=policy, around=around)
    return next_number(case, policy=policy, around=around)


def with_end(case: Case, attempt: Attempt, *, outcome: Disposition, at: datetime) -> Case:
    """`case` with the attempt over."""
    state = attempt.state if attempt.state is AttemptState.SUPERSEDED else AttemptState.ENDED
    return with_attempt(case, replace(attempt, state=state, outcome=outcome, ended_at=at))


def with_attempt(case: Case, changed: Attempt) -> Case:
    """`case` with one attempt replaced, or added if it had none of that id."""
    others = [attempt for attempt in case.attempts if attempt.id != changed.id]
    at = next((place for place, attempt in enumerate(case.attempts) if attempt.id == changed.id), len(others))
    return replace(case, attempts=(*others[:at], changed, *others[at:]))


def old_news(detail: str) -> Decision:
    """Too late for a number to ring by itself: the case waits for a person."""
    return Decision(result=Result.PAUSED, rule="old_news", reason="late", detail=detail)


def _nothing(rule: str, *, detail: str = "") -> Decision:
    """Nothing follows, and the rule that says so."""
    return Decision(result=Result.NOTHING, rule=rule, detail=detail)


def _went_on(case: Case, attempt: Attempt) -> bool:
    """Whether another attempt of the round followed, and was made."""
    place = next(place for place, one in enumerate(case.attempts) if one.id == attempt.id)
    return any(
        one.round == attempt.round and one.placed_by is not PlacedBy.AGENT and one.state is not AttemptState.CANCELLED
        for one in case.attempts[place + 1 :]
    )


def _owes(case: Case, key: str, around: Surroundings) -> bool:
    """Whether this very number is to be dialled, and no other one instead."""
    return case.failed_before_dialling(key) or _wants_to_be_called_back(case, around)


def _wants_to_be_called_back(case: Case, around: Surroundings) -> bool:
    """Whether the person asked to be called back, and nobody has called them since."""
    asked = around.asked_back
    return asked is not None and not any(one.tried and (one.requested_at or asked) > asked for one in case.attempts)


def _attempt_live(case: Case) -> Decision:
    state = case.live_attempt.state if case.live_attempt is not None else ""
    return _nothing("attempt_live", detail=f"another attempt is {state}")


def _agent_failed(case: Case, attempt: Attempt, *, policy: Policy, timing: Timing, around: Surroundings) -> Decision:
    return _again(
        case,
        attempt,
        failures=case.agent_failures(attempt.number_key),
        most=timing.agent_retries,
        wait=timing.agent_retry,
        rule="agent_retry",
        reason="agent_unavailable",
        policy=policy,
        around=around,
    )


def _again(
    case: Case,
    attempt: Attempt,
    *,
    failures: int,
    most: int,
    wait: timedelta,
    rule: str,
    reason: str,
    policy: Policy,
    around: Surroundings,
) -> Decision:
    """The same number once more, later: what failed was not its doing, and it never leads to the next one."""
    if failures > most:
        return Decision(result=Result.PAUSED, rule=rule, reason=reason, detail=f"{failures} times in a row")
    number = case.number(attempt.number_key)
    if number is None:  # taken out of the case meanwhile
        return next_number(case, policy=policy, around=around)
    return Decision(
        result=Result.SCHEDULED,
        rule=rule,
        detail=f"attempt {failures} of {most + 1} failed before the number was dialled",
        number=number,
        due_at=around.now + wait,
    )
