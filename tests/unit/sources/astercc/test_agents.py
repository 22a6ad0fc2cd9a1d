"""asterCC's events of agents."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from cdrhub.errors import DecodeError, Reason
from cdrhub.model.agent import AgentState
from support.astercc import bodies_of, decoded


def state_of(body: bytes, **settings: str) -> AgentState:
    """The state that a body tells."""
    said = decoded(body, **settings)
    assert isinstance(said, AgentState), said
    return said


def test_the_constructed_events() -> None:
    states = [state_of(body) for body in bodies_of("constructed-agent-state-events.txt")]
    assert [(one.state_raw, str(one.kind), str(one.state)) for one in states] == [
        ("login", "status", "available"),
        ("paused", "status", "on_break"),
        ("nopaused", "status", "available"),
        ("acwring", "mode", "wrap_up_after_ring"),
        ("hangupacw", "state", "wrap_up"),
        ("acwstop", "state", "waiting"),
        ("workwaydialout", "mode", "work_outbound"),
        ("logoff", "status", "logged_out"),
    ]
    assert {(one.agent_id, one.queue, one.at) for one in states} == {("7001", "301", datetime(2026, 3, 9, tzinfo=UTC))}


@pytest.mark.parametrize(
    ("event", "kind", "state"),
    [
        ("acwoff", "mode", "wrap_up_off"),
        ("acwanswer", "mode", "wrap_up_after_answer"),
        ("workwayall", "mode", "work_all"),
        ("workwaydialin", "mode", "work_inbound"),
        ("LOGIN", "status", "available"),
    ],
)
def test_the_other_words(event: str, kind: str, state: str) -> None:
    said = state_of(f"event={event}&agentno=7001&".encode())
    assert (said.kind, said.state, said.state_raw) == (kind, state, event.lower())


def test_an_event_of_a_call_with_an_agent_s_word_is_the_agent_s() -> None:
    """The panel takes `hangupacw` for the beginning of the work after a call, whatever else stands in it."""
    said = state_of(b"sessionid=abc&source=AGENT&event=hangupacw&agentno=7001&eventid=17&")
    assert (said.state, said.sequence) == ("wrap_up", 17)


def test_the_server_s_zone_counts() -> None:
    body = b"event=paused&agentno=7001&eventTime=2026-10-25 02:30:00&"
    twice = state_of(body, timezone="Europe/Paris")
    assert (twice.at, twice.flags) == (datetime(2026, 10, 25, 0, 30, tzinfo=UTC), ("time_ambiguous",))
    assert state_of(body).at == datetime(2026, 10, 24, 18, 30, tzinfo=UTC)


def test_without_a_time() -> None:
    assert state_of(b"event=paused&agentno=7001&eventTime=0000-00-00 00:00:00&").at is None


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"event=login&AgentGroupId=301&", Reason.MISSING_KEY),
        (b"event=login&agentno= &", Reason.MISSING_KEY),
        (b"event=login&agentno=7001&eventTime=yesterday&", Reason.BAD_VALUE),
    ],
)
def test_what_cannot_be_read_goes_into_suspense(body: bytes, reason: Reason) -> None:
    with pytest.raises(DecodeError) as refused:
        decoded(body)
    assert refused.value.reason is reason
