"""Bodies in every spelling, events that are lost, words that nobody knows."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime
from urllib.parse import quote_plus

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from cdrhub.errors import DecodeError, Reason
from cdrhub.model.agent import AgentState
from cdrhub.model.disposition import Disposition, EndedBy, Outcome, Role, State
from cdrhub.model.update import MAX_KEY, CallUpdate, Ignored
from cdrhub.sources.astercc import SYSTEM
from cdrhub.sources.astercc.bodies import MAX_BODY_BYTES, Format, events, read_fields, sniff
from cdrhub.sources.astercc.config import AsterCCConfig, AsterCCSettings
from support.astercc import bodies_of, call_of, decoded, event, updated

FIELDS = {
    "channel": "Local/015967121144@hosted-dialout-408a;1",
    "eventTime": "2010-01-01 08:21:58",
    "calleridnum": "+8613912345678",
    "empty": "",
    "userdata": "a+b",
}


def form(*, encode: bool = False) -> bytes:
    spelled = {key: quote_plus(value) if encode else value for key, value in FIELDS.items()}
    return "".join(f"{key}={value}&" for key, value in spelled.items()).encode()


@pytest.mark.parametrize(
    "body",
    [
        form(),
        form(encode=True),
        orjson.dumps(FIELDS),
        orjson.dumps(FIELDS).replace(b'"', b"'"),
        b"  " + form() + b"\r\n",
    ],
    ids=["raw", "form", "json", "single-quoted", "white space around"],
)
def test_every_spelling_of_a_body(body: bytes) -> None:
    assert read_fields(body) == FIELDS


def test_a_plus_that_a_form_took_away_is_put_back() -> None:
    assert read_fields(b"calleridnum= 8613912345678&x=a b")["calleridnum"] == "+8613912345678"
    assert read_fields(b"calleridnum=+8613912345678&x=%20")["calleridnum"] == "+8613912345678"
    assert read_fields(b"name=a+b&x=%20")["name"] == "a b"


def test_names_come_in_two_charsets() -> None:
    assert read_fields("calleridname=张三&".encode())["calleridname"] == "张三"
    assert read_fields("calleridname=张三&".encode("gbk"))["calleridname"] == "张三"
    assert read_fields(b"calleridname=%D5%C5%C8%FD&")["calleridname"] == "张三"
    assert "\ufffd" in read_fields(b"calleridname=\xff\xff&")["calleridname"]


def test_stray_keys_of_userdata_are_kept_and_do_no_harm() -> None:
    update = updated(event("CALLEE", "ringing", 0, userdata="customer_id=109&more=x"))
    assert update.values["contact_ref"] == "customer_id=109"
    assert update.attributes["more"] == "x"


def test_what_userdata_holds_hides_nothing_that_the_server_says_before_or_behind_it() -> None:
    said = read_fields(b"event=ringing&userdata=id=1&source=web&event=sale&source=CALLEE&sessionid=s1&note=x&")
    assert said == {"event": "ringing", "userdata": "id=1", "source": "CALLEE", "sessionid": "s1", "note": "x"}


def test_an_agents_phone_opens_no_outgoing_call() -> None:
    rang, picked_up = event("AGENT", "ringing", 0), event("AGENT", "answer", 5)
    end = event("CONVERSATION", "hangup", 9)
    assert not any(updated(body).opens for body in (rang, picked_up, end))
    assert not call_of(rang, picked_up, end).opened
    call = call_of(rang, picked_up, event("CALLEE", "ringing", 7))
    assert call.opened
    assert (call.state, call.answered_at, call.caller_number) == (State.RINGING, None, "6101")
    assert call.started_at == datetime(2026, 3, 9, 2, 0, 7, tzinfo=UTC)


def test_an_ordered_call_that_the_agent_did_not_pick_up_is_told_and_was_not_dialled() -> None:
    rang = event("AGENT", "ringing", 0, userdata="order-7")
    gave_up = event("AGENT", "hangup", 30, userdata="order-7")
    assert [updated(body).opens for body in (rang, gave_up)] == [False, True]
    call = call_of(rang, gave_up)
    assert (call.state, call.disposition, call.contact_ref) == (State.ENDED, Disposition.NOT_DIALLED, "order-7")
    assert (call.external_number, call.duration_seconds, call.talk_seconds) == (None, 30, 0)


@pytest.mark.parametrize(
    "changed",
    [{"userdata": ""}, {"calltype": "dialin"}, {"event": "answer"}],
    ids=["nobody ordered it", "it came in", "he picks up"],
)
def test_other_events_of_an_agents_phone_end_no_ordered_call(changed: dict[str, str]) -> None:
    update = updated(event("AGENT", "hangup", 30, **{"userdata": "order-7"} | changed))
    outgoing = changed.get("calltype") != "dialin"
    assert update.opens != outgoing
    assert "state" not in update.values


@pytest.mark.parametrize("first", ["AGENT", ""])
def test_an_ordered_call_that_the_agent_left_before_the_customer_rang_is_told_and_was_not_dialled(first: str) -> None:
    ordered = {"userdata": "order-7"}
    begun = [event("AGENT", "ringing", 0, **ordered), event("AGENT", "answer", 5, **ordered)]
    left = event("AGENT", "hangup", 7, hangupfirst=first, **ordered)
    over = event("CONVERSATION", "hangup", 8, **ordered)
    assert not call_of(*begun).opened
    for told in ([left, over], [over]):
        call = call_of(*begun, *told)
        assert (call.opened, call.state, call.disposition) == (True, State.ENDED, Disposition.NOT_DIALLED)
        assert (call.answered_at, call.talk_seconds, call.contact_ref) == (None, 0, "order-7")
        assert [(leg.role, leg.outcome) for leg in call.legs] == [
            (Role.AGENT, Outcome.NOT_BRIDGED),
            (Role.CUSTOMER, Outcome.UNKNOWN),
        ]


def test_a_customer_of_whom_is_told_later_was_dialled_after_all() -> None:
    call = call_of(
        event("AGENT", "ringing", 0, userdata="order-7"),
        event("AGENT", "hangup", 30, userdata="order-7"),
        event("CALLEE", "ringing", 5, userdata="order-7"),
        event("CALLEE", "hangup", 30, userdata="order-7"),
    )
    assert (call.disposition, call.ring_seconds) == (Disposition.NO_ANSWER, 25)


@pytest.mark.parametrize(
    ("words", "disposition"),
    [
        (["ringing", "hangup"], Disposition.NO_ANSWER),
        (["hangup"], Disposition.FAILED),
        (["ringing", "answer", "hangup"], Disposition.ANSWERED),
        (["answer", "hangup"], Disposition.ANSWERED),
    ],
)
def test_how_an_outgoing_call_ended(words: list[str], disposition: Disposition) -> None:
    seconds = {"ringing": 0, "answer": 10, "hangup": 30}
    call = call_of(*(event("CALLEE", word, seconds[word]) for word in words))
    assert (call.state, call.disposition) == (State.ENDED, disposition)
    assert call.ring_seconds == ({"hangup": 30, "answer": 10}[words[1]] if words[0] == "ringing" else None)
    assert call.talk_seconds == (20 if disposition == Disposition.ANSWERED else 0)
    assert (call.agent_id, call.agent_extension) == ("7001", "6101")


def test_a_call_whose_customer_never_rang_began_with_the_agents_phone() -> None:
    call = call_of(
        event("AGENT", "ringing", 0),
        event("AGENT", "answer", 3),
        event("CALLEE", "hangup", 8),
        event("AGENT", "hangup", 8),
    )
    assert (call.disposition, call.duration_seconds, call.ring_seconds) == (Disposition.FAILED, 8, None)
    assert call.started_at == datetime(2026, 3, 9, 2, 0, 0, tzinfo=UTC)


def test_an_incoming_call_that_nobody_took_is_abandoned() -> None:
    call = call_of(
        event("CALLER", "incoming", 0, calltype="dialin", AgentGroupId="301"),
        event("AGENT", "ringing", 2, calltype="dialin", uniqueid="u1", agentno="7002"),
        event("AGENT", "hangup", 12, calltype="dialin", uniqueid="u1", agentno="7002"),
        event("CALLER", "hangup", 20, calltype="dialin", hangupfirst="CALLER"),
        event("CONVERSATION", "hangup", 22, calltype="dialin"),
    )
    assert (call.disposition, call.wait_seconds, call.talk_seconds, call.agent_id) == (
        Disposition.ABANDONED,
        20,
        0,
        None,
    )
    assert (call.ended_by, call.duration_seconds) == (EndedBy.CALLER, 20)
    queue, agent = call.legs
    assert (queue.role, queue.outcome, queue.queue_id) == (Role.QUEUE, Outcome.ABANDONED, "301")
    assert (agent.outcome, agent.ring_seconds, agent.agent_extension) == (Outcome.NO_ANSWER, 10, "6102")


def test_an_agent_of_whose_call_only_the_answer_was_lost_has_answered() -> None:
    incoming, agent = {"calltype": "dialin"}, {"calltype": "dialin", "uniqueid": "u1"}
    told = [
        event("CALLER", "incoming", 0, **incoming),
        event("AGENT", "ringing", 2, **agent),
        event("AGENT", "hangup", 50, hangupfirst="AGENT", **agent),
        event("CALLER", "hangup", 50, hangupfirst="AGENT", **incoming),
        event("CONVERSATION", "hangup", 51, **incoming),
    ]
    for came in (told, told[::-1]):
        call = call_of(*came)
        queue, taken = call.legs
        assert (call.disposition, call.agent_id, call.ended_by) == (Disposition.ANSWERED, "7001", EndedBy.AGENT)
        assert (call.answered_at, call.wait_seconds, call.ring_seconds, call.talk_seconds) == (None, None, None, None)
        assert (queue.outcome, taken.outcome) == (Outcome.ANSWERED, Outcome.ANSWERED)
        assert (queue.left_at, taken.ring_seconds) == (None, None), "the wait and the ringing would be the whole call"


def test_the_wait_for_an_agent_ends_with_his_answer() -> None:
    incoming, agent = {"calltype": "dialin"}, {"calltype": "dialin", "uniqueid": "u1"}
    answer, over = event("AGENT", "answer", 5, **agent), event("CALLER", "hangup", 50, **incoming)
    queue = call_of(event("CALLER", "incoming", 0, **incoming), answer, over).legs[0]
    assert (queue.outcome, queue.answered_at, queue.left_at) == (Outcome.ANSWERED, *[queue.answered_at] * 2)


def test_an_agent_who_did_not_answer_ends_nothing() -> None:
    call = call_of(
        event("CALLER", "incoming", 0, calltype="dialin"),
        event("AGENT", "ringing", 2, calltype="dialin", uniqueid="u1"),
        event("AGENT", "hangup", 12, calltype="dialin", uniqueid="u1"),
    )
    assert (call.state, call.disposition, call.ended_at) == (State.QUEUED, None, None)


def test_the_end_is_the_clients_else_the_agents_else_the_conversations() -> None:
    incoming = event("CALLER", "incoming", 0, calltype="dialin")
    answer = event("AGENT", "answer", 5, calltype="dialin", uniqueid="u1")
    agent = event("AGENT", "hangup", 31, calltype="dialin", uniqueid="u1", hangupfirst="AGENT")
    caller = event("CALLER", "hangup", 30, calltype="dialin")
    conversation = event("CONVERSATION", "hangup", 33, calltype="dialin")
    minute = datetime(2026, 3, 9, 2, 0, tzinfo=UTC)
    assert call_of(incoming, answer, conversation).ended_at == minute.replace(second=33)
    assert call_of(incoming, answer, conversation, agent).ended_at == minute.replace(second=31)
    assert call_of(incoming, answer, conversation, agent, caller).ended_at == minute.replace(second=30)
    assert call_of(incoming, answer, conversation).talk_seconds == 28, "the agent's leg ended with the call"


def test_an_agent_who_leaves_a_call_to_a_colleague_does_not_end_it() -> None:
    incoming = {"calltype": "dialin"}
    first, second = incoming | {"uniqueid": "u1"}, incoming | {"uniqueid": "u2", "agentno": "7002"}
    told = [
        event("CALLER", "incoming", 0, **incoming),
        event("AGENT", "answer", 5, **first),
        event("AGENT", "hangup", 30, hangupfirst="AGENT", **first),
    ]
    assert (call_of(*told).state, call_of(*told).ended_at) == (State.ANSWERED, None)
    told += [event("AGENT", "ringing", 31, **second), event("AGENT", "answer", 35, **second)]
    assert (call_of(*told).state, call_of(*told).ended_at) == (State.ANSWERED, None)
    told += [
        event("AGENT", "hangup", 60, hangupfirst="CALLER", **second),
        event("CONVERSATION", "hangup", 61, **incoming),
    ]
    call = call_of(*told)
    assert (call.state, call.duration_seconds, call.talk_seconds, call.agent_id) == (State.ENDED, 60, 50, "7001")


def test_the_phone_of_a_second_agent_contradicts_nothing() -> None:
    call = call_of(
        event("AGENT", "answer", 0, uniqueid="u1"),
        event("CALLEE", "answer", 9, uniqueid="u2"),
        event("AGENT", "hangup", 30, uniqueid="u1", hangupfirst="AGENT"),
        event("AGENT", "answer", 40, uniqueid="u3", agentno="7003"),
        event("CALLEE", "hangup", 60, uniqueid="u2", hangupfirst="CALLEE"),
    )
    assert (call.caller_number, call.agent_id, "conflict" in call.flags) == ("6101", "7001", False)


def test_the_kind_of_an_event_is_no_longer_than_a_key() -> None:
    assert len(updated(event("AGENT", "answer", 0, agentno="7" * 100_000)).kind) <= MAX_KEY


def test_a_lost_beginning_leaves_the_earliest_time_seen() -> None:
    call = call_of(
        event("AGENT", "ringing", 2, calltype="dialin", uniqueid="u1"), event("CALLER", "hangup", 20, calltype="dialin")
    )
    assert call.started_at == datetime(2026, 3, 9, 2, 0, 2, tzinfo=UTC)


def test_a_consultation_is_a_leg() -> None:
    call = call_of(
        *bodies_of("constructed-dialout-answered.txt"),
        event(
            "CONSULT",
            "ringing",
            1,
            sessionid="aaaa0000000000000000000000000001",
            activenum="6103",
            agentno="7003",
            eventid="1099",
        ),
    )
    (leg,) = [leg for leg in call.legs if leg.role == Role.CONSULT]
    assert leg.number == "6103"
    assert (call.agent_id, call.talk_seconds) == ("7001", 60)


@pytest.mark.parametrize("session", ["aaaa0000000000000000000000000009", "s" * 400])
def test_a_server_that_numbers_every_event_alike_loses_none(session: str) -> None:
    bodies = [
        event("AGENT", "ringing", 0, sessionid=session, agentno="7001", uniqueid="u1"),
        event("AGENT", "answer", 2, sessionid=session, agentno="7001", uniqueid="u1"),
        event("CALLEE", "ringing", 3, sessionid=session, uniqueid="u2"),
        event("CALLEE", "answer", 8, sessionid=session, uniqueid="u2"),
        event("CALLEE", "hangup", 28, sessionid=session, uniqueid="u2", hangupfirst="CALLEE"),
    ]
    alike = [body.rstrip(b"&") + b"&eventid=0&" for body in bodies]
    assert call_of(*alike) == call_of(*bodies)
    assert (call_of(*alike).talk_seconds, len(call_of(*alike).legs)) == (20, 2)


def test_unknown_words_are_kept_and_flagged() -> None:
    said = updated(event("CALLEE", "teleport", 0, calltype="telepathy", hangupfirst=""))
    assert not said.opens
    assert "unmapped_word" in said.flags
    assert said.attributes["unmapped"] == {"event": "teleport", "calltype": "telepathy"}
    first = updated(event("CALLEE", "hangup", 0, hangupfirst="GHOST"))
    assert first.attributes["unmapped"] == {"hangupfirst": "GHOST"}
    assert "ended_by" not in first.values


def test_times_are_the_servers_own() -> None:
    said = updated(event("CALLEE", "ringing", 0, eventTime="2026-10-25 02:30:00"), timezone="Europe/Paris")
    assert "time_ambiguous" in said.flags
    assert said.at == datetime(2026, 10, 25, 0, 30, tzinfo=UTC)
    unset = updated(event("CALLEE", "ringing", 0, eventTime="0000-00-00 00:00:00"))
    assert unset.at is None
    assert "started_at" not in unset.values or unset.values["started_at"] is None
    assert updated(event("CALLEE", "ringing", 0, eventTime="2026-03-09+10:00:00")).at == datetime(
        2026, 3, 9, 2, tzinfo=UTC
    )


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"EVENT=MAKECALL&targetdn=1&", "command"),
        (b"|Retuen|1|Retuen|BackMsg_19", "reply"),
        (b"|Return|2|Return|BackMsg_16", "reply"),
        (b"diallogid=1&callresult=ok&", "submit_post"),
    ],
)
def test_what_is_no_event_of_a_call_is_ignored(body: bytes, why: str) -> None:
    assert decoded(body) == Ignored(why=why)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", Reason.UNPARSABLE),
        (b"hello", Reason.UNPARSABLE),
        (b"{'a': ", Reason.UNPARSABLE),
        (b"[1]", Reason.UNPARSABLE),
        (b'{"sessionid":"1","event":"hangup","x":' + b"[" * 900 + b"]" * 900 + b"}", Reason.UNPARSABLE),
        (b"{}", Reason.UNPARSABLE),
        (b"foo=bar", Reason.UNPARSABLE),
        (b"event=ringing&source=CALLEE", Reason.MISSING_KEY),
        (b"sessionid=1&source=CALLEE", Reason.BAD_VALUE),
        (b"sessionid=1&event=ringing&eventTime=yesterday", Reason.BAD_VALUE),
        (b"sessionid=1&event=ringing&eventTime=0001-01-01 00:00:00", Reason.BAD_VALUE),
        (b"a=" + b"x" * MAX_BODY_BYTES, Reason.TOO_LONG),
    ],
)
def test_bad_input_is_refused_with_a_reason(body: bytes, reason: Reason) -> None:
    with pytest.raises(DecodeError) as refused:
        decoded(body)
    assert refused.value.reason == reason


@given(st.binary(max_size=300))
def test_any_bytes_give_a_value_or_a_documented_error(body: bytes) -> None:
    with suppress(DecodeError):
        assert isinstance(decoded(body), (CallUpdate, AgentState, Ignored))


@given(
    st.sampled_from(bodies_of("constructed-dialin-second-agent-answers.txt")),
    st.integers(0, 500),
    st.binary(max_size=9),
)
def test_damaged_events_give_a_value_or_a_documented_error(body: bytes, at: int, filler: bytes) -> None:
    with suppress(DecodeError):
        assert isinstance(decoded(body[:at] + filler + body[at + 1 :]), (CallUpdate, AgentState, Ignored))


def test_the_system() -> None:
    config = AsterCCConfig(path="/ingest/astercc/0123456789abcdef", timezone="Asia/Shanghai")
    assert config.decode_settings() == AsterCCSettings(timezone="Asia/Shanghai")
    assert not SYSTEM.delivery(config).resent
    assert (SYSTEM.delivery(config).acknowledged, SYSTEM.delivery(config).speaks) == (True, "live")
    assert "0123456789abcdef" not in repr(config)
    with pytest.raises(ValidationError, match="Asia/Shanghai"):
        AsterCCSettings(timezone="Shanghai")
    assert SYSTEM.split(b"a=1\r\n\n# x\n a=2 \nb=2", final=False) == ([b"a=1", b"a=2"], b"b=2")
    assert SYSTEM.split(b"\xef\xbb\xbf# x\r\na=1\r\n", final=True) == ([b"a=1"], b"")


@pytest.mark.parametrize(
    ("body", "found"),
    [
        (b"", []),
        (b" \r\n", []),
        (b"a=1&\r\n", [b"a=1&"]),
        (b"a=1&b=2\n3&", [b"a=1&b=2\n3&"]),
        (b"{'a':'1'}\r\n\n{'a':'2'}\n", [b"{'a':'1'}", b"{'a':'2'}"]),
        (b"{'a':'1'}\n{'a':", [b"{'a':'1'}", b"{'a':"]),
        (b"\xef\xbb\xbfcalleridnum=1&event=answer&\r\n", [b"calleridnum=1&event=answer&"]),
        (b"a=1&event=ringing&\r\nevent=answer&a=1&\r\n", [b"a=1&event=ringing&", b"event=answer&a=1&"]),
        (b"a=1&event=answer&userdata=two\nlines&", [b"a=1&event=answer&userdata=two\nlines&"]),
        (b'{\n"a": {\n"b": 1}}', [b'{\n"a": {\n"b": 1}}']),
    ],
)
def test_the_events_in_a_body(body: bytes, found: list[bytes]) -> None:
    assert list(events(body)) == found
    assert [event for event in found if sniff(event) is Format.JSON] == [e for e in found if e.startswith(b"{")]


@pytest.mark.parametrize("close_after", ["0s", "13h", "soon"])
def test_times_to_close_after_that_cannot_be(close_after: str) -> None:
    with pytest.raises(ValidationError, match="close_after"):
        AsterCCConfig(path="/ingest/astercc/0123456789abcdef", close_after=close_after)


def test_what_is_taken_where_nothing_is_said_and_how_far_it_goes() -> None:
    assert AsterCCSettings().timezone == "UTC"
    for close_after in ("1m", "12h"):
        AsterCCConfig(path="/ingest/astercc/0123456789abcdef", close_after=close_after)


_SPOKEN = st.builds(
    event,
    st.sampled_from(["AGENT", "CALLER", "CALLEE", "CONSULT", "CONVERSATION"]),
    st.sampled_from(["ringing", "answer", "hangup", "join", "incoming", "onhold", "resume"]),
    st.integers(0, 9),
    calltype=st.sampled_from(["dialout", "dialin", "CONSULT", "inner", ""]),
    agentno=st.sampled_from(["7001", "7002", ""]),
    uniqueid=st.sampled_from(["u1", "u2", ""]),
    hangupfirst=st.sampled_from(["", "AGENT", "CALLER"]),
    eventid=st.sampled_from(["", "1", "2", "3"]),
)


@given(st.lists(_SPOKEN, min_size=1, max_size=8), st.data())
def test_any_events_in_any_order_and_number_are_one_call(bodies: list[bytes], data: st.DataObject) -> None:
    """Also where events contradict each other: a call of two directions, an event number given twice."""
    again = data.draw(st.lists(st.sampled_from(bodies), max_size=4))
    assert call_of(*data.draw(st.permutations([*bodies, *again]))) == call_of(*bodies)
