"""mod_callcenter's events of agents, as recorded and as written by hand."""

from __future__ import annotations

import pytest

from cdrhub.errors import DecodeError, Reason
from cdrhub.model.agent import AgentState
from support.freeswitch import Switch, bodies_of, decoded


def state_of(action: str, headers: dict[str, str]) -> AgentState:
    """The state that one event tells."""
    said = decoded(Switch().callcenter(action, headers, at=3.25))
    assert isinstance(said, AgentState), said
    return said


def test_the_recorded_states_of_an_agent_who_takes_a_call() -> None:
    said = [decoded(body) for body in bodies_of("01-answered-caller-hangs-up.plain.esl")]
    states = [one for one in said if isinstance(one, AgentState)]
    assert [(one.agent_id, str(one.kind), str(one.state)) for one in states] == [
        ("1001@default", "status", "available"),
        ("1001@default", "state", "receiving"),
        ("1001@default", "state", "in_call"),
        ("1001@default", "state", "waiting"),
    ]
    times = [one.at for one in states if one.at is not None]
    numbers = [one.sequence for one in states if one.sequence is not None]
    assert times == sorted(times)
    assert numbers == sorted(numbers)
    assert len(times) == len(numbers) == 4


def test_plain_and_json_say_the_same() -> None:
    plain, json = (
        [
            one
            for one in map(decoded, bodies_of(f"01-answered-caller-hangs-up.{form}.esl"))
            if isinstance(one, AgentState)
        ]
        for form in ("plain", "json")
    )
    assert len(plain) == 4
    assert plain[1:] == json[1:]
    assert len({one.event_id for one in plain} - {None}) == 4


@pytest.mark.parametrize(
    ("word", "state"),
    [
        ("Available", "available"),
        ("Available (On Demand)", "available"),
        ("On Break", "on_break"),
        ("Logged Out", "logged_out"),
        ("Unknown", "unknown"),
    ],
)
def test_the_statuses(word: str, state: str) -> None:
    said = state_of("agent-status-change", {"CC-Agent": "alice@default", "CC-Agent-Status": word})
    assert (said.kind, said.state, said.state_raw, said.flags) == ("status", state, word, ())
    assert (said.at, said.sequence) == (Switch.moment(3.25), 1)


@pytest.mark.parametrize(
    ("word", "state"),
    [
        ("Waiting", "waiting"),
        ("Receiving", "receiving"),
        ("In a queue call", "in_call"),
        ("Idle", "idle"),
        ("Reserved", "reserved"),
        ("Unknown", "unknown"),
    ],
)
def test_the_states(word: str, state: str) -> None:
    said = state_of("agent-state-change", {"CC-Agent": "alice@default", "CC-Agent-State": word})
    assert (said.kind, said.state, said.state_raw, said.flags) == ("state", state, word, ())


def test_an_agent_who_missed_too_many_calls() -> None:
    said = state_of(
        "agent-max-no-answer",
        {"CC-Agent": "alice@default", "CC-Agent-No-Answer-Count": "3", "CC-Agent-No-Answer-Status": "On Break"},
    )
    assert (said.kind, said.state, said.reason) == ("status", "on_break", "max_no_answer")


def test_a_word_that_nobody_knows_is_kept_and_flagged() -> None:
    said = state_of("agent-state-change", {"CC-Agent": "alice@default", "CC-Agent-State": "Levitating"})
    assert (said.state, said.state_raw, said.flags) == ("unknown", "Levitating", ("unmapped_word",))


@pytest.mark.parametrize(
    ("action", "headers"),
    [
        ("agent-status-change", {"CC-Agent": "alice@default"}),
        ("agent-status-change", {"CC-Agent-Status": "Available"}),
        ("agent-state-change", {"CC-Agent": "alice@default", "CC-Agent-Status": "Available"}),
    ],
)
def test_what_names_no_agent_or_no_state_goes_into_suspense(action: str, headers: dict[str, str]) -> None:
    with pytest.raises(DecodeError) as refused:
        decoded(Switch().callcenter(action, headers, at=0))
    assert refused.value.reason is Reason.MISSING_KEY
