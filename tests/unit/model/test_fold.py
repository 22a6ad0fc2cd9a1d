"""The fold, rule by rule."""

from __future__ import annotations

import pytest

from cdrhub.model.derive import whole_seconds
from cdrhub.model.disposition import Disposition, EndedBy, Outcome, Role, State
from cdrhub.model.fold import fold, in_order
from cdrhub.model.update import Authority, CallUpdate, Sequence
from support.updates import at, leg, update


def test_starts_take_the_earliest_time_and_ends_the_latest() -> None:
    call = fold([update(state=State.ENDED, started_at=at(5), ended_at=at(9)), update(started_at=at(2), ended_at=at(7))])
    assert (call.started_at, call.ended_at) == (at(2), at(9))
    assert not call.flags


def test_words_take_the_highest_rank() -> None:
    call = fold(
        [
            update(state=State.ENDED, disposition=Disposition.ABANDONED, ended_by=EndedBy.CALLER),
            update(state=State.RINGING, disposition=Disposition.NO_ANSWER, ended_by=EndedBy.AGENT),
        ]
    )
    assert (call.state, call.disposition, call.ended_by) == (State.ENDED, Disposition.ABANDONED, EndedBy.AGENT)


def test_an_identity_is_set_once_and_a_contradiction_of_one_kind_is_kept() -> None:
    call = fold([update(seconds=2, caller_number="2"), update(seconds=1, caller_number="1")])
    assert call.caller_number == "1"
    assert call.flags == ("conflict",)
    assert call.attributes == {"conflict": {"caller_number": ["1", "2"]}}
    other = fold([update(kind="event", caller_number="2"), update(kind="cdr", caller_number="1")])
    assert not other.flags, "two kinds of record may spell one thing in two ways"


def test_a_higher_authority_decides_whatever_the_order() -> None:
    provisional = update(seconds=1, authority=Authority.PROVISIONAL, callee_number="1", ended_at=at(99))
    decisive = update(seconds=2, authority=Authority.DECISIVE, callee_number="2", state=State.ENDED, ended_at=at(5))
    call = fold([provisional, decisive])
    assert (call.callee_number, call.ended_at) == ("2", at(5))


def test_how_far_a_call_has_come_is_never_taken_back() -> None:
    ended = update(state=State.ENDED, authority=Authority.INFERENCE)
    assert fold([update(state=State.ANSWERED, authority=Authority.DECISIVE), ended]).state == State.ENDED


def test_an_end_that_was_inferred_stands_as_long_as_nothing_began_after_it() -> None:
    first = update(leg("q1", Role.QUEUE, Outcome.TIMEOUT, offered_at=at(0), left_at=at(9)), flags=["late"])
    inferred = update(state=State.ENDED, ended_at=at(9), authority=Authority.INFERENCE, flags=["end_inferred"])
    assert fold([first, inferred]).state == State.ENDED
    same_second = update(leg("101", outcome=Outcome.NO_ANSWER, offered_at=at(9)))
    assert fold([first, inferred, same_second]).state == State.ENDED
    waits = update(leg("q2", Role.QUEUE, offered_at=at(20)))
    again = fold([inferred, waits, first])
    assert (again.state, again.ended_at, again.disposition, again.flags) == (State.QUEUED, None, None, ("late",))
    later = update(state=State.ENDED, ended_at=at(30), authority=Authority.INFERENCE, flags=["end_inferred"])
    closed = fold([first, inferred, waits, later])
    assert (closed.state, closed.ended_at, closed.flags) == (State.ENDED, at(30), ("end_inferred", "late"))
    gone = update(state=State.ENDED, authority=Authority.INFERENCE, flags=["reconciled"])
    left = fold([first, inferred, waits, gone])
    assert (left.state, left.ended_at, left.flags) == (State.ENDED, None, ("late", "reconciled")), "nobody saw when"
    told = update(state=State.ENDED, ended_at=at(9))
    assert fold([first, told, waits]).state == State.ENDED, "the vendor knows when its calls end"


def test_the_flags_of_an_inference_go_with_it() -> None:
    inferred = update(state=State.ENDED, ended_at=at(5), authority=Authority.INFERENCE, flags=["end_inferred"])
    known = update(state=State.RINGING, started_at=at(0), flags=["late"])
    assert fold([inferred, known]).flags == ("end_inferred", "late")
    final = update(state=State.ENDED, ended_at=at(3))
    assert fold([inferred, known, final]).flags == ("late",)
    assert fold([inferred, known, final]).ended_at == at(3)


