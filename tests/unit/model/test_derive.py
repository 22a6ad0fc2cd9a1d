"""What follows from the legs."""

from __future__ import annotations

from typing import Any

import pytest

from cdrhub.model.disposition import Direction, Disposition, Outcome, Role, State
from cdrhub.model.fold import fold
from cdrhub.model.update import Authority, LegUpdate
from support.updates import at, leg, update

QUEUE = leg("q", Role.QUEUE, Outcome.ANSWERED, offered_at=at(0), left_at=at(60), queue="sales")


def person(
    key: str, role: Role, answered: float | None, left: float | None, *, offered: float = 0, **values: Any
) -> LegUpdate:
    said = {"offered_at": at(offered)} | values
    if answered is not None:
        said["answered_at"] = at(answered)
    if left is not None:
        said["left_at"] = at(left)
    outcome = values.pop("outcome", Outcome.ANSWERED if answered is not None else Outcome.NO_ANSWER)
    said.pop("outcome", None)
    return leg(key, role, outcome, **said)


def test_wait_ring_and_agent_belong_to_the_first_person_talk_to_all() -> None:
    call = fold(
        [
            update(
                QUEUE,
                person("a", Role.AGENT, 12, 30, offered=10, agent_id="alice"),
                person("t", Role.TRANSFER, 35, 60, offered=30, agent_id="bob"),
                state=State.ENDED,
                ended_at=at(60),
                started_at=at(0),
            )
        ]
    )
    assert (call.wait_seconds, call.ring_seconds, call.talk_seconds, call.duration_seconds) == (12, 2, 43, 60)
    assert (call.agent_id, call.queue, call.answered_at, call.disposition) == ("alice", "sales", at(12), "answered")


def test_an_unanswered_queue_call() -> None:
    queue = leg("q", Role.QUEUE, Outcome.ABANDONED, offered_at=at(0), left_at=at(20), queue="sales")
    call = fold([update(queue, person("a", Role.AGENT, None, 20, offered=5, agent_id="alice"), state=State.ENDED)])
    assert (call.wait_seconds, call.ring_seconds, call.talk_seconds) == (20, None, 0)
    assert (call.agent_id, call.queue, call.disposition) == (None, "sales", Disposition.ABANDONED)


@pytest.mark.parametrize(("outcome", "answered", "wait"), [(Outcome.ABANDONED, None, 30), (Outcome.ANSWERED, 25, 15)])
def test_who_was_answered_before_the_queue_was_entered_waited_there_all_the_same(
    outcome: Outcome, answered: float | None, wait: int
) -> None:
    times: dict[str, Any] = {} if answered is None else {"answered_at": at(answered)}
    queue = leg("q", Role.QUEUE, outcome, offered_at=at(10), left_at=at(40), queue="sales", **times)
    legs = [person("a", Role.AGENT, 3, 9, agent_id="alice"), queue]
    assert fold([update(*legs, state=State.ENDED, ended_at=at(40))]).wait_seconds == wait


@pytest.mark.parametrize(
    ("customer", "agent", "joined", "talk"),
    [(10, 4, 10, 20), (4, 10, 10, 20), (10, None, 10, 20)],
    ids=["agent first", "customer first", "agent unknown"],
)
def test_a_click_to_call_is_answered_when_both_sides_are(
    customer: float, agent: float | None, joined: float, talk: int
) -> None:
    legs = [person("c", Role.CUSTOMER, customer, 30)]
    if agent is not None:
        legs.append(person("a", Role.AGENT, agent, 30, agent_extension="101"))
    call = fold([update(*legs, direction=Direction.OUTBOUND, state=State.ENDED)])
    assert (call.answered_at, call.talk_seconds, call.disposition) == (at(joined), talk, Disposition.ANSWERED)
    assert call.ring_seconds == customer


