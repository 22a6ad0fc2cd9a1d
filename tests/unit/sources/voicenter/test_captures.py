"""Every published and constructed record of the vendor gives the call that was written down for it by hand."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import orjson
import pytest

from cdrhub.errors import DecodeError, Reason
from cdrhub.model.call import Call
from cdrhub.sources.voicenter import SYSTEM
from cdrhub.sources.voicenter.config import VoicenterSettings
from support.voicenter import CAPTURES, call_of, record_of

EXPECTED = orjson.loads((CAPTURES / "expected.json").read_bytes())
CASES = {case["name"]: case for case in EXPECTED["cases"] if case["files"]}


def bodies_of(case: dict[str, Any]) -> list[bytes]:
    found: list[bytes] = []
    for name in case["files"]:
        messages, rest = SYSTEM.split((CAPTURES / name).read_bytes(), final=True)
        assert rest == b""
        found.extend(messages)
    return found


def said_of(call: Call) -> dict[str, Any]:
    """A call in the words of expected.json."""
    agent = f"{call.agent_id} ({call.agent_name})" if call.agent_name else call.agent_id
    queue = " ".join(word for word in (call.queue_id, call.queue) if word) or None
    return {
        "caller": call.caller_number,
        "callee": call.callee_number,
        "caller_e164": call.caller_e164,
        "callee_e164": call.callee_e164,
        "agent": agent,
        "queue": queue,
        "did": call.did,
        "direction": call.direction,
        "answered": call.disposition == "answered",
        "start_utc": call.started_at,
        "answer_utc": call.answered_at,
        "end_utc": call.ended_at,
        "wait_seconds": call.wait_seconds,
        "ring_seconds": call.ring_seconds,
        "talk_seconds": call.talk_seconds,
        "recording": call.recording_url,
    }


@pytest.mark.parametrize("name", CASES)
def test_capture(name: str) -> None:
    case = CASES[name]
    *_, expected = case["calls"]
    call = call_of(*bodies_of(case))

    assert call.call_key == expected["ids"]["ivruniqueid"]
    assert call.state == "ended"
    said = said_of(call)
    for field, value in expected.items():
        if field in said:
            wanted = datetime.fromisoformat(value) if field.endswith("_utc") and value else value
            assert said[field] == wanted, field
    assert "number_unparsed" not in call.flags
    assert "unmapped_word" not in call.flags


def test_click2call_has_a_leg_for_the_agent_and_one_for_the_customer() -> None:
    case = CASES["Click2Call: agent answers, customer does not; one ivruniqueid for two records"]
    first, _ = case["calls"]
    call = call_of(*bodies_of(case))

    agent, customer = call.legs
    assert (agent.role, agent.outcome, agent.number) == ("agent", "not_bridged", first["callee"])
    assert f"{agent.agent_id} ({agent.agent_name})" == first["agent"]
    assert agent.offered_at == datetime.fromisoformat(first["start_utc"])
    assert agent.answered_at == datetime.fromisoformat(first["answer_utc"])
    assert agent.left_at == datetime.fromisoformat(first["end_utc"])
    assert (agent.ring_seconds, agent.talk_seconds) == (first["ring_seconds"], None), "leg 1 alone knows of no customer"
    assert (customer.role, customer.outcome, customer.ring_seconds) == ("customer", "no_answer", 26)
    assert call.disposition == "no_answer"
    assert call.attributes["CustomData"] == {"var_cdrhub_job": "42", "var_cdrhub_attempt": "1"}


def test_ivr_layers_are_kept_whether_array_or_text() -> None:
    as_array = call_of((CAPTURES / "cdr-queue.json").read_bytes())
    as_text = call_of((CAPTURES / "cdr-incoming-ivr-string.json").read_bytes())

    assert [layer["layer_name"] for layer in as_array.attributes["IVR"]] == ["Main IVR", "Sales Department"]
    assert len(as_text.attributes["IVR"]) == 11
    assert [leg.role for leg in as_text.legs] == ["ivr"]
    assert "external_ivr" in as_text.flags


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b'{"caller":"05', Reason.UNPARSABLE),
        (b"<!DOCTYPE ...>", Reason.FORBIDDEN),
        (b'{"caller":"0500000000"}', Reason.MISSING_KEY),
        (b'{"caller":"0500000000","CallID":4711}', Reason.MISSING_KEY),
    ],
)
def test_rejected(body: bytes, reason: Reason) -> None:
    with pytest.raises(DecodeError) as caught:
        SYSTEM.decoder(VoicenterSettings())(record_of(body))
    assert caught.value.reason is reason