def test_none_says_not_derivable_and_yields_to_a_value() -> None:
    answered = leg(outcome=Outcome.ANSWERED, answered_at=at(3), left_at=at(9))
    assert fold([update(answered, answered_at=None, state=State.ENDED)]).answered_at is None
    assert fold([update(answered, answered_at=None), update(answered_at=at(4))]).answered_at == at(4)


def test_attributes_are_united_objects_key_by_key() -> None:
    call = fold(
        [
            update(seconds=1, attributes={"a": 1, "unmapped": {"x": "1", "y": "1"}}),
            update(seconds=2, attributes={"b": 2, "unmapped": {"y": "2", "z": "2"}}),
        ]
    )
    assert call.attributes == {
        "a": 1,
        "b": 2,
        "unmapped": {"x": "1", "y": "1", "z": "2"},
        "conflict": {"unmapped.y": ["1", "2"]},
    }


def test_an_attribute_that_is_called_like_the_list_of_contradictions_is_kept_in_it() -> None:
    said = update(seconds=1, caller_number="1", attributes={"conflict": "of interest"})
    call = fold([said, update(seconds=2, caller_number="2")])
    assert call.attributes == {"conflict": {"caller_number": ["1", "2"], "conflict": ["of interest"]}}


def test_attributes_are_the_vendors_own_whatever_they_are_called() -> None:
    """A field that a PBX's administrator called `state` has nothing to do with the column."""
    first = {
        "state": "done",
        "role": 7,
        "started_at": 5,
        "ended_by": None,
        "conflict": "none",
        "tags": {"outcome": "x"},
    }
    second = {
        "state": "gone",
        "role": 8,
        "started_at": "x",
        "ended_by": "me",
        "conflict": "one",
        "tags": {"outcome": "y"},
    }
    updates = [update(seconds=1, attributes=first), update(seconds=2, attributes=second)]
    call = fold(updates)
    assert {name: call.attributes[name] for name in ("state", "role", "started_at", "ended_by")} == {
        "state": "done",
        "role": 7,
        "started_at": 5,
        "ended_by": "me",
    }
    assert call.attributes["tags"] == {"outcome": "x"}
    assert call.attributes["conflict"] == {
        "state": ["done", "gone"],
        "role": ["7", "8"],
        "started_at": ["5", "x"],
        "conflict": ["none", "one"],
        "tags.outcome": ["x", "y"],
    }
    assert fold(updates[::-1]) == call


def test_the_fold_changes_none_of_its_updates() -> None:
    attributes = {"unmapped": {"x": "1"}}
    first, second = update(attributes=attributes), update(attributes={"unmapped": {"y": "2"}})
    fold([first, second])
    assert attributes == {"unmapped": {"x": "1"}}


def test_one_event_in_two_encodings_counts_once_the_fuller_one() -> None:
    poor = update(event_id="core/1", caller_number="1")
    rich = update(event_id="core/1", caller_number="2", caller_name="x")
    call = fold([poor, rich])
    assert (call.caller_number, call.flags) == ("2", ())


def test_the_vendors_sequence_orders_within_a_core_and_time_orders_cores() -> None:
    def numbered(core: str, number: int, seconds: float) -> CallUpdate:
        return CallUpdate(
            call_key="call",
            kind="event",
            digest=f"{core}{number}".encode(),
            values={},
            at=at(seconds),
            sequence=Sequence(core=core, number=number),
        )

    first, second = numbered("b", 1, 3), numbered("b", 2, 1)
    restarted, plain = numbered("a", 1, 9), update(seconds=5)
    assert in_order([restarted, plain, second, first]) == [first, second, plain, restarted]


def test_updates_that_open_no_call_make_none() -> None:
    assert not fold([update(opens=False), update(opens=False)]).opened
    assert fold([update(opens=False), update()]).opened
    assert not fold([update(opens=False)]).opened


def test_one_leg_key_and_times_apart_are_attempts() -> None:
    call = fold(
        [
            update(leg(attempt=0, outcome=Outcome.NO_ANSWER, offered_at=at(0), left_at=at(10))),
            update(leg(attempt=0.9, offered_at=at(0))),
            update(leg(attempt=20, outcome=Outcome.ANSWERED, offered_at=at(20), answered_at=at(22))),
            update(leg(agent_id="7")),
        ]
    )
    first, second = call.legs
    assert (first.leg_key, first.outcome, first.ring_seconds, first.agent_id) == ("101", Outcome.NO_ANSWER, 10, "7")
    assert (second.leg_key, second.outcome, second.ring_seconds) == ("101#2", Outcome.ANSWERED, 2)


