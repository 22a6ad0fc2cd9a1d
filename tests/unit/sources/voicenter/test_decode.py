"""What a CDR means: types, statuses, times, identities, re-deliveries."""

from __future__ import annotations

from dataclasses import fields as dataclass_fields
from datetime import UTC, datetime
from decimal import Decimal
from itertools import permutations
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdrhub.errors import DecodeError
from cdrhub.model.call import Call
from cdrhub.model.fold import fold
from cdrhub.model.update import CallUpdate
from cdrhub.sources.voicenter import SYSTEM
from cdrhub.sources.voicenter.config import VoicenterSettings
from cdrhub.sources.voicenter.reading import CALL_LOG
from cdrhub.sources.voicenter.words import TYPES
from support.voicenter import START, after, call_of, cdr, decoded, leg1, leg2, record_of

# Words


@pytest.mark.parametrize(
    ("kind", "direction", "role"),
    [
        ("Incoming Call", "inbound", "agent"),
        ("CC", "outbound", "customer"),
        ("Extension Outgoing", "outbound", "customer"),
        ("Queue", "inbound", "agent"),
        ("VoiceMail", "inbound", "voicemail"),
        ("Callference", "unknown", "conference"),
        ("XferCDR", "internal", "transfer"),
        ("Scrubber", "unknown", "other"),
        ("Click 2 IVR", "internal", "other"),
        ("Click 2 IVR Incoming", "outbound", "customer"),
        ("Click 2 Queue Incoming", "outbound", "customer"),
        ("FaxCdr", "unknown", "other"),
        ("Attended CDR leg1", "internal", "consult"),
        ("Attended CDR leg2", "internal", "transfer"),
        ("Auto forward", "outbound", "customer"),
        (" Click2Callleg2", "outbound", "customer"),
        ("PRODUCTIVECALL LEG2", "outbound", "customer"),
        ("4", "outbound", "customer"),
    ],
)
def test_types(kind: str, direction: str, role: str) -> None:
    call = call_of(cdr(kind, duration=10, dialtime=5, extenUser="SIP1"))
    assert call.direction == direction
    assert role in {leg.role for leg in call.legs}
    assert call.state == "ended"
    assert call.final is (kind not in ("Click 2 IVR", "Attended CDR leg1"))
    assert "unmapped_word" not in call.flags


def test_all_types_of_the_vendor_are_known() -> None:
    assert {int(word) for word in TYPES if word.isdigit()} == {1, 2, 4, *range(8, 24)}


@pytest.mark.parametrize(
    ("status", "disposition"),
    [
        ("ANSWER", "answered"),
        (" answer ", "answered"),
        ("BUSY", "busy"),
        ("NOANSWER", "no_answer"),
        ("No Answer", "no_answer"),
        ("CANCEL", "cancelled"),
        ("ABANDONE", "abandoned"),
        ("TIMEOUT", "abandoned"),
        ("FULL", "abandoned"),
        ("EXIT", "abandoned"),
        ("JOINEMPTY", "abandoned"),
        ("VOEND", "ivr"),
        ("TE", "ivr"),
        ("VOICEMAIL", "voicemail"),
        ("NOTDIALED", "not_dialled"),
        ("NOTCALLED", "not_dialled"),
        ("CONGESTION", "failed"),
        ("CHANUNAVAIL", "failed"),
        ("INVALIDARGS", "failed"),
        ("SSWPREAUTH", "failed"),
    ],
)
@pytest.mark.parametrize("kind", ["Incoming Call", "Extension Outgoing"])
def test_statuses(kind: str, status: str, disposition: str) -> None:
    call = call_of(cdr(kind, status, duration=10, dialtime=5, extenUser="SIP1"))
    assert call.disposition == disposition
    assert call.disposition_raw == status.strip()
    assert "unmapped_word" not in call.flags


