"""What the simulated switch tells of a call is what its ledger says, by every way in which it can be told."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace
from datetime import UTC, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cdrhub.model.disposition import Direction, Disposition, Outcome, Role
from cdrhub.sources.freeswitch.simulate.channels import Channel
from cdrhub.sources.freeswitch.simulate.events import Event
from cdrhub.sources.simulation.centre import Centre, staff
from cdrhub.sources.simulation.numbers import customers, lines
from cdrhub.sources.simulation.planned import Attempt, Course, PlannedCall, Side
from support.simulated_switch import CROWDED, START, Mode, body, differences, folded, played

SEEDS = st.integers(min_value=0, max_value=10_000)


@settings(max_examples=6, deadline=None)
@given(SEEDS, st.sampled_from(["queue", "all"]))
def test_the_events_make_the_calls_of_the_ledger(seed: int, mode: Mode) -> None:
    events, _, ledger = played(Centre(seed=seed, start=START), count=60, mode=mode)
    assert ledger
    assert differences(ledger, folded((body(event.plain) for event in events), mode=mode)) == []


@settings(max_examples=4, deadline=None)
@given(SEEDS)
def test_so_do_json_events_and_documents_alone_and_all_of_them_in_any_order(seed: int) -> None:
    events, documents, ledger = played(Centre(seed=seed, start=START), count=30)
    json = [body(event.json) for event in events]
    assert differences(ledger, folded(json)) == []
    assert differences(ledger, folded(documents)) == []
    mixed = [*json, *documents, *(body(event.plain) for event in events[::3])]
    random.Random(seed).shuffle(mixed)
    assert differences(ledger, folded(mixed)) == []


def test_another_run_of_a_seed_makes_the_same_calls_under_other_names() -> None:
    runs = [played(Centre(seed=1, start=START + timedelta(hours=hours)), count=10)[2] for hours in (0, 0, 1)]
    first, again, later = runs
    assert first.keys() == again.keys()
    assert not first.keys() & later.keys()
    talks, others = ([entry.columns["talk_seconds"] for entry in each.values()] for each in (first, later))
    assert talks == others


def test_calls_are_given_up_and_agents_race_and_callers_come_back() -> None:
    events, documents, ledger = played(CROWDED, count=150)
    calls = folded(body(event.plain) for event in events)
    assert differences(ledger, calls) == []
    assert differences(ledger, folded(documents)) == []
    queues = Counter(leg.outcome for call in calls.values() for leg in call.legs if leg.role == Role.QUEUE)
    assert {Outcome.ANSWERED, Outcome.ABANDONED, Outcome.TIMEOUT, Outcome.EXIT_KEY, Outcome.NO_AGENT} <= set(queues)
    agents = Counter(leg.outcome for call in calls.values() for leg in call.legs if leg.role == Role.AGENT)
    assert {Outcome.ANSWERED, Outcome.NO_ANSWER, Outcome.LOST_RACE, Outcome.CANCELLED} <= set(agents)


def test_the_courses_of_a_centre_all_come() -> None:
    _, _, ledger = played(Centre(seed=1, start=START), count=400)
    seen = {(entry.columns["direction"], entry.columns["disposition"]) for entry in ledger.values()}
    for direction, disposition in (
        (Direction.INBOUND, Disposition.ANSWERED),
        (Direction.INBOUND, Disposition.ABANDONED),
        (Direction.INBOUND, Disposition.IVR),
        (Direction.INBOUND, Disposition.VOICEMAIL),
        (Direction.INBOUND, Disposition.CANCELLED),
        (Direction.INTERNAL, Disposition.ANSWERED),
        (Direction.OUTBOUND, Disposition.ANSWERED),
        (Direction.OUTBOUND, Disposition.BUSY),
        (Direction.OUTBOUND, Disposition.NO_ANSWER),
        (Direction.OUTBOUND, Disposition.REJECTED),
        (Direction.OUTBOUND, Disposition.FAILED),
        (Direction.OUTBOUND, Disposition.ABANDONED),
    ):
        assert (direction, disposition) in seen
    people = {person.role for entry in ledger.values() for person in entry.people or ()}
    assert people == {Role.AGENT, Role.TRANSFER}


def test_events_are_numbered_without_gaps_and_end_with_nobody_in_the_switch() -> None:
    events, _, _ = played(Centre(seed=4, start=START), count=60)
    numbers = [int(event.get("Event-Sequence")) for event in events]
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
    times = [int(event.get("Event-Date-Timestamp")) for event in events]
    assert times == sorted(times)
    created = {event.get("Unique-ID") for event in events if event.get("Event-Name") == "CHANNEL_CREATE"}
    gone = {event.get("Unique-ID") for event in events if event.get("Event-Name") == "CHANNEL_HANGUP_COMPLETE"}
    assert created == gone


# -- single calls ------------------------------------------------------------------------------------------------------

CENTRE = Centre(seed=1, start=START)
CUSTOMER, LINE = customers("FR")[0], lines("FR")[0]
AGENTS = staff(CENTRE)


Rung = tuple[int, int, int, Outcome]
"""Agent, offered, until, outcome."""


def waiting(number: int, *, at: int = 0, attempts: tuple[Rung, ...] = (), left: int) -> PlannedCall:
    """A caller who leaves the first queue unanswered; all times in seconds after START."""
    begins = START + timedelta(seconds=at)
    return PlannedCall(
        number=number,
        course=Course.QUEUE,
        direction=Direction.INBOUND,
        disposition=Disposition.ABANDONED,
        started_at=begins,
        connected_at=begins,
        queued_at=begins + timedelta(seconds=2),
        ended_at=START + timedelta(seconds=left),
        hung_up=Side.CALLER,
        customer=CUSTOMER,
        line=LINE,
        queue=CENTRE.queues[0],
        attempts=tuple(
            Attempt(
                agent=AGENTS[agent],
                offered_at=START + timedelta(seconds=offered),
                until=START + timedelta(seconds=until),
                outcome=outcome,
            )
            for agent, offered, until, outcome in attempts
        ),
    )


def told(*planned: PlannedCall) -> list[Event]:
    """The callcenter::info events of these calls."""
    events, _, ledger = played(CENTRE, count=len(planned), planned=planned)
    assert differences(ledger, folded(body(event.plain) for event in events)) == []
    return [event for event in events if event.get("CC-Action")]


def test_who_gives_up_while_a_phone_rings_leaves_before_the_phone_stops() -> None:
    events = told(waiting(1, attempts=((0, 5, 9, Outcome.CANCELLED),), left=9))
    assert [event.get("CC-Action") for event in events] == [
        "member-queue-start",
        "members-count",
        "agent-state-change",
        "agent-offering",
        "member-queue-end",
        "members-count",
        "bridge-agent-fail",
        "agent-state-change",
    ]
    assert [event.get("CC-Count") for event in events if event.get("CC-Count")] == ["1", "0"]
    assert events[4].get("CC-Cancel-Reason") == "BREAK_OUT"
    assert events[6].get("CC-Hangup-Cause") == "ORIGINATOR_CANCEL"


def test_an_agent_who_does_not_answer_waits_again_and_the_next_one_is_rung() -> None:
    attempts = ((0, 5, 20, Outcome.NO_ANSWER), (1, 20, 24, Outcome.REJECTED))
    events = told(waiting(1, attempts=attempts, left=30))
    failed = [
        (e.get("CC-Agent"), e.get("CC-Hangup-Cause")) for e in events if e.get("CC-Action") == "bridge-agent-fail"
    ]
    assert failed == [
        (f"{AGENTS[0].extension}@default", "NO_ANSWER"),
        (f"{AGENTS[1].extension}@default", "CALL_REJECTED"),
    ]


def test_who_comes_back_takes_up_the_same_place_on_another_channel() -> None:
    first, second, third = told_starts(
        waiting(1, left=9), waiting(2, at=60, left=70), waiting(3, at=10_000, left=10_020)
    )
    assert (first.get("CC-Action"), second.get("CC-Action")) == ("member-queue-start", "member-queue-resume")
    assert first.get("CC-Member-UUID") == second.get("CC-Member-UUID")
    assert first.get("CC-Member-Session-UUID") != second.get("CC-Member-Session-UUID")
    assert third.get("CC-Action") == "member-queue-start"
    assert third.get("CC-Member-UUID") != first.get("CC-Member-UUID")


def told_starts(*planned: PlannedCall) -> list[Event]:
    """The events of callers entering a queue."""
    entries = ("member-queue-start", "member-queue-resume")
    return [event for event in told(*planned) if event.get("CC-Action") in entries]


def test_a_call_to_a_queue_must_say_which() -> None:
    with pytest.raises(ValueError, match="goes to a queue"):
        told(replace(waiting(1, left=9), queue=None))


def test_spans_are_those_of_freeswitch() -> None:
    """Whole seconds are differences of whole seconds: 0.9 s can be one."""
    channel = Channel(
        uuid="u",
        number="101",
        created_at=START + timedelta(milliseconds=500),
        answered_at=START + timedelta(milliseconds=1_400),
        bridged_at=START + timedelta(milliseconds=1_400),
        gone_at=START + timedelta(milliseconds=3_399),
    )
    fields = channel.fields("leg", zone=UTC)
    assert (fields["leg.answersec"], fields["leg.answermsec"], fields["leg.answerusec"]) == ("1", "900", "900000")
    assert (fields["leg.billsec"], fields["leg.mduration"], fields["leg.duration"]) == ("2", "2899", "3")
    assert (fields["leg.progress"], fields["leg.progress.local"], fields["leg.progresssec"]) == ("0", "", "0")
