"""The rules that no recorded call shows: races, second attempts, several passes, words nobody knows."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdrhub.errors import DecodeError, Reason
from cdrhub.model.agent import AgentState
from cdrhub.model.disposition import Disposition, EndedBy, Outcome, Role, State
from cdrhub.model.fold import fold
from cdrhub.model.update import CallUpdate, Ignored, Sequence
from cdrhub.sources.freeswitch import CDR_SYSTEM, SYSTEM
from cdrhub.sources.freeswitch.config import FreeSwitchCdrConfig, FreeSwitchConfig, FreeSwitchSettings
from cdrhub.sources.freeswitch.source import EventSocketSource
from cdrhub.sources.transports.mounted import MountedSource
from cdrhub.store.tables import MAX_EVENT_ID
from support.freeswitch import Switch, bodies_of, decoded, record_of, updated
from support.queue_call import AGENT_CHANNEL, MEMBER, QueueCall, agents


def test_a_live_call_goes_from_queued_to_ringing_to_answered() -> None:
    it = QueueCall()
    it.start()
    assert (it.call.state, it.call.disposition, it.call.queue) == (State.QUEUED, None, "3000@default")
    it.offering(2)
    assert it.call.state == State.RINGING
    assert agents(it.call) == [("alice@default", Outcome.UNKNOWN, None)]
    it.answer(5, called=2)
    assert (it.call.state, it.call.agent_id, it.call.agent_extension) == (State.ANSWERED, "alice@default", "1001")
    assert (it.call.wait_seconds, it.call.ring_seconds, it.call.talk_seconds) == (5, 3, None)
    assert it.call.caller_e164 == it.call.external_number == "+33140300001"


def test_two_attempts_on_one_agent_are_two_legs() -> None:
    it = QueueCall()
    it.start()
    it.offering(1)
    it.fail(11, "NO_ANSWER", called=1)
    it.offering(15)
    it.answer(18, called=15)
    it.agent_end(30, called=15, answered=18)
    call = it.call
    assert agents(call) == [
        ("alice@default", Outcome.NO_ANSWER, "NO_ANSWER"),
        ("alice@default", Outcome.ANSWERED, None),
    ]
    assert [leg.ring_seconds for leg in call.legs if leg.role == Role.AGENT] == [10, 3]
    assert call.answered_at == Switch.moment(18)


def test_an_agent_who_is_tried_again_and_again_rang_from_the_attempt_that_he_answered() -> None:
    it = QueueCall()
    it.start()
    for tenths in range(20, 100, 2):  # his telephone is busy, and no delay is configured for that
        it.offering(tenths / 10)
        it.fail(tenths / 10 + 0.1, "USER_BUSY", called=tenths / 10)
    it.offering(10.1)
    it.answer(13, called=10.1)
    (leg,) = [leg for leg in it.call.legs if leg.role == Role.AGENT]
    assert (leg.outcome, leg.ring_seconds, it.call.ring_seconds) == (Outcome.ANSWERED, 3, 3)


def test_the_callers_document_finds_the_second_attempt_by_its_channel() -> None:
    it = QueueCall()
    it.start()
    it.offering(1)
    it.fail(11, "NO_ANSWER", called=1)
    it.offering(15)
    it.answer(18, called=15)
    it.hangup(
        30,
        cc_member_uuid=MEMBER,
        cc_queue="3000@default",
        cc_agent="alice@default",
        cc_agent_uuid=AGENT_CHANNEL,
        cc_cause="answered",
        cc_agent_bridged="true",
        cc_queue_joined_epoch=Switch.second(0),
        cc_queue_answered_epoch=Switch.second(18),
    )
    call = it.call
    assert [outcome for _, outcome, _ in agents(call)] == [Outcome.NO_ANSWER, Outcome.ANSWERED]
    assert (call.wait_seconds, call.ring_seconds, call.talk_seconds) == (18, 3, 12)


def test_an_agent_who_answered_a_caller_who_had_gone_is_not_bridged() -> None:
    it = QueueCall()
    it.start()
    it.offering(2)
    it.answer(5, called=2)
    it.agent_end(6, called=2, answered=5, bridged="false")
    assert it.call.state != State.ANSWERED
    it.hangup(6, cc_member_uuid=MEMBER)
    call = it.call
    assert agents(call) == [("alice@default", Outcome.NOT_BRIDGED, None)]
    assert (call.state, call.disposition, call.answered_at) == (State.ENDED, Disposition.ABANDONED, None)
    assert (call.agent_id, call.talk_seconds) == (None, 0)
    (queue,) = [leg for leg in call.legs if leg.role == Role.QUEUE]
    assert queue.outcome == Outcome.ABANDONED


def test_ring_all_the_losers_lost_a_race_told_or_not() -> None:
    it = QueueCall()
    it.start()
    for agent in ("alice@default", "bob@default", "carol@default"):
        it.offering(2, agent)
    it.answer(5, called=2)
    it.fail(5, "LOSE_RACE", called=2, agent="bob@default")
    it.agent_end(9, called=2, answered=5)
    it.hangup(9, cc_cause="answered", cc_agent_bridged="true", cc_member_uuid=MEMBER)
    assert agents(it.call) == [
        ("alice@default", Outcome.ANSWERED, None),
        ("bob@default", Outcome.LOST_RACE, "LOSE_RACE"),
        ("carol@default", Outcome.LOST_RACE, None),
    ]


@pytest.mark.parametrize(
    ("cause", "outcome"),
    [
        ("NO_ANSWER", Outcome.NO_ANSWER),
        ("USER_BUSY", Outcome.BUSY),
        ("CALL_REJECTED", Outcome.REJECTED),
        ("USER_NOT_REGISTERED", Outcome.FAILED),
        ("ORIGINATOR_CANCEL", Outcome.CANCELLED),
        ("PICKED_OFF", Outcome.LOST_RACE),
    ],
)
def test_why_an_agent_was_not_reached(cause: str, outcome: Outcome) -> None:
    it = QueueCall()
    it.start()
    it.fail(9, cause, called=2)
    assert agents(it.call) == [("alice@default", outcome, cause)]


def test_words_that_nobody_knows_are_kept_and_flagged() -> None:
    it = QueueCall()
    it.start()
    it.fail(9, "ECLIPSE", called=2)
    it.cancel(12, "FULL_MOON")
    call = it.call
    assert agents(call) == [("alice@default", Outcome.UNKNOWN, "ECLIPSE")]
    assert "unmapped_word" in call.flags
    assert call.attributes["unmapped"] == {"hangup_cause": "ECLIPSE", "CC-Cancel-Reason": "FULL_MOON"}
    assert call.disposition == Disposition.ABANDONED


def test_what_no_database_holds_is_taken_out_of_attributes_too() -> None:
    body = (
        b"Event-Name: CUSTOM\nEvent-Subclass: callcenter::info\nCC-Action: bridge-agent-start\n"
        b"CC-Member-Session-UUID: s\nCC-Member-UUID: m\nCC-Agent: 10%001\nCC-Agent-UUID: u%00\n\n"
    )
    said = updated(body)
    assert said.attributes["agent_channels"] == {"u": "101"}
    assert said.legs[-1].values["agent_id"] == "101"
    assert "text_repaired" in said.flags


@pytest.mark.parametrize(
    ("reason", "alive", "outcome"),
    [
        ("TIMEOUT", True, Outcome.TIMEOUT),
        ("NO_AGENT_TIMEOUT", True, Outcome.NO_AGENT),
        ("EXIT_WITH_KEY", True, Outcome.EXIT_KEY),
        ("BREAK_OUT", False, Outcome.ABANDONED),
        ("BREAK_OUT", True, Outcome.OVERFLOW),
        ("NONE", False, Outcome.ABANDONED),
    ],
)
def test_how_a_caller_left_the_queue(reason: str, alive: bool, outcome: Outcome) -> None:
    it = QueueCall()
    it.start()
    it.cancel(9, reason, alive=alive)
    (queue,) = it.call.legs
    assert (queue.outcome, queue.cause) == (outcome, reason)
    assert it.call.state == (State.QUEUED if alive else State.ENDED)
    assert it.call.ended_by == (None if alive else EndedBy.CALLER)


@pytest.mark.parametrize(
    ("reason", "left", "outcome"),
    [
        ("BREAK_OUT", 30, Outcome.ABANDONED),
        ("BREAK_OUT", 9, Outcome.OVERFLOW),
        ("TIMEOUT", 9, Outcome.TIMEOUT),
        ("NEW_WORD", 9, Outcome.UNKNOWN),
    ],
)
def test_how_a_caller_left_the_queue_as_his_channel_remembers_it(reason: str, left: float, outcome: Outcome) -> None:
    it = QueueCall()
    said = {"cc_member_uuid": MEMBER, "cc_cause": "cancel", "cc_cancel_reason": reason}
    it.hangup(30.4, **said, cc_queue_joined_epoch=Switch.second(0), cc_queue_canceled_epoch=Switch.second(left))
    (queue,) = it.call.legs
    assert (queue.outcome, queue.left_at) == (outcome, Switch.moment(left))


def test_two_passes_through_queues_on_one_channel_are_one_call_with_two_queue_legs() -> None:
    it = QueueCall()
    it.start()
    it.cancel(10, "EXIT_WITH_KEY", alive=True)
    second = "11111111-13cd-4909-86a0-621def095c91"
    it.start(at=20, member=second)
    it.cancel(33, "BREAK_OUT", member=second, joined=20)
    call = it.call
    assert [(leg.outcome, leg.cause) for leg in call.legs] == [
        (Outcome.EXIT_KEY, "EXIT_WITH_KEY"),
        (Outcome.ABANDONED, "BREAK_OUT"),
    ]
    assert (call.queued_at, call.ended_at) == (Switch.moment(0), Switch.moment(33))
    assert "conflict" not in call.flags


def test_a_late_event_reopens_nothing() -> None:
    it = QueueCall()
    it.start()
    it.offering(2)
    it.cancel(7, "BREAK_OUT")
    it.fail(7, "ORIGINATOR_CANCEL", called=2)
    assert (it.call.state, it.call.disposition) == (State.ENDED, Disposition.ABANDONED)


def test_events_are_ordered_by_the_switch_and_known_again() -> None:
    it = QueueCall()
    it.start()
    update = updated(it.bodies[0])
    assert update.event_id == f"{it.switch.core}/1"
    assert update.sequence == Sequence(core=it.switch.core, number=1)
    assert update.at == Switch.moment(0)
    assert fold([update, update]) == fold([update])


def test_the_id_of_an_event_fits_its_column() -> None:
    switches = [Switch("x" * MAX_EVENT_ID + end) for end in "ab"]
    ids = {updated(it.callcenter("member-queue-end", QueueCall().member(), at=0)).event_id for it in switches}
    assert len(ids) == 2
    assert all(each is not None and len(each) <= MAX_EVENT_ID for each in ids)


@pytest.mark.parametrize(
    ("name", "headers", "why"),
    [
        ("HEARTBEAT", {}, "heartbeat"),
        ("BACKGROUND_JOB", {"Job-UUID": "x"}, "background_job"),
        ("RE_SCHEDULE", {}, "other_event"),
        ("CHANNEL_DESTROY", {"Unique-ID": "x"}, "other_event"),
        ("CUSTOM", {"Event-Subclass": "sofia::register"}, "other_event"),
        ("CUSTOM", {"Event-Subclass": "callcenter::info", "CC-Action": "members-count"}, "members_count"),
        ("CUSTOM", {"Event-Subclass": "callcenter::info", "CC-Action": "agent-add"}, "agent_setting"),
        ("CUSTOM", {"Event-Subclass": "callcenter::info", "CC-Action": "agent-state-get"}, "agent_setting"),
        ("CHANNEL_CREATE", {"Unique-ID": "x", "Call-Direction": "inbound"}, "not_queue_call"),
    ],
)
def test_what_says_nothing_of_a_call_is_ignored(name: str, headers: dict[str, str], why: str) -> None:
    said = decoded(Switch().event(name, headers, at=0))
    assert said == Ignored(why=why)


def test_an_unknown_action_is_ignored_with_a_warning() -> None:
    said = decoded(Switch().callcenter("member-teleport", {}, at=0))
    assert isinstance(said, Ignored)
    assert said.why == "unknown_action"
    assert "member-teleport" in (said.warning or "")


def test_a_plain_call_of_the_switch_is_taken_on_demand() -> None:
    switch = Switch()
    caller = {
        "Unique-ID": "a-leg",
        "Call-Direction": "inbound",
        "Caller-Caller-ID-Number": "1001",
        "Caller-Destination-Number": "+33140300001",
        "Caller-Channel-Created-Time": Switch.micro(0),
    }
    callee = {
        "Unique-ID": "b-leg",
        "Call-Direction": "outbound",
        "variable_originator": "a-leg",
        "Other-Leg-Direction": "inbound",
        "variable_sip_gateway_name": "carrier",
        "Caller-Caller-ID-Number": "1001",
        "Caller-Destination-Number": "+33140300001",
        "Caller-Channel-Created-Time": Switch.micro(1),
        "Caller-Channel-Answered-Time": Switch.micro(4),
    }
    ended = {"Hangup-Cause": "NORMAL_CLEARING", "Caller-Channel-Hangup-Time": Switch.micro(10)}
    bodies = [
        switch.event("CHANNEL_CREATE", caller, at=0),
        switch.event("CHANNEL_ANSWER", callee, at=4),
        switch.event("CHANNEL_HANGUP_COMPLETE", callee | ended, at=10),
        switch.event(
            "CHANNEL_HANGUP_COMPLETE",
            caller
            | ended
            | {
                "Caller-Channel-Bridged-Time": Switch.micro(4),
                "variable_last_bridge_to": "b-leg",
                "variable_sip_hangup_disposition": "recv_bye",
            },
            at=10,
        ),
    ]
    assert all(isinstance(decoded(body), Ignored) for body in bodies)
    call = fold([updated(body, calls="all") for body in bodies])
    assert (call.call_key, call.direction, call.disposition) == ("a-leg", "outbound", Disposition.ANSWERED)
    assert (call.agent_extension, call.external_number) == ("1001", "+33140300001")
    assert (call.ring_seconds, call.talk_seconds, call.duration_seconds, call.ended_by) == (3, 6, 10, EndedBy.AGENT)
    (leg,) = call.legs
    assert (leg.role, leg.outcome, leg.leg_key) == (Role.CUSTOMER, Outcome.ANSWERED, "b-leg")


def document(**variables: str) -> bytes:
    said = {"uuid": "a-leg", "direction": "inbound", "start_epoch": "1795249402", "end_epoch": "1795249412"}
    return orjson.dumps({"variables": said | variables, "callflow": []})


@pytest.mark.parametrize(
    ("variables", "disposition"),
    [
        ({"answer_epoch": "1795249403", "hangup_cause": "NORMAL_CLEARING"}, Disposition.IVR),
        ({"hangup_cause": "ORIGINATOR_CANCEL"}, Disposition.CANCELLED),
        ({"hangup_cause": "USER_BUSY"}, Disposition.BUSY),
        ({"hangup_cause": "NO_ROUTE_DESTINATION"}, Disposition.FAILED),
        ({"hangup_cause": "ECLIPSE"}, Disposition.UNKNOWN),
        (
            {"answer_epoch": "1795249403", "last_app": "voicemail", "hangup_cause": "NORMAL_CLEARING"},
            Disposition.VOICEMAIL,
        ),
        (
            {
                "answer_epoch": "1795249403",
                "originated_legs": "x;Outbound Call;1001",
                "originate_disposition": "NO_ANSWER",
                "hangup_cause": "NORMAL_CLEARING",
            },
            Disposition.NO_ANSWER,
        ),
    ],
)
def test_calls_outside_queues_that_nobody_answered(variables: dict[str, str], disposition: Disposition) -> None:
    assert fold([updated(document(**variables), calls="all")]).disposition == disposition


def test_a_customer_who_answered_and_found_nobody_is_abandoned() -> None:
    customer = document(
        direction="outbound",
        origination_uuid="a-leg",
        sip_gateway_name="carrier",
        sip_to_user="0639981001",
        answer_epoch="1795249405",
        hangup_cause="NORMAL_CLEARING",
    )
    call = fold([updated(customer)])
    assert (call.disposition, call.answered_at, call.talk_seconds) == (Disposition.ABANDONED, None, 0)


def test_a_customer_whom_the_queue_called_back_is_the_callee_who_hung_up() -> None:
    call, switch = QueueCall(), Switch()
    customer = call.channel(gone=60, cause="NORMAL_CLEARING", by="recv_bye") | {
        "Call-Direction": "outbound",
        "Caller-Destination-Number": "+33140300001",
        "variable_sip_gateway_name": "carrier",
    }
    left = {"CC-Cause": "Cancel", "CC-Cancel-Reason": "BREAK_OUT", "CC-Member-Leaving-Time": Switch.second(60)}
    end = updated(switch.callcenter("member-queue-end", call.member() | customer | left, at=60), region="FR")
    gone = updated(switch.event("CHANNEL_HANGUP_COMPLETE", customer, at=60), region="FR")
    for said in ([end, gone], [gone, end], [end]):
        folded = fold(said)
        assert (folded.direction, folded.disposition) == ("outbound", Disposition.ABANDONED)
        assert (folded.callee_e164, folded.ended_by) == ("+33140300001", EndedBy.CALLEE)


def test_an_agents_answer_alone_is_no_answered_call() -> None:
    """The redial engine acts at once on an answered call: the customer has not been dialled yet."""
    headers = {
        "Unique-ID": "a-leg",
        "Call-Direction": "outbound",
        "variable_dialed_user": "1001",
        "variable_origination_caller_id_number": "0639981001",
        "Caller-Channel-Created-Time": Switch.micro(0),
        "Caller-Channel-Answered-Time": Switch.micro(3),
    }
    call = fold([updated(Switch().event("CHANNEL_ANSWER", headers, at=3))])
    assert (call.state, call.answered_at, call.agent_extension) == (State.RINGING, None, "1001")


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", Reason.UNPARSABLE),
        (b"hello", Reason.UNPARSABLE),
        (b"{}", Reason.UNPARSABLE),
        (b"{", Reason.UNPARSABLE),
        (b'{"variables": {}}', Reason.MISSING_KEY),
        (b'{"variables": {"uuid": ["x"], "cc_side": "agent"}, "callflow": [1, {"caller_profile": 5}]}', None),
        (b"<cdr>", Reason.UNPARSABLE),
        (b"<cdr><x/></cdr>", Reason.UNPARSABLE),
        (b'<!DOCTYPE cdr [<!ENTITY x "y">]><cdr><variables><uuid>&x;</uuid></variables></cdr>', Reason.FORBIDDEN),
        (b"Event-Name: " + b"x" * (1 << 20), Reason.TOO_LONG),
        (b"{" + b" " * (4 << 20), Reason.TOO_LONG),
        (b"Event-Name: CHANNEL_CREATE\nvariable_cc_side: member\n\n", Reason.MISSING_KEY),
        (
            b"Event-Name: CUSTOM\nEvent-Subclass: callcenter%3A%3Ainfo\nCC-Action: agent-offering\n\n",
            Reason.MISSING_KEY,
        ),
    ],
)
def test_bad_input_is_refused_with_a_reason(body: bytes, reason: Reason | None) -> None:
    if reason is None:
        assert isinstance(decoded(body), CallUpdate)
        return
    with pytest.raises(DecodeError) as refused:
        decoded(body)
    assert refused.value.reason == reason


@given(st.binary(max_size=300))
def test_any_bytes_give_a_value_or_a_documented_error(body: bytes) -> None:
    try:
        said = decoded(body, calls="all")
    except DecodeError:
        return
    assert isinstance(said, (CallUpdate, AgentState, Ignored))


FRAGMENTS = [
    body
    for name in (
        "06-no-answer-then-second-agent.plain.esl",
        "08-blind-transfer.json_cdr.json",
        "04-timeout.xml_cdr.xml",
    )
    for body in bodies_of(name)
]


@given(st.sampled_from(FRAGMENTS), st.integers(0, 40_000), st.integers(0, 400), st.binary(max_size=20))
def test_damaged_messages_give_a_value_or_a_documented_error(body: bytes, at: int, cut: int, filler: bytes) -> None:
    damaged = body[: at % len(body)] + filler + body[at % len(body) + cut :]
    for mode in ("queue", "all"):
        try:
            said = decoded(damaged, calls=mode)
        except DecodeError:
            continue
        assert isinstance(said, (CallUpdate, AgentState, Ignored))
        if isinstance(said, CallUpdate):
            assert fold([said]).call_key == said.call_key


def test_the_systems() -> None:
    config = FreeSwitchConfig(password="ClueCon")
    assert (SYSTEM.name, CDR_SYSTEM.name) == ("freeswitch", "freeswitch-cdr")
    assert config.decode_settings() == FreeSwitchSettings()
    assert SYSTEM.delivery(config).speaks == "live"
    assert isinstance(SYSTEM.source(config), EventSocketSource)
    documents = FreeSwitchCdrConfig(path="/ingest/freeswitch/0123456789abcdef")
    settings: Any = documents.decode_settings()
    assert settings.calls == "all"
    assert CDR_SYSTEM.delivery(documents).acknowledged
    assert isinstance(CDR_SYSTEM.source(documents), MountedSource)
    assert isinstance(CDR_SYSTEM.decoder(settings)(record_of(document())), CallUpdate)