def test_words_never_seen_are_kept_and_flagged() -> None:
    call = call_of(cdr("Hologram", "MELTED", direction="sideways", duration=4, dialtime=2))
    assert call.disposition == "unknown"
    assert call.direction == "unknown"
    assert call.talk_seconds is None
    assert (call.type_raw, call.disposition_raw) == ("Hologram", "MELTED")
    assert call.attributes["unmapped"] == {"type": "Hologram", "status": "MELTED", "direction": "sideways"}
    assert "unmapped_word" in call.flags


@pytest.mark.parametrize(
    ("said", "direction"), [("incoming", "inbound"), ("Outgoing", "outbound"), ("internal", "internal")]
)
def test_direction_as_said_outranks_the_type(said: str, direction: str) -> None:
    assert call_of(cdr("XferCDR", direction=said)).direction == direction


# Times


def times(call: Call) -> tuple[Any, ...]:
    return (call.answered_at, call.ended_at, call.wait_seconds, call.ring_seconds, call.talk_seconds)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        # with actualCallDuration: end = start + duration, answer = end - talk
        (
            {"kind": "Queue", "duration": 65, "actualCallDuration": 40, "actualCallDialtime": 5, "wait": 20},
            (after(25), after(65), 20, 5, 40),
        ),
        ({"duration": 45, "actualCallDuration": 40, "dialtime": 5}, (after(5), after(45), None, 5, 40)),
        (
            {"duration": 45, "actualCallDuration": 40, "dialtime": 9, "actualCallDialtime": 5},
            (after(5), after(45), None, 5, 40),
        ),
        ({"actualCallDuration": 40, "dialtime": 5}, (None, None, None, 5, 40)),
        (
            {"status": "NOANSWER", "duration": 0, "actualCallDuration": 0, "actualCallDialtime": 26},
            (None, after(26), None, 26, 0),
        ),
        (
            {"kind": "Queue", "status": "ABANDONE", "duration": 33, "actualCallDuration": 0, "wait": 33},
            (None, after(33), 33, None, 0),
        ),
        # without it: answer = start + dialtime, end = answer + duration
        ({"duration": 12, "dialtime": 31}, (after(31), after(43), None, 31, 12)),
        ({"duration": 12}, (None, None, None, None, 12)),
        ({"status": "NOANSWER", "duration": 0, "dialtime": 31}, (None, after(31), None, 31, 0)),
        ({"status": "VOICEMAIL", "duration": 12, "dialtime": 31}, (None, after(43), None, 31, 0)),
        # queue without it
        ({"kind": "Queue", "duration": 20, "wait": 20}, (None, None, 20, None, None)),
        ({"kind": "Queue", "duration": 60, "dialtime": 5, "wait": 20}, (None, after(65), 20, 5, 60)),
        (
            {"kind": "Queue", "status": "ABANDONE", "duration": 2, "dialtime": 3, "wait": 20},
            (None, after(25), 20, None, 0),
        ),
        ({"kind": "Queue", "status": "ABANDONE", "duration": 0, "wait": 20}, (None, None, 20, None, 0)),
        # as text, and as text with a fraction
        ({"duration": "12", "dialtime": "31.0"}, (after(31), after(43), None, 31, 12)),
    ],
)
def test_times(fields: dict[str, Any], expected: tuple[Any, ...]) -> None:
    said = dict(fields)
    kind, status, wait = said.pop("kind", "Incoming Call"), said.pop("status", "ANSWER"), said.pop("wait", None)
    call = call_of(cdr(kind, status, seconds_waiting_in_queue=wait, **said))
    assert call.started_at == START
    assert times(call) == expected