def test_a_call_back_waits_in_its_queue_until_an_agent_answers() -> None:
    customer = person("c", Role.CUSTOMER, 5, None)
    waiting = leg("q", Role.QUEUE, offered_at=at(6), queue="sales")
    waits = fold([update(customer, waiting, direction=Direction.OUTBOUND)])
    assert (waits.state, waits.answered_at, waits.wait_seconds) == (State.QUEUED, None, None)
    rings = fold([update(customer, waiting, leg("a", parent_leg="q", offered_at=at(10)), direction=Direction.OUTBOUND)])
    assert (rings.state, rings.answered_at) == (State.RINGING, None)
    agent = person("a", Role.AGENT, 14, None, offered=10, parent_leg="q", agent_id="alice")
    talks = fold([update(customer, waiting, agent, direction=Direction.OUTBOUND)])
    assert (talks.state, talks.answered_at, talks.wait_seconds, talks.ring_seconds) == (State.ANSWERED, at(14), 8, 5)


@pytest.mark.parametrize(
    ("customer", "agent", "disposition"),
    [
        (Outcome.BUSY, Outcome.ANSWERED, Disposition.BUSY),
        (Outcome.ANSWERED, Outcome.NO_ANSWER, Disposition.ABANDONED),
        (Outcome.NOT_BRIDGED, Outcome.NO_ANSWER, Disposition.ABANDONED),
        (Outcome.NOT_BRIDGED, None, Disposition.ABANDONED),
        (None, Outcome.NO_ANSWER, Disposition.NOT_DIALLED),
        (Outcome.FAILED, None, Disposition.FAILED),
    ],
)
def test_how_a_click_to_call_failed(customer: Outcome | None, agent: Outcome | None, disposition: Disposition) -> None:
    legs = []
    if customer is not None:
        legs.append(leg("c", Role.CUSTOMER, customer, offered_at=at(1), left_at=at(9)))
    if agent is not None:
        legs.append(leg("a", Role.AGENT, agent, offered_at=at(0), left_at=at(9)))
    call = fold([update(*legs, direction=Direction.OUTBOUND, state=State.ENDED)])
    assert (call.disposition, call.answered_at, call.talk_seconds) == (disposition, None, 0)


@pytest.mark.parametrize("stated", [None, 26], ids=["of its channel's times", "as the record says"])
def test_who_waited_for_the_other_side_talked_from_when_both_were_there(stated: int | None) -> None:
    said = {} if stated is None else {"talk_seconds": stated}
    agent_first = [person("c", Role.CUSTOMER, 10, 30), person("a", Role.AGENT, 4, 30, **said)]
    customer_first = [person("c", Role.CUSTOMER, 4, 30, **said), person("a", Role.AGENT, 10, 30)]
    for legs in (agent_first, customer_first):
        call = fold([update(*legs, direction=Direction.OUTBOUND, state=State.ENDED)])
        assert [leg.talk_seconds for leg in call.legs] == [call.talk_seconds] * 2 == [20, 20]
        assert [leg.outcome for leg in call.legs] == [Outcome.ANSWERED] * 2


def test_who_took_over_later_keeps_his_own_talk_and_an_open_leg_ended_with_the_call() -> None:
    legs = [
        person("a", Role.AGENT, 4, None),
        person("c", Role.CUSTOMER, 10, 50),
        person("t", Role.TRANSFER, 30, 50, offered=25),
    ]
    live = fold([update(*legs, direction=Direction.OUTBOUND)])
    assert {leg.leg_key: leg.talk_seconds for leg in live.legs} == {"a": None, "c": 40, "t": 20}
    ended = fold([update(*legs, direction=Direction.OUTBOUND, state=State.ENDED, ended_at=at(50))])
    assert {leg.leg_key: leg.talk_seconds for leg in ended.legs} == {"a": 40, "c": 40, "t": 20}


