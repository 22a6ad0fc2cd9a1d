"""Campaign and Click2Dial CDRs of all revisions, the other messages of the list, and what is none."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdrhub.errors import DecodeError, Reason
from cdrhub.model.disposition import Disposition, EndedBy, Role, State
from cdrhub.model.fold import fold
from cdrhub.model.update import CallUpdate, Ignored
from cdrhub.sources.base import Probed
from cdrhub.sources.enigma import SYSTEM
from cdrhub.sources.enigma.config import EnigmaConfig, EnigmaSettings
from cdrhub.sources.enigma.decode import MAX_BODY_BYTES
from support.enigma import CAPTURES, call_of, cdr, decoded, updated

EXPECTED = orjson.loads((CAPTURES / "expected.json").read_bytes())
STARTED = datetime(2014, 5, 14, 12, 13, 38, tzinfo=UTC)


@pytest.mark.parametrize("case", [case for case in EXPECTED["cases"] if case["calls"]], ids=lambda case: case["name"])
def test_a_case_with_a_call(case: dict[str, Any]) -> None:
    (expected,) = case["calls"]
    (body,), _ = SYSTEM.split((CAPTURES / case["files"][0]).read_bytes(), final=True)
    call = fold([updated(body, region="ZA")])
    ids = expected["ids"]
    assert (call.call_key, call.contact_ref, call.campaign) == (ids["call_ref"], ids["contact_ref"], ids["campaign"])
    assert (call.caller_number, call.callee_number) == (expected["caller"], expected["callee"])
    assert call.external_number == "+27820000111"
    assert (call.agent_id, call.queue, call.did) == (expected["agent"], expected["queue"], expected["did"])
    assert (call.direction, call.state) == (expected["direction"], State.ENDED)
    assert call.disposition == (Disposition.ANSWERED if expected["answered"] else Disposition.ABANDONED)
    assert call.started_at == datetime.fromisoformat(expected["start_utc"])
    assert call.answered_at is call.ended_at is None
    assert call.ring_seconds is call.wait_seconds is call.duration_seconds is None
    assert call.talk_seconds == expected["talk_seconds"]
    assert call.recording_url == expected.get("recording")
    assert call.ended_by == EndedBy.CALLEE
    if "end_lower_bound_utc" in expected:
        bound = datetime.fromisoformat(call.attributes["ended_at_lower_bound"])
        assert bound == datetime.fromisoformat(expected["end_lower_bound_utc"])
    assert call.final


def test_other_messages_are_ignored_or_refused_line_by_line() -> None:
    (case,) = [case for case in EXPECTED["cases"] if "ignored" in case]
    lines, rest = SYSTEM.split((CAPTURES / case["files"][0]).read_bytes(), final=True)
    assert rest == b""
    warned, ignored, refused = [], [], []
    for number, line in enumerate(lines, start=1):
        try:
            said = decoded(line)
        except DecodeError:
            refused.append(number)
            continue
        assert isinstance(said, Ignored)
        ignored.append(number)
        if said.warning:
            warned.append(number)
    assert ignored == [entry["line"] for entry in case["ignored"]]
    assert refused == [entry["line"] for entry in case["rejected"]]
    assert warned == [2], "queue_calls means the dialler's own Redis"


@pytest.mark.parametrize(
    ("reason", "joined", "alone"),
    [
        ("hungup", "answered", "abandoned"),
        ("callee_hungup", "answered", "abandoned"),
        ("callee_hangup", "answered", "abandoned"),
        ("agent_hungup", "answered", "answered"),
        ("closed", "answered", "answered"),
        ("retry", "answered", "answered"),
        ("remove_number", "answered", "answered"),
        ("voicemail", "voicemail", "voicemail"),
        ("busy", "answered", "busy"),
        ("reject", "answered", "rejected"),
        ("timeout", "answered", "no_answer"),
        ("error", "answered", "failed"),
        ("failed", "answered", "failed"),
        ("NOANSWER", "answered", "no_answer"),
        ("CONGESTION", "answered", "failed"),
        ("CANCEL", "answered", "cancelled"),
    ],
)
def test_end_reasons_of_campaigns(reason: str, joined: str, alone: str) -> None:
    with_agent, without = call_of(end_reason=reason), call_of(end_reason=reason, extension=None, call_time=0)
    assert (with_agent.disposition, without.disposition) == (joined, alone)
    assert with_agent.disposition_raw == reason
    assert with_agent.talk_seconds == (79 if joined == "answered" else 0)
    assert without.talk_seconds == 0
    assert with_agent.agent_id == ("2001" if joined == "answered" else None)
    assert without.agent_id is None
    assert not with_agent.flags


def test_an_unknown_reason_is_kept_and_flagged() -> None:
    call = call_of(end_reason="vanished", extension=None)
    assert (call.disposition, call.disposition_raw, call.flags) == (Disposition.UNKNOWN, "vanished", ("unmapped_word",))
    assert call.attributes["unmapped"] == {"end_reason": "vanished"}
    assert call_of(end_reason="vanished").disposition == Disposition.ANSWERED


def test_an_agents_leg() -> None:
    (leg,) = call_of().legs
    assert (leg.role, leg.agent_id, leg.agent_extension, leg.talk_seconds, leg.answered_at) == (
        Role.AGENT,
        "2001",
        "2001",
        79,
        None,
    )
    assert call_of(end_reason="agent_hungup").ended_by == EndedBy.AGENT


def test_an_inbound_call() -> None:
    call = call_of(call_dir="inbound", contact_ref="")
    assert (call.direction, call.caller_number, call.callee_number, call.did) == (
        "inbound",
        "0820000111",
        "27110000900",
        "27110000900",
    )
    assert (call.ended_by, call.contact_ref, call.external_number) == (EndedBy.CALLER, None, "+27820000111")


@pytest.mark.parametrize(
    "revision", [{"number": None, "client_number": "0820000111"}, {"call_ref": "845"}, {"call_ref": 845.0}]
)
def test_spellings_of_other_revisions(revision: dict[str, Any]) -> None:
    call = call_of(**revision)
    assert (call.call_key, call.callee_number) == ("845", "0820000111")


@pytest.mark.parametrize(
    ("payload", "disposition"),
    [
        ({"ref": "click-dial", "hold_time": 3}, "answered"),
        ({"ref": "0820000111", "number": None, "hold_time": 3}, "answered"),
        ({"ref": "click-dial", "end_reason": "hungup", "call_time": 0}, "cancelled"),
        ({"ref": "click-dial", "end_reason": "busy"}, "busy"),
        ({"ref": "click-dial", "end_reason": "NOANSWER"}, "no_answer"),
    ],
)
def test_click2dial_has_an_agent_from_the_start(payload: dict[str, Any], disposition: str) -> None:
    call = call_of(**payload)
    assert (call.disposition, call.callee_number, call.campaign) == (disposition, "0820000111", None)


@pytest.mark.parametrize(
    "value", [1400069618, "1400069618", "2014-05-14T12:13:38Z", "2014-05-14T14:13:38+02:00", "2014-05-14 12:13:38"]
)
def test_times_in_every_spelling(value: Any) -> None:
    assert call_of(dialed_at=value).started_at == STARTED
    assert call_of(dialed_at=None).started_at is None


def test_a_fraction_of_a_second_is_kept() -> None:
    assert call_of(dialed_at=STARTED.timestamp() + 0.5).started_at == STARTED + timedelta(seconds=0.5)


@pytest.mark.parametrize("value", [0, "0", 0.0])
def test_a_call_that_was_never_dialled_is_not_one_of_1970(value: Any) -> None:
    call = call_of(dialed_at=value)
    assert (call.started_at, "value_dropped" in call.flags) == (None, True)
    assert "ended_at_lower_bound" not in call.attributes
    assert call.talk_seconds == 79


def test_the_byte_order_mark_of_a_file_costs_no_cdr() -> None:
    (first, second), _ = SYSTEM.split(b"\xef\xbb\xbf" + cdr() + b"\r\n" + cdr(call_ref=846) + b"\r\n", final=True)
    assert [updated(line).call_key for line in (first, second)] == ["845", "846"]
    assert updated(first).flags == updated(second).flags


def test_bytes_of_another_charset_are_replaced_and_flagged() -> None:
    update = updated(cdr(ref="Caf\u00e9").replace("\u00e9".encode(), b"\xe9"))
    assert update.values["campaign"] == "Caf\ufffd"
    assert "text_repaired" in update.flags
    assert "text_repaired" not in updated(cdr(ref="Caf\u00e9")).flags


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", Reason.UNPARSABLE),
        (b"[]", Reason.UNPARSABLE),
        (b'{"type":"cdr","payload":[]}', Reason.UNPARSABLE),
        (b'{"type":"cdr","payload":{}}', Reason.MISSING_KEY),
        (cdr(call_ref=True), Reason.MISSING_KEY),
        (cdr(dialed_at="soon"), Reason.BAD_VALUE),
        (cdr(dialed_at="9" * 400), Reason.BAD_VALUE),
        (cdr(dialed_at=10**17), Reason.BAD_VALUE),
        (cdr(dialed_at={}), Reason.BAD_VALUE),
        (b'"' + b"x" * MAX_BODY_BYTES + b'"', Reason.TOO_LONG),
    ],
)
def test_bad_input_is_refused_with_a_reason(body: bytes, reason: Reason) -> None:
    with pytest.raises(DecodeError) as refused:
        decoded(body)
    assert refused.value.reason == reason


def test_values_that_no_database_holds_are_dropped_and_flagged() -> None:
    assert "value_dropped" in call_of(call_time=10**12).flags
    assert "value_dropped" in call_of(call_time="a while").flags
    assert "text_repaired" in call_of(extension="20\u000001").flags
    late = call_of(dialed_at="9999-12-31T23:59:59", call_time=1)
    assert (late.started_at, "value_dropped" in late.flags) == (None, True)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=4,
)
KEYS = st.sampled_from(
    ["extension", "number", "dial_number", "dialed_at", "call_time", "end_reason", "call_dir", "ref", "end_code", "x"]
)


@given(st.dictionaries(KEYS, JSON))
def test_any_payload_gives_a_value_or_a_documented_error(payload: dict[str, Any]) -> None:
    body = orjson.dumps({"type": "cdr", "payload": {"call_ref": 1} | payload}, option=orjson.OPT_NON_STR_KEYS)
    with suppress(DecodeError):
        said = decoded(body)
        assert isinstance(said, CallUpdate)
        assert fold([said]).state == State.ENDED


@given(st.binary(max_size=200))
def test_any_bytes_give_a_value_or_a_documented_error(body: bytes) -> None:
    with suppress(DecodeError):
        assert isinstance(decoded(body), (CallUpdate, Ignored))


def test_the_system() -> None:
    config = EnigmaConfig()
    assert config.decode_settings() == EnigmaSettings()
    assert config.keys == ("enigma:notifications:campaigns",)
    assert SYSTEM.delivery(config).speaks == "at_end"
    assert isinstance(SYSTEM.source(config), Probed)
    assert SYSTEM.split(b"{}\r\n\n{}\n{", final=False) == ([b"{}", b"{}"], b"{")