def test_queue_leg_of_an_answered_call() -> None:
    call = call_of(
        cdr(
            "Queue",
            duration=65,
            actualCallDuration=40,
            actualCallDialtime=5,
            seconds_waiting_in_queue=20,
            queueid=7,
            queuename="Sales",
            extenUser="SIP1",
            representative_name="Dana",
        )
    )
    queue, agent = call.legs
    assert (queue.role, queue.outcome, queue.queue_id, queue.queue) == ("queue", "answered", "7", "Sales")
    assert (queue.offered_at, queue.answered_at, queue.left_at) == (after(5), after(25), after(25))
    assert (agent.role, agent.outcome, agent.agent_id, agent.agent_name) == ("agent", "answered", "SIP1", "Dana")
    assert (agent.offered_at, agent.answered_at, agent.left_at) == (after(20), after(25), after(65))
    assert (call.queue, call.queue_id, call.queued_at) == ("Sales", "7", after(5))
    assert (call.agent_id, call.agent_extension, call.agent_name) == ("SIP1", "SIP1", "Dana")


@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        ("ABANDONE", "abandoned"),
        ("TIMEOUT", "timeout"),
        ("FULL", "full"),
        ("EXIT", "exit_key"),
        ("JOINEMPTY", "join_empty"),
    ],
)
def test_how_a_queue_was_left(status: str, outcome: str) -> None:
    call = call_of(cdr("Queue", status, seconds_waiting_in_queue=9, duration=0, queueid=7, extenUser="SIP1"))
    queue, agent = call.legs
    assert queue.outcome == outcome
    assert queue.cause == status
    assert (queue.offered_at, queue.left_at) == (START, after(9))
    assert agent.outcome == "no_answer"
    assert call.disposition == "abandoned"
    assert call.agent_id is None


@pytest.mark.parametrize("exact", [{}, {"actualCallDuration": 20}], ids=["plain", "exact"])
@pytest.mark.parametrize("status", ["ANSWERD", ""], ids=["unknown", "none"])
def test_a_queue_call_whose_status_tells_nothing_is_not_abandoned(status: str, exact: dict[str, Any]) -> None:
    unclear = cdr("Queue", status, seconds_waiting_in_queue=9, duration=30, queueid=7, extenUser="SIP1", **exact)
    call = call_of(unclear)
    assert (call.disposition, call.wait_seconds, call.talk_seconds, call.agent_id) == ("unknown", 9, None, None)
    queue = call.legs[0]
    assert (queue.role, queue.outcome, queue.queue_id) == ("queue", "unknown", "7")
    assert (queue.offered_at, queue.left_at) == (None, None), "answered or not would make them other moments"
    told = cdr("Queue", "ABANDONE", seconds_waiting_in_queue=9, duration=0, queueid=7, aiData="fuller", IVR="")
    for order in permutations((unclear, told)):
        assert call_of(*order).legs[-2].outcome == "abandoned"


@pytest.mark.parametrize("status", ["BUSY", "NOANSWER", "CANCEL", "VOEND", "TE", "CONGESTION"])
def test_a_queue_call_that_nobody_took_is_abandoned_whatever_its_status(status: str) -> None:
    call = call_of(cdr("Queue", status, seconds_waiting_in_queue=9, duration=0, queueid=7))
    assert (call.disposition, call.disposition_raw, call.talk_seconds) == ("abandoned", status, 0)


def test_one_pass_through_a_queue_is_one_leg_however_much_a_cdr_says_of_it() -> None:
    said = {"seconds_waiting_in_queue": 20, "duration": 60, "dialtime": 5, "extenUser": "SIP1"}
    whole = cdr("Queue", "ANSWER", queueid=7, queuename="Sales", **said)
    others = [cdr("Queue", "ANSWER", queuename="Sales", isAnswer=1, **said), cdr("Queue", "ANSWER", aiData="x", **said)]
    for order in permutations([whole, *others]):
        queue, _agent = call_of(*order).legs
        assert (queue.role, queue.leg_key, queue.queue_id, queue.queue) == ("queue", "queue.pass", "7", "Sales")
    elsewhere = cdr("Queue", "TIMEOUT", queueid=8, queuename="Support", extenUser="SIP1")
    for order in permutations([whole, *others, elsewhere]):
        passes = [leg for leg in call_of(*order).legs if leg.role == "queue"]
        assert sorted(str(leg.queue) for leg in passes) == ["Sales", "Support"]