@pytest.mark.parametrize("outcome", [Outcome.BUSY, Outcome.NO_ANSWER, Outcome.FAILED])
def test_an_agent_whose_customer_did_not_answer_talked_to_nobody(outcome: Outcome) -> None:
    legs = [person("c", Role.CUSTOMER, None, 30, outcome=outcome), person("a", Role.AGENT, 4, 30, offered=1)]
    live = fold([update(*legs, direction=Direction.OUTBOUND)])
    assert {leg.leg_key: leg.outcome for leg in live.legs}["a"] == Outcome.ANSWERED, "he is on the line still"
    call = fold([update(*legs, direction=Direction.OUTBOUND, state=State.ENDED)])
    agent = next(leg for leg in call.legs if leg.leg_key == "a")
    assert (agent.outcome, agent.ring_seconds, agent.talk_seconds) == (Outcome.NOT_BRIDGED, 3, None)


def test_who_picked_up_in_a_call_of_unknown_end_may_have_talked() -> None:
    legs = [leg("c", Role.CUSTOMER, offered_at=at(5)), person("a", Role.AGENT, 4, 30)]
    call = fold([update(*legs, direction=Direction.OUTBOUND, state=State.ENDED)])
    assert call.disposition == Disposition.UNKNOWN
    assert {leg.leg_key: (leg.outcome, leg.talk_seconds) for leg in call.legs}["a"] == (Outcome.ANSWERED, 26)


@pytest.mark.parametrize("seconds", [0, 9], ids=["answered first", "elsewhere first"])
def test_a_call_that_a_record_tells_answered_was_not_picked_up_elsewhere(seconds: float) -> None:
    elsewhere = update(
        leg("b", Role.AGENT, Outcome.LOST_RACE, offered_at=at(0)),
        seconds=5,
        flags=["picked_up_elsewhere"],
        state=State.ENDED,
        disposition=Disposition.CANCELLED,
    )
    assert fold([elsewhere]).flags == ("picked_up_elsewhere",)
    answered = update(person("a", Role.AGENT, 3, 30), seconds=seconds, state=State.ENDED)
    call = fold([elsewhere, answered])
    assert (call.disposition, call.flags) == (Disposition.ANSWERED, ())
    assert {found.leg_key: found.outcome for found in call.legs} == {"a": Outcome.ANSWERED, "b": Outcome.LOST_RACE}


@pytest.mark.parametrize(
    ("disposition", "talk"),
    [(Disposition.IVR, 0), (Disposition.CANCELLED, 0), (Disposition.ANSWERED, None), (Disposition.UNKNOWN, None)],
)
def test_the_talk_of_a_call_without_legs(disposition: Disposition, talk: int | None) -> None:
    assert fold([update(state=State.ENDED, disposition=disposition)]).talk_seconds == talk
    assert fold([update(disposition=disposition)]).talk_seconds is None, "null until it ended"


def test_a_customer_who_was_never_tried_is_not_dialled_and_an_agent_alone_is_no_answered_call() -> None:
    legs = [leg("customer", Role.CUSTOMER), person("a", Role.AGENT, 3, None, agent_extension="101")]
    live = fold([update(*legs, direction=Direction.OUTBOUND)])
    assert (live.state, live.answered_at) == (State.RINGING, None)
    ended = fold([update(*legs, direction=Direction.OUTBOUND, state=State.ENDED)])
    assert (ended.disposition, ended.agent_extension) == (Disposition.NOT_DIALLED, "101")


def test_a_leg_that_nobody_closed_ended_with_the_call() -> None:
    open_leg = person("a", Role.AGENT, 5, None)
    assert fold([update(open_leg, state=State.ENDED, ended_at=at(25))]).talk_seconds == 20
    assert fold([update(open_leg, ended_at=at(25))]).talk_seconds is None
    assert fold([update(open_leg, state=State.ENDED)]).talk_seconds is None