def test_an_answer_without_an_attempt_is_of_the_last_one_that_had_begun() -> None:
    tried = update(leg(attempt=0, outcome=Outcome.NO_ANSWER, offered_at=at(0), left_at=at(10)))
    taken = update(leg(attempt=20, outcome=Outcome.ANSWERED, offered_at=at(20), answered_at=at(22)))
    later = update(leg(attempt=60, outcome=Outcome.BUSY, offered_at=at(60), left_at=at(61)))
    listed = update(leg(outcome=Outcome.ANSWERED, answered_at=at(22)), authority=Authority.INFERENCE)
    assert fold([listed, tried, taken, later]).legs == fold([tried, taken, later]).legs
    named = update(leg(name="b", outcome=Outcome.ANSWERED, answered_at=at(22)))
    assert fold([listed, tried, named]).legs == fold([tried, named]).legs


def test_an_attempt_that_is_named_only_finds_its_own() -> None:
    rung = [
        update(leg(attempt=0, offered_at=at(0), outcome=Outcome.NO_ANSWER, left_at=at(9))),
        update(leg(attempt=20, offered_at=at(20))),
    ]
    named = update(leg(attempt=20, name="b", agent_extension="1001"))
    ended = update(leg(name="b", outcome=Outcome.ANSWERED, answered_at=at(25), left_at=at(30)))
    for known in ([*rung, named, ended], [*rung, ended]):
        first, second = fold(known).legs
        assert (first.outcome, second.outcome, second.answered_at) == (Outcome.NO_ANSWER, Outcome.ANSWERED, at(25))
    alone = fold([update(leg(attempt=0, name="a", offered_at=at(0))), ended])
    assert [one.outcome for one in alone.legs] == [Outcome.UNKNOWN, Outcome.ANSWERED]


def test_a_leg_that_is_first_a_person_and_then_a_transfer_is_a_transfer() -> None:
    call = fold([update(leg(role=Role.AGENT)), update(leg(role=Role.TRANSFER)), update(leg(role=Role.OTHER))])
    assert call.legs[0].role == Role.TRANSFER
    assert not call.flags


def test_what_still_rings_has_no_outcome_yet() -> None:
    ringing = leg(outcome=Outcome.NO_ANSWER, offered_at=at(0))
    assert fold([update(ringing)]).legs[0].outcome == Outcome.UNKNOWN
    assert fold([update(ringing, state=State.ENDED)]).legs[0].outcome == Outcome.NO_ANSWER


def test_siblings_tell_what_nobody_told() -> None:
    queue = leg("q", Role.QUEUE, offered_at=at(0))
    winner = leg("a", Role.AGENT, Outcome.ANSWERED, parent_leg="q", offered_at=at(1), answered_at=at(3))
    loser = leg("b", Role.AGENT, None, parent_leg="q", offered_at=at(1))
    stranger = leg("c", Role.AGENT, None, offered_at=at(1))
    live = {one.leg_key: one.outcome for one in fold([update(queue, winner, loser, stranger)]).legs}
    assert live == {"q": "answered", "a": "answered", "b": "unknown", "c": "unknown"}
    ended = fold([update(queue, winner, loser, stranger, state=State.ENDED)])
    assert [(one.leg_key, one.outcome) for one in ended.legs] == [
        ("q", "answered"),
        ("a", "answered"),
        ("b", "lost_race"),
        ("c", "unknown"),
    ]


def test_a_queue_stands_before_the_agents_of_its_second() -> None:
    agent = leg("a", Role.AGENT, offered_at=at(0))
    queue = leg("q", Role.QUEUE, offered_at=at(0))
    assert [(one.leg_key, one.seq) for one in fold([update(agent), update(queue)]).legs] == [("q", 1), ("a", 2)]


def test_a_call_needs_an_update() -> None:
    with pytest.raises(ValueError, match="at least one"):
        fold([])


def test_seconds_are_rounded_half_up_and_never_negative() -> None:
    assert [whole_seconds(at(0), at(second)) for second in (0.4, 0.5, 1.5, -3)] == [0, 1, 2, 0]
