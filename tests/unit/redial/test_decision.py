"""What follows when a call settled or a dialler refused: the table of docs/redial.md, row by row."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdrhub.model.dialling import Refusal
from cdrhub.model.disposition import Direction, Disposition
from cdrhub.redial.decision import (
    Decision,
    EndedCall,
    Result,
    Timing,
    after_call,
    after_refusal,
    next_number,
    when_due,
    when_resumed,
    with_attempt,
    with_end,
)
from cdrhub.redial.model import LIVE, MAY_HAVE_REACHED, Attempt, AttemptState, Case, CaseState, PlacedBy
from cdrhub.redial.policy import PLAIN, Policy
from support.redial import FIRST, NOON, SECOND, THIRD, around, attempt, case, ended, number, over

TIMING = Timing()
RANG_OR_REFUSED = [
    Disposition.BUSY,
    Disposition.NO_ANSWER,
    Disposition.REJECTED,
    Disposition.CANCELLED,
    Disposition.VOICEMAIL,
    Disposition.IVR,
    Disposition.FAILED,
    Disposition.UNKNOWN,
]


def settle(of: Case, tried: Attempt, call: EndedCall, *, before: Result | None = None) -> Decision:
    of = with_attempt(of, tried)
    return after_call(of, tried, call, policy=PLAIN, timing=TIMING, around=around(), before=before)


def test_reached_means_contacted() -> None:
    assert settle(case(), attempt(), ended(Disposition.ANSWERED)).result is Result.CONTACTED


def test_reached_counts_however_old_the_news() -> None:
    old = ended(Disposition.ANSWERED, ended_at=NOON - timedelta(days=3), live=False)
    assert settle(case(), attempt(), old).result is Result.CONTACTED


def test_what_a_dialler_refused_is_not_decided_again_by_the_record_of_it() -> None:
    refused = attempt(FIRST, state=AttemptState.REFUSED, refusal=Refusal.AGENT)
    waiting = case(FIRST, SECOND, state=CaseState.WAITING)
    decision = settle(waiting, refused, ended(Disposition.NOT_DIALLED))
    assert (decision.result, decision.rule) == (Result.NOTHING, "refused_before")


def test_a_record_that_shows_the_number_rung_outranks_the_diallers_refusal() -> None:
    refused = attempt(FIRST, state=AttemptState.REFUSED, refusal=Refusal.AGENT)
    decision = settle(case(FIRST, SECOND, state=CaseState.WAITING), refused, ended(Disposition.NO_ANSWER))
    assert (decision.result, decision.number and decision.number.key) == (Result.NEXT, SECOND)


@pytest.mark.parametrize("disposition", RANG_OR_REFUSED)
def test_a_number_that_rang_or_was_refused_leads_to_the_next(disposition: Disposition) -> None:
    decision = settle(case(FIRST, SECOND), attempt(FIRST), ended(disposition))
    assert (decision.result, decision.goes_on) == (Result.NEXT, True)
    assert decision.number is not None
    assert decision.number.key == SECOND


@pytest.mark.parametrize("disposition", RANG_OR_REFUSED)
def test_a_single_number_is_never_dialled_again_by_itself(disposition: Disposition) -> None:
    decision = settle(case(FIRST), attempt(FIRST), ended(disposition))
    assert (decision.result, decision.rule, decision.goes_on) == (Result.EXHAUSTED, "none_left", False)


def test_a_number_that_stands_twice_is_tried_once() -> None:
    assert settle(case(FIRST, FIRST), attempt(FIRST), ended()).result is Result.EXHAUSTED


def test_what_is_allowed_later_is_scheduled_with_its_rule() -> None:
    of = with_attempt(case(FIRST, SECOND, THIRD), attempt(FIRST))
    held = around(held={SECOND: NOON + timedelta(hours=2), THIRD: NOON + timedelta(hours=1)})
    decision = after_call(of, of.attempts[0], ended(), policy=PLAIN, timing=TIMING, around=held)
    assert (decision.result, decision.rule) == (Result.SCHEDULED, "shared_number")
    assert decision.number is not None
    assert (decision.number.key, decision.due_at) == (THIRD, NOON + timedelta(hours=1))


def test_a_number_that_must_not_be_called_is_passed_over() -> None:
    of = with_attempt(case(FIRST, SECOND, THIRD), attempt(FIRST))
    decision = after_call(
        of, of.attempts[0], ended(), policy=PLAIN, timing=TIMING, around=around(do_not_call={SECOND: None})
    )
    assert decision.number is not None
    assert decision.number.key == THIRD


def test_none_left_names_the_rules_that_forbade() -> None:
    of = with_attempt(case(FIRST, SECOND), attempt(FIRST))
    decision = after_call(
        of, of.attempts[0], ended(), policy=PLAIN, timing=TIMING, around=around(do_not_call={SECOND: None})
    )
    assert (decision.result, decision.detail) == (Result.EXHAUSTED, "do_not_call: on the do-not-call list")


def test_not_dialled_tries_the_same_number_again_and_never_the_next() -> None:
    decision = settle(case(FIRST, SECOND), attempt(FIRST), ended(Disposition.NOT_DIALLED))
    assert (decision.result, decision.rule) == (Result.SCHEDULED, "agent_retry")
    assert decision.number is not None
    assert (decision.number.key, decision.due_at) == (FIRST, NOON + TIMING.agent_retry)


def test_an_agent_who_fails_too_often_pauses_the_case() -> None:
    failed = [over(FIRST, Disposition.NOT_DIALLED, id=f"a{turn}") for turn in range(TIMING.agent_retries)]
    last_retry = case(FIRST, SECOND, attempts=failed[1:])
    decision = settle(last_retry, attempt(FIRST, id="last"), ended(Disposition.NOT_DIALLED))
    assert (decision.result, decision.rule) == (Result.SCHEDULED, "agent_retry")
    decision = settle(case(FIRST, SECOND, attempts=failed), attempt(FIRST, id="last"), ended(Disposition.NOT_DIALLED))
    assert (decision.result, decision.reason) == (Result.PAUSED, "agent_unavailable")


def test_failures_of_the_agent_are_counted_in_a_row() -> None:
    failed = [over(FIRST, Disposition.NOT_DIALLED, id=f"a{turn}") for turn in range(TIMING.agent_retries)]
    rang = over(FIRST, Disposition.BUSY, id="rang")
    of = case(FIRST, SECOND, attempts=[*failed, rang])
    assert settle(of, attempt(FIRST, id="last"), ended(Disposition.NOT_DIALLED)).result is Result.SCHEDULED


def test_a_customer_whom_we_abandoned_is_not_dialled_again() -> None:
    decision = settle(case(), attempt(), ended(Disposition.ABANDONED))
    assert (decision.result, decision.reason) == (Result.PAUSED, "abandoned")


@pytest.mark.parametrize("disposition", [Disposition.NO_ANSWER, Disposition.NOT_DIALLED, Disposition.UNKNOWN])
def test_a_call_that_may_have_been_a_conversation_leads_to_no_other(disposition: Disposition) -> None:
    decision = settle(case(), attempt(), ended(disposition, doubtful=True))
    assert (decision.result, decision.rule, decision.reason) == (Result.PAUSED, "call_in_doubt", "attempt_unknown")
    assert settle(case(), attempt(), ended(Disposition.ANSWERED, doubtful=True)).result is Result.CONTACTED


@pytest.mark.parametrize(
    "call",
    [
        ended(ended_at=NOON - timedelta(seconds=301)),
        ended(ended_at=None, received_at=NOON - timedelta(seconds=301)),
        ended(ended_at=None, live=False),
        ended(ended_at=NOON + timedelta(hours=1), received_at=NOON, live=False),
        ended(ended_at=NOON - timedelta(seconds=5), clock_suspect=True, live=False),
    ],
    ids=["too old", "received too long ago", "not live", "from the future, not live", "wrong clock, not live"],
)
def test_old_news_dials_nobody(call: EndedCall) -> None:
    decision = settle(case(), attempt(), call)
    assert (decision.result, decision.rule, decision.reason) == (Result.PAUSED, "old_news", "late")


def test_news_of_the_greatest_age_that_may_dial_somebody() -> None:
    assert settle(case(), attempt(), ended(ended_at=NOON - TIMING.max_age)).result is Result.NEXT


@pytest.mark.parametrize(
    "call",
    [
        ended(ended_at=None),
        ended(ended_at=NOON + timedelta(hours=1), received_at=NOON),
        ended(ended_at=NOON - timedelta(hours=2), clock_suspect=True),
    ],
    ids=["no end", "an end in the future", "a wrong clock"],
)
def test_where_the_clock_does_not_tell_the_receipt_does(call: EndedCall) -> None:
    assert settle(case(), attempt(), call).result is Result.NEXT


def test_an_end_a_minute_ahead_of_its_receipt_is_believed() -> None:
    call = ended(ended_at=NOON + timedelta(seconds=60), received_at=NOON, live=False)
    assert settle(case(), attempt(), call).result is Result.NEXT


def test_a_call_is_decided_once() -> None:
    assert settle(case(), attempt(), ended(), before=Result.NEXT).rule == "decided_before"


def test_a_call_that_turns_out_reached_contacts() -> None:
    assert settle(case(), attempt(), ended(Disposition.ANSWERED), before=Result.NEXT).result is Result.CONTACTED


def test_a_call_that_turns_out_not_reached_pauses() -> None:
    of = case(state=CaseState.CONTACTED)
    decision = settle(of, over(outcome=Disposition.ANSWERED), ended(), before=Result.CONTACTED)
    assert (decision.result, decision.reason) == (Result.PAUSED, "contradiction")


@pytest.mark.parametrize("state", [AttemptState.REFUSED, AttemptState.UNKNOWN, AttemptState.ACCEPTED])
def test_a_record_of_an_earlier_round_decides_nothing(state: AttemptState) -> None:
    of = case(FIRST, SECOND, state=CaseState.WAITING, round=2)
    decision = settle(of, attempt(FIRST, state=state, refusal=Refusal.NETWORK), ended())
    assert (decision.result, decision.rule) == (Result.NOTHING, "earlier_round")


@pytest.mark.parametrize("known", [{"state": AttemptState.UNKNOWN}, {"state": AttemptState.ENDED}])
def test_what_the_vendor_or_a_person_decided_the_record_decides_no_more(known: dict[str, AttemptState]) -> None:
    of = case(FIRST, SECOND, state=CaseState.WAITING)
    decision = settle(of, attempt(FIRST, outcome=Disposition.BUSY, **known), ended())
    assert (decision.result, decision.rule) == (Result.NOTHING, "decided_before")


def test_a_record_of_a_refused_attempt_decides_nothing_when_another_followed() -> None:
    refused = attempt(FIRST, id="1", state=AttemptState.REFUSED, refusal=Refusal.NUMBER)
    followed = attempt(SECOND, id="2", state=AttemptState.REFUSED, refusal=Refusal.AGENT)
    of = case(FIRST, SECOND, state=CaseState.WAITING, attempts=[refused, followed])
    assert settle(of, refused, ended()).rule == "went_on"


def test_another_call_of_an_attempt_tells_only_that_the_person_was_reached() -> None:
    tried = attempt(FIRST, call_id="another")
    of = with_attempt(case(FIRST, SECOND), tried)
    said = {
        end: after_call(of, tried, ended(end), policy=PLAIN, timing=TIMING, around=around(), another=True)
        for end in (Disposition.BUSY, Disposition.ANSWERED)
    }
    assert said[Disposition.BUSY].rule == "decided_before"
    assert said[Disposition.ANSWERED].result is Result.CONTACTED


def test_a_person_knows_better_than_the_record_what_became_of_an_attempt() -> None:
    tried = attempt()
    said = ended(Disposition.ANSWERED)
    of = with_attempt(case(), tried)
    decision = after_call(of, tried, said, policy=PLAIN, timing=TIMING, around=around(), reported=True)
    assert (decision.result, decision.rule) == (Result.NOTHING, "reported")


def test_a_person_is_reached_once() -> None:
    again = settle(case(state=CaseState.CONTACTED), attempt(), ended(Disposition.ANSWERED), before=Result.CONTACTED)
    assert (again.result, again.rule) == (Result.NOTHING, "decided_before")
    another = settle(case(state=CaseState.CONTACTED), attempt(), ended(Disposition.ANSWERED))
    assert (another.result, another.rule) == (Result.NOTHING, "case_closed")


def test_what_contradicts_an_earlier_round_is_no_matter_of_this_one() -> None:
    of = case(state=CaseState.WAITING, round=2)
    decision = settle(of, over(outcome=Disposition.ANSWERED, round=1), ended(), before=Result.CONTACTED)
    assert (decision.result, decision.rule) == (Result.NOTHING, "decided_before")


OVER_OR_PAUSED = [
    (CaseState.CONTACTED, "case_closed"),
    (CaseState.EXHAUSTED, "case_closed"),
    (CaseState.CANCELLED, "case_closed"),
    (CaseState.PAUSED, "case_paused"),
]


@pytest.mark.parametrize(("state", "rule"), OVER_OR_PAUSED)
@pytest.mark.parametrize("tried", [AttemptState.ACCEPTED, AttemptState.SUPERSEDED])
def test_a_case_that_is_over_or_paused_starts_nothing(state: CaseState, rule: str, tried: AttemptState) -> None:
    decision = settle(case(state=state), attempt(state=tried), ended())
    assert (decision.result, decision.rule) == (Result.NOTHING, rule)


@pytest.mark.parametrize("reason", sorted(MAY_HAVE_REACHED))
def test_a_case_whose_person_may_have_been_reached_pauses_again_when_somebody_dialled_it(reason: str) -> None:
    decision = settle(case(FIRST, SECOND, state=CaseState.DIALLING, state_reason=reason), attempt(), ended())
    assert (decision.result, decision.rule, decision.reason) == (Result.PAUSED, "case_paused", reason)


@pytest.mark.parametrize("state", sorted(LIVE))
def test_while_an_attempt_is_live_its_end_decides_and_nothing_else(state: AttemptState) -> None:
    of = case(FIRST, SECOND, THIRD, attempts=[attempt(SECOND, id="2", state=state)])
    said = [
        settle(of, attempt(FIRST, id="1", placed_by=PlacedBy.AGENT), ended()),
        next_number(of, policy=PLAIN, around=around()),
        when_due(of, THIRD, policy=PLAIN, around=around()),
    ]
    live = (Result.NOTHING, "attempt_live", f"another attempt is {state}")
    assert [(one.result, one.rule, one.detail) for one in said] == [live] * 3


def test_what_is_due_is_dialled_where_the_rules_allow_it_and_the_next_number_where_it_is_gone() -> None:
    due = when_due(case(FIRST, SECOND), SECOND, policy=PLAIN, around=around())
    assert (due.result, due.rule, due.number and due.number.key) == (Result.NEXT, "due", SECOND)
    gone = when_due(case(FIRST, SECOND), THIRD, policy=PLAIN, around=around())
    assert (gone.result, gone.rule, gone.number and gone.number.key) == (Result.NEXT, "first_untried", FIRST)


@pytest.mark.parametrize(("asked_back", "next_key", "rule"), [(NOON, SECOND, "due"), (None, FIRST, "first_untried")])
def test_a_resumed_case_goes_on_with_the_number_that_it_owes_a_call(
    asked_back: datetime | None, next_key: str, rule: str
) -> None:
    of = case(FIRST, SECOND, state=CaseState.PAUSED, next_key=SECOND)
    found = when_resumed(of, policy=PLAIN, around=around(asked_back=asked_back))
    assert (found.result, found.rule, found.number and found.number.key) == (Result.NEXT, rule, next_key)


def test_a_case_without_a_number_is_exhausted() -> None:
    found = next_number(case(numbers=[]), policy=PLAIN, around=around())
    assert (found.result, found.rule) == (Result.EXHAUSTED, "no_number")


def test_a_decision_says_what_it_passed_over_and_what_is_left() -> None:
    of = replace(case(FIRST, SECOND), numbers=[number(FIRST, do_not_call=True), number(SECOND, position=2)])
    assert next_number(of, policy=PLAIN, around=around()).detail == f"not {FIRST}: do_not_call"
    assert next_number(case(attempts=[over(FIRST), over(SECOND)]), policy=PLAIN, around=around()).detail == (
        "every number was tried"
    )


# -- refusals --------------------------------------------------------------------------------------------------------


def refuse(of: Case, refusal: Refusal) -> Decision:
    asked = attempt(FIRST, id="asked")
    return after_refusal(
        with_attempt(of, asked), asked, refusal, detail="no", policy=PLAIN, timing=TIMING, around=around()
    )


@pytest.mark.parametrize(("state", "rule"), OVER_OR_PAUSED)
@pytest.mark.parametrize("refusal", list(Refusal))
def test_a_refusal_of_a_case_that_is_over_or_paused_starts_nothing(
    state: CaseState, rule: str, refusal: Refusal
) -> None:
    decision = refuse(case(FIRST, SECOND, state=state), refusal)
    assert (decision.result, decision.rule, decision.detail) == (Result.NOTHING, rule, "no")


@pytest.mark.parametrize("refusal", [Refusal.AGENT, Refusal.NETWORK])
def test_a_refused_number_that_was_taken_out_of_its_case_leads_to_the_next(refusal: Refusal) -> None:
    decision = refuse(case(SECOND), refusal)
    assert (decision.result, decision.number and decision.number.key) == (Result.NEXT, SECOND)


def test_an_agent_who_is_not_available_leads_to_the_same_number() -> None:
    decision = refuse(case(FIRST, SECOND), Refusal.AGENT)
    assert (decision.result, decision.rule) == (Result.SCHEDULED, "agent_retry")
    assert decision.number is not None
    assert decision.number.key == FIRST


def test_a_number_that_does_not_exist_leads_to_the_next() -> None:
    decision = refuse(case(FIRST, SECOND), Refusal.NUMBER)
    assert decision.number is not None
    assert (decision.result, decision.number.key) == (Result.NEXT, SECOND)


def test_a_wrong_configuration_pauses() -> None:
    assert refuse(case(), Refusal.CONFIGURATION).reason == "dialler_configuration"


def test_a_network_failure_is_repeated_some_times() -> None:
    assert refuse(case(), Refusal.NETWORK).rule == "network_retry"
    failed = [
        attempt(FIRST, id=f"n{turn}", state=AttemptState.REFUSED, refusal=Refusal.NETWORK)
        for turn in range(TIMING.network_retries)
    ]
    assert refuse(case(attempts=failed), Refusal.NETWORK).reason == "network"


# -- any order of events ---------------------------------------------------------------------------------------------


class World:
    """A case that is dialled as decisions say, with the time they say."""

    def __init__(self, keys: list[str], policy: Policy) -> None:
        self.case = case(*keys, attempts=())
        self.policy = policy
        self.now = NOON
        self.count = 0

    def carry_out(self, decision: Decision) -> None:
        if decision.result is Result.SCHEDULED:
            assert decision.due_at is not None
            assert decision.due_at > self.now
            self.now = decision.due_at
        if decision.goes_on:
            assert decision.number is not None
            self.count += 1
            asked = attempt(decision.number.key, id=f"{self.count:04d}", requested_at=self.now)
            self.case = replace(with_attempt(self.case, asked), state=CaseState.DIALLING)
        elif decision.result is not Result.NOTHING:
            states = {Result.CONTACTED: CaseState.CONTACTED, Result.EXHAUSTED: CaseState.EXHAUSTED}
            self.case = replace(self.case, state=states.get(decision.result, CaseState.PAUSED))

    def step(self, event: Disposition | Refusal) -> None:
        live = self.case.live_attempt
        assert live is not None
        now = around(now=self.now)
        if isinstance(event, Refusal):
            decision = after_refusal(self.case, live, event, detail="", policy=self.policy, timing=TIMING, around=now)
            self.case = with_attempt(self.case, replace(live, state=AttemptState.REFUSED, refusal=event))
        else:
            call = EndedCall(disposition=event, direction=Direction.OUTBOUND, ended_at=self.now, received_at=self.now)
            decision = after_call(self.case, live, call, policy=self.policy, timing=TIMING, around=now)
            self.case = with_end(self.case, live, outcome=event, at=self.now)
        self.carry_out(decision)


@given(
    keys=st.lists(st.sampled_from([FIRST, SECOND, THIRD]), min_size=1, max_size=5),
    events=st.lists(st.sampled_from([*Disposition, *Refusal]), min_size=1, max_size=40),
    between=st.sampled_from([None, timedelta(minutes=30)]),
)
def test_a_round_never_tries_a_number_twice_and_always_ends(
    keys: list[str], events: list[Disposition | Refusal], between: timedelta | None
) -> None:
    world = World(keys, Policy(between_numbers=between))
    world.carry_out(next_number(world.case, policy=world.policy, around=around()))
    for event in events:
        assert sum(tried.state in LIVE for tried in world.case.attempts) == 1
        world.step(event)
        tried = [made.key for made in world.case.attempts if made.tried]
        assert len(tried) == len(set(tried))
        if world.case.state is not CaseState.DIALLING:
            assert world.case.live_attempt is None
            assert world.case.closed or world.case.state is CaseState.PAUSED
            break