def test_nobody_knows_how_long_somebody_talked_who_left_unseen_before_another_one_answered() -> None:
    legs = [person("a", Role.AGENT, 5, None), person("b", Role.AGENT, 40, 90)]
    call = fold([update(*legs, direction=Direction.INBOUND, state=State.ENDED, ended_at=at(100))])
    assert (call.talk_seconds, call.duration_seconds is None) == (None, True)
    assert [leg.talk_seconds for leg in call.legs] == [None, 50]


def test_talk_that_a_record_calls_unknown_stays_unknown() -> None:
    unknown = leg("a", Role.AGENT, Outcome.ANSWERED, answered_at=at(5), left_at=at(25))
    said = {**unknown.values, "talk_seconds": None}
    call = fold([update(LegUpdate(leg_key="a", values=said), state=State.ENDED, ended_at=at(25))])
    assert call.talk_seconds is None


@pytest.mark.parametrize(
    ("direction", "external"),
    [(Direction.INBOUND, "+331"), (Direction.OUTBOUND, "+332"), (Direction.INTERNAL, None), (Direction.UNKNOWN, None)],
)
def test_the_outside_party(direction: Direction, external: str | None) -> None:
    assert fold([update(direction=direction, caller_e164="+331", callee_e164="+332")]).external_number == external


def test_states_of_a_living_call() -> None:
    queue = leg("q", Role.QUEUE, offered_at=at(0))
    assert fold([update()]).state == State.RINGING
    assert fold([update(queue)]).state == State.QUEUED
    assert fold([update(queue, leg("a", offered_at=at(1)))]).state == State.RINGING
    assert fold([update(queue, person("a", Role.AGENT, 3, None))]).state == State.ANSWERED
    assert fold([update(queue, disposition=Disposition.ABANDONED)]).disposition is None, "null until it ended"


def test_a_queue_that_was_left_nobody_can_say_how() -> None:
    unclear = leg("q", Role.QUEUE, offered_at=at(0), left_at=at(5))
    said = update(unclear, state=State.ENDED, disposition=Disposition.UNKNOWN)
    assert fold([said]).disposition == Disposition.UNKNOWN
    assert fold([update(unclear, state=State.ENDED, disposition=Disposition.BUSY)]).disposition == "abandoned"
    left = leg("q2", Role.QUEUE, Outcome.TIMEOUT, offered_at=at(6), left_at=at(9))
    assert fold([said, update(left, state=State.ENDED)]).disposition == Disposition.ABANDONED


def test_of_several_queues_it_is_the_last_one_that_somebody_must_have_seen_to_end() -> None:
    left = leg("q1", Role.QUEUE, Outcome.TIMEOUT, offered_at=at(0), left_at=at(9))
    waits = leg("q2", Role.QUEUE, offered_at=at(20))
    gone = update(state=State.ENDED, disposition=None, authority=Authority.INFERENCE)
    assert fold([update(left, waits), gone]).disposition == Disposition.UNKNOWN
    unseen = leg("q1", Role.QUEUE, offered_at=at(0))
    abandoned = leg("q2", Role.QUEUE, Outcome.ABANDONED, offered_at=at(20), left_at=at(30))
    assert fold([update(unseen, abandoned), gone]).disposition == Disposition.ABANDONED


def test_voicemail_outranks_abandoned() -> None:
    machine = leg("v", Role.VOICEMAIL, Outcome.LEFT)
    queue = leg("q", Role.QUEUE, Outcome.TIMEOUT, offered_at=at(0), left_at=at(5))
    assert fold([update(queue, machine, state=State.ENDED)]).disposition == Disposition.VOICEMAIL


def test_seconds_of_several_legs_add_up_to_no_more_than_a_column_holds() -> None:
    long = 2**31 - 1
    rung = [person(key, Role.AGENT, None, None, ring_seconds=long, hold_seconds=long) for key in "ab"]
    call = fold([update(*rung, state=State.ENDED)])
    assert (call.ring_seconds, call.hold_seconds) == (long, long)