def test_queue_0_is_none() -> None:
    call = call_of(cdr("Incoming Call", queueid=0, duration=3, dialtime=2))
    assert call.queue_id is None
    assert not any(leg.role == "queue" for leg in call.legs)


def test_an_outgoing_call_that_names_a_queue_did_not_wait_in_it() -> None:
    call = call_of(cdr("Extension Outgoing", "NOANSWER", queueid=7, queuename="Sales", dialtime=9))
    assert (call.queue, call.disposition) == ("Sales", "no_answer")
    assert not any(leg.role == "queue" for leg in call.legs)


@pytest.mark.parametrize(
    ("kind", "agents"),
    [("Click 2 Queue Incoming", ["SIP114"]), ("Click 2 IVR Incoming", ["SIP114"]), ("Click2Call leg2", [])],
)
def test_an_agent_whom_no_first_leg_tells_of_has_a_leg(kind: str, agents: list[str]) -> None:
    call = call_of(cdr(kind, duration=60, dialtime=5, seconds_waiting_in_queue=20, extenUser="SIP114"))
    assert call.agent_id == "SIP114"
    assert [leg.agent_id for leg in call.legs if leg.role == "agent" and leg.talk_seconds == 60] == agents


@pytest.mark.parametrize(
    ("epoch", "utc", "ambiguous"),
    [
        (1595333610, "2020-07-21T09:13:30+00:00", False),  # summer, +03
        (1580846139, "2020-02-04T17:55:39+00:00", False),  # winter, +02
        (1603589400, "2020-10-24T22:30:00+00:00", True),  # 01:30 twice on 25 October 2020: the earlier
        (1774578600, "2026-03-27T00:30:00+00:00", True),  # 02:30 that the clocks leave out on 27 March 2026
    ],
)
def test_epoch_of_a_local_clock(epoch: int, utc: str, ambiguous: bool) -> None:
    call = call_of(cdr(time=epoch), epoch_timezone="Asia/Jerusalem")
    assert call.started_at == datetime.fromisoformat(utc)
    assert ("time_ambiguous" in call.flags) is ambiguous


@pytest.mark.parametrize("time", ["yesterday", -5, 0, "0", 10**15, 1e400, "9" * 400, {"a": 1}, True, [1]])
def test_a_time_that_is_none_is_dropped_and_kept_as_sent(time: Any) -> None:
    body = cdr(time="TIME", duration=3, dialtime=2).replace(b'"TIME"', str(orjson.dumps(time), "ascii").encode())
    call = call_of(body)
    assert call.started_at is None
    assert call.ended_at is None
    assert call.talk_seconds == 3


# Who, what


def test_price_is_in_agorot() -> None:
    call = call_of(cdr(price="7.0"))
    assert (call.cost, call.currency) == (Decimal("0.07"), "ILS")


@pytest.mark.parametrize("price", ["free", "1e99999", "1e999999999", "-1e10", "NaN"])
def test_a_price_that_is_none(price: str) -> None:
    call = call_of(cdr(price=price))
    assert call.cost is None
    assert "value_dropped" in call.flags


def test_a_recording_is_a_web_address_or_an_attribute() -> None:
    assert call_of(cdr(record="https://example.org/a.mp3")).recording_url == "https://example.org/a.mp3"
    other = call_of(cdr(record="javascript:alert(1)"))
    assert other.recording_url is None
    assert other.attributes["record"] == "javascript:alert(1)"


def test_unknown_fields_stay_with_the_vendors_spelling() -> None:
    call = call_of(cdr(TopDepartmentName="Head", someNewField={"Deep": [1]}, CUSTOM_DATA={"var_a": "1"}))
    assert call.attributes["someNewField"] == {"Deep": [1]}
    assert call.attributes["TopDepartmentName"] == "Head"
    assert call.attributes["CustomData"] == {"var_a": "1"}


