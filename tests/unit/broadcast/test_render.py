"""An event as a CloudEvents document: its id, its size, what a receiver may see."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import orjson
import pytest

from cdrhub.broadcast.render import MAX_BYTES, Privacy, Veil, cloud_event, event_id, rendered
from cdrhub.store.tables import calls
from support.broadcast import NOON, call_id, event

PERSON: dict[str, Any] = {
    "tenant": "",
    "caller_number": "08039100001",
    "caller_e164": "+2348039100001",
    "external_number": "+2348039100001",
    "caller_name": "A. Person",
    "agent_name": "B. Agent",
    "agent_id": "102",
    "did": "+23411111111",
    "attributes": {"note": "call 08039100001"},
    "metadata": {"phone": "08039100001"},
    "recording_url": "https://pbx.example.com/08039100001.wav",
}


def test_a_document_has_what_cloudevents_asks_for() -> None:
    document = cloud_event(event())
    assert {name: value for name, value in document.items() if name not in ("id", "data")} == {
        "specversion": "1.0",
        "source": "/cdrhub/lagos",
        "type": "call.ended",
        "subject": call_id(1),
        "time": NOON.isoformat(),
        "datacontenttype": "application/json",
    }
    assert document["data"]["revision"] == 1


def test_the_id_is_the_same_for_the_same_fact_and_another_for_another() -> None:
    same = event_id(event(7, call_id=call_id(1), stored_at=NOON + timedelta(days=1)))
    assert same == event_id(event(1))
    others = {event_id(event(1, revision=2)), event_id(event(1, type="call.corrected")), event_id(event(2))}
    assert len(others | {same}) == 4


def test_a_fact_of_a_case_that_becomes_true_again_is_another() -> None:
    once = event(call_id=None, type="case.paused", snapshot={"key": "c/a/paused"})
    assert event_id(once) == event_id(event(9, call_id=None, type="case.paused", snapshot={"key": "c/a/paused"}))
    again = event(call_id=None, type="case.paused", snapshot=once.snapshot, stored_at=NOON + timedelta(microseconds=1))
    assert event_id(again) != event_id(once)
    assert "key" not in cloud_event(once)["data"]


def test_every_event_of_a_case_says_what_belongs_to_a_case() -> None:
    data = cloud_event(event(case_id="case", snapshot={"case_code": "C-1"}))["data"]
    assert data.keys() >= {
        "case_code",
        "attempt_id",
        "reference",
        "agent",
        "destination",
        "started_at",
        "answered_at",
        "ended_at",
        "disposition",
    }


@pytest.mark.parametrize("privacy", [Privacy.LAST_DIGITS, Privacy.PSEUDONYM, Privacy.NONE])
def test_no_number_or_name_of_a_person_leaks(privacy: Privacy) -> None:
    body = rendered(event(snapshot=PERSON), veil=Veil(privacy=privacy, key=b"k"))
    assert b"8039100" not in body
    assert b"Person" not in body
    assert orjson.loads(body)["data"]["agent_id"] == "102"
    assert orjson.loads(body)["data"]["did"] == "+23411111111"


def test_what_is_seen_of_a_number() -> None:
    def shown(privacy: Privacy, number: str = "08039100001", key: bytes = b"k") -> Any:
        seen = event(snapshot={"caller_number": number})
        return cloud_event(seen, veil=Veil(privacy=privacy, key=key))["data"]["caller_number"]

    assert shown(Privacy.FULL) == "08039100001"
    assert shown(Privacy.LAST_DIGITS) == "…0001"
    assert shown(Privacy.LAST_DIGITS, "102") == "…2"
    assert shown(Privacy.NONE) is None
    assert shown(Privacy.PSEUDONYM) == shown(Privacy.PSEUDONYM)
    assert len({shown(Privacy.PSEUDONYM), shown(Privacy.PSEUDONYM, "1"), shown(Privacy.PSEUDONYM, key=b"l")}) == 3


def test_what_is_too_large_is_left_out_and_named() -> None:
    large = event(snapshot={"tenant": "", "attributes": {"transcript": "ä" * 500_000}, "metadata": {"a": 1}})
    body = rendered(large)
    data = orjson.loads(body)["data"]
    assert len(body) <= MAX_BYTES
    assert data["attributes"] is None
    assert data["metadata"] == {"a": 1}
    assert data["left_out"] == {"attributes": {"bytes": 1_000_017, "see": f"/api/v1/calls/{call_id(1)}"}}


def test_what_is_left_out_of_a_case_is_found_whatever_its_code() -> None:
    large = event(call_id=None, case_id="c1", snapshot={"case_code": "A/1 ?", "metadata": {"a": "ä" * 20_000}})
    data = orjson.loads(rendered(large))["data"]
    assert data["left_out"]["metadata"]["see"] == "/api/v1/cases/A%2F1%20%3F"


def test_texts_that_strangers_filled_go_too_the_longest_first() -> None:
    """Every column has its limit in characters; of those that take four bytes each, all of them are too many."""
    columns = {
        str(column.name): "\N{GRINNING FACE}" * (getattr(column.type, "length", None) or 0) for column in calls.columns
    }
    body = rendered(event(snapshot={**columns, "tenant": "north"}))
    data = orjson.loads(body)["data"]
    assert len(body) <= MAX_BYTES
    assert data["tenant"] == "north"
    assert data["call_id"] == call_id(1)
    assert data["left_out"]
    assert all(data[name] is None for name in data["left_out"])