def test_what_is_no_text_stays_as_sent() -> None:
    call = call_of(cdr(caller={"number": "0501234567"}, queuename=["Sales"], DepartmentName=True, target=[], did=False))
    assert (call.caller_number, call.queue, call.team, call.callee_number, call.did) == (None, None, None, None, None)
    assert call.attributes["caller"] == {"number": "0501234567"}
    assert (call.attributes["queuename"], call.attributes["DepartmentName"]) == (["Sales"], True)
    assert "value_dropped" in call.flags
    assert "value_dropped" not in call_of(cdr(target=[], did=False)).flags


def test_what_a_cdr_says_of_a_queue_that_no_column_holds_stays_as_sent() -> None:
    opening = call_of(leg1(queueid=5, queuename="Sales", seconds_waiting_in_queue=9, targetextension_name="Ada"))
    its = {name: opening.attributes[f"leg1.{name}"] for name in ("queueid", "queuename", "targetextension_name")}
    assert its == {"queueid": 5, "queuename": "Sales", "targetextension_name": "Ada"}
    assert opening.attributes["leg1.seconds_waiting_in_queue"] == 9
    unqueued = call_of(cdr(duration=20, dialtime=5, seconds_waiting_in_queue=14))
    assert (unqueued.wait_seconds, unqueued.attributes["seconds_waiting_in_queue"]) == (None, 14)
    assert "seconds_waiting_in_queue" not in call_of(cdr(seconds_waiting_in_queue=0)).attributes
    assert "seconds_waiting_in_queue" not in call_of(cdr("Queue", seconds_waiting_in_queue=14)).attributes


def test_a_transfer_stands_in_the_group_of_the_call_it_came_from() -> None:
    first = call_of(cdr(ivruniqueid="first"))
    transfer = call_of(cdr("XferCDR", ivruniqueid="second", OriginalivrUniqueID="first"))
    assert (first.call_key, first.linked_key) == ("first", "first")
    assert (transfer.call_key, transfer.linked_key) == ("second", "first")


def test_a_key_longer_than_its_column_stays_distinct() -> None:
    keys = {call_of(cdr(ivruniqueid="k" * 400 + end)).call_key for end in "ab"}
    assert len(keys) == 2
    assert all(len(key) <= 255 for key in keys)


# Legs of one call


def test_a_fuller_delivery_completes_and_never_blanks() -> None:
    early = cdr("Queue", duration=65, dialtime=5, seconds_waiting_in_queue=20, queuename="Sales", price=7)
    later = cdr(
        "Queue",
        duration=65,
        dialtime=5,
        seconds_waiting_in_queue=20,
        queuename="",
        actualCallDuration=40,
        actualCallDialtime=5,
        extenUser="SIP1",
        aiData={"insights": "good"},
    )
    for order in permutations([early, later, later]):
        call = call_of(*order)
        assert times(call) == (after(25), after(65), 20, 5, 40)
        assert (call.queue, call.cost, call.agent_id) == ("Sales", Decimal("0.07"), "SIP1")
        assert call.attributes["aiData"] == {"insights": "good"}
        assert "conflict" not in call.flags


def test_a_contradiction_is_flagged_and_the_fuller_record_wins() -> None:
    thin = cdr(duration=10, dialtime=5, caller="0541112222")
    full = cdr(duration=12, dialtime=5, caller="0541113333", did="0722776772")
    for order in permutations([thin, full]):
        call = call_of(*order)
        assert call.caller_number == "0541113333"
        assert "conflict" in call.flags
        assert call.attributes["conflict"]["caller_number"] == ["0541112222", "0541113333"]
        assert call.attributes["conflict"]["duration"] == ["10", "12"]


# Call Log

ROW = {
    "callernumber": "0722776772",
    "targetnumber": "972541112222",
    "date": "2024-06-10T09:04:58Z",
    "duration": 2,
    "callid": "row-1",
    "customdata": {"var_job": "42"},
    "CdrType": 4,
    "dialstatus": "ANSWER",
    "callerextension": "SIP1",
    "ringtime": 10,
}


@pytest.mark.parametrize("content_type", [CALL_LOG, "application/json"])
def test_call_log_rows_are_in_gmt_whatever_the_zone_of_the_push(content_type: str) -> None:
    call = fold([decoded(orjson.dumps(ROW), content_type=content_type, epoch_timezone="Asia/Jerusalem")])
    assert call.call_key == "row-1"
    assert call.started_at == datetime(2024, 6, 10, 9, 4, 58, tzinfo=UTC)
    assert call.ended_at == datetime(2024, 6, 10, 9, 5, 10, tzinfo=UTC)
    assert (call.direction, call.disposition, call.agent_id) == ("outbound", "answered", "SIP1")
    assert call.attributes["CustomData"] == {"var_job": "42"}


def test_a_call_log_row_and_the_push_of_the_same_call_are_one_leg() -> None:
    push = cdr("Extension Outgoing", ivruniqueid="row-1", time=1718010298, duration=2, dialtime=10, target="0541112222")
    call = call_of(push, orjson.dumps(ROW))
    assert "conflict" not in call.flags
    assert [leg.leg_key for leg in call.legs if leg.role == "customer"] == ["extensionoutgoing"]


# Anything

WORDS = st.sampled_from(["ivruniqueid", "time", "duration", "type", "status", "price", "IVR", "queueid", "record"])
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=30),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(WORDS | st.text(max_size=12), VALUES, max_size=12), st.sampled_from(list(TYPES)))
def test_any_object_is_an_update_or_a_documented_error(said: dict[str, Any], kind: str) -> None:
    import json

    decode = SYSTEM.decoder(VoicenterSettings(epoch_timezone="Asia/Jerusalem"))
    try:
        update = decode(record_of(json.dumps({"type": kind, "ivruniqueid": "a"} | said).encode()))
    except DecodeError:
        return
    assert isinstance(update, CallUpdate)
    call = fold([update])
    orjson.dumps(call.attributes)
    for column in dataclass_fields(call):
        value = getattr(call, column.name)
        assert not (isinstance(value, str) and "\0" in value)


@given(st.permutations(range(6)), st.lists(st.integers(0, 5), max_size=4))
def test_order_and_repetition_cannot_matter(order: list[int], again: list[int]) -> None:
    parts = [
        decoded(body)
        for body in (
            leg1(),
            leg1(aiData={"a": 1}),
            leg2("NOANSWER", dialtime=20, duration=0),
            leg2("NOANSWER", dialtime=20, duration=0, actualCallDuration=0, actualCallDialtime=20),
            leg2("ANSWER", dialtime=21, price=4),
            leg1("BUSY"),
        )
    ]
    assert fold([parts[i] for i in [*order, *again]]) == fold(parts)


# What was not dialled, whose answer, who answered


@pytest.mark.parametrize("exact", [{}, {"actualCallDuration": 20}], ids=["plain", "exact"])
def test_a_delivery_without_status_names_the_agent_who_answered(exact: dict[str, Any]) -> None:
    first = cdr(duration=20, dialtime=8)
    again = cdr(status="", duration=28 if exact else 20, dialtime=8, extenUser="SIP1", **exact)
    for order in permutations((first, again)):
        call = call_of(*order)
        assert (call.disposition, call.disposition_raw) == ("answered", "ANSWER")
        assert [(leg.agent_id, leg.outcome) for leg in call.legs] == [("SIP1", "answered")]
    alone = call_of(again)
    assert (alone.disposition, [leg.outcome for leg in alone.legs]) == ("unknown", ["unknown"])
