"""How records lie in the journal: what goes in comes out, and nothing else does."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdrhub.journal.packing import Damaged, from_microseconds, microseconds, pack, unpack
from cdrhub.model.record import RawRecord
from support.journal import ENOUGH_BYTES, lines, record

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)
records = st.builds(
    RawRecord,
    source=st.sampled_from(["lagos", "tel-aviv"]),
    received_at=st.datetimes(timezones=st.sampled_from([UTC, timezone(timedelta(hours=5, minutes=30))])),
    content_type=st.sampled_from(["text/plain", "application/json"]),
    body=st.binary(max_size=64),
    digest=st.binary(max_size=32),
    config_revision=st.sampled_from(["r1", "r2"]),
    event_id=st.none() | st.text(st.characters(), max_size=8),
    attributes=st.dictionaries(st.text(max_size=4), json_values, max_size=3),
)


def opened(payload: bytes, *, count: int, **limits: int) -> list[RawRecord]:
    asked = {"first": 1, "last": count, "after": 0, "limit": 1000, "max_bytes": ENOUGH_BYTES, **limits}
    return [entry.record for entry in unpack(payload, **asked)]


@given(st.lists(records, max_size=8), st.lists(records, max_size=8))
def test_what_is_packed_comes_out_and_payloads_join(ones: list[RawRecord], others: list[RawRecord]) -> None:
    assert opened(pack(ones) + pack(others), count=len(ones + others)) == ones + others


@given(st.lists(records, min_size=1, max_size=8), st.data())
def test_any_window_of_a_payload(them: list[RawRecord], draw: Any) -> None:
    after = draw.draw(st.integers(9, 10 + len(them)))
    limit = draw.draw(st.integers(1, 9))
    found = unpack(pack(them), first=11, last=10 + len(them), after=after, limit=limit, max_bytes=ENOUGH_BYTES)
    start = max(0, after - 10)
    assert [entry.record for entry in found] == them[start : start + limit]
    assert [entry.seq for entry in found] == list(range(start + 11, start + 11 + len(found)))


@given(st.lists(records, max_size=4), st.data())
def test_broken_payloads_are_damaged_or_records(them: list[RawRecord], draw: Any) -> None:
    payload = bytearray(pack(them))
    for _ in range(draw.draw(st.integers(1, 3))):
        if payload:
            payload[draw.draw(st.integers(0, len(payload) - 1))] = draw.draw(st.integers(0, 255))
    cut = draw.draw(st.integers(0, len(payload)))
    try:
        found = opened(bytes(payload[:cut]), count=len(them))
    except Damaged:
        return
    assert all(isinstance(each.body, bytes) for each in found)


def test_a_cut_payload_is_damaged() -> None:
    payload = pack(lines("one", "two"))
    with pytest.raises(Damaged):
        opened(payload[:-1], count=2)


@pytest.mark.parametrize("count", [1, 3])
def test_a_payload_of_another_number_of_records_is_damaged(count: int) -> None:
    with pytest.raises(Damaged, match=f"it holds 2 records, not {count}"):
        opened(pack(lines("one", "two")), count=count)


def test_bytes_bound_a_window_but_for_the_least() -> None:
    payload = pack(lines("aaaa", "bbbb", "cccc"))
    assert len(opened(payload, count=3, max_bytes=8)) == 2
    assert len(opened(payload, count=3, max_bytes=7)) == 1
    assert len(opened(payload, count=3, max_bytes=3)) == 0
    assert len(opened(payload, count=3, max_bytes=3, least=1)) == 1


def test_an_origin_is_written_once_for_a_run() -> None:
    shared = pack(lines(*("x" for _ in range(100))))
    assert shared.count(b'"peer"') == 1


def test_attributes_may_be_any_mapping() -> None:
    (found,) = opened(pack([record("x", attributes=MappingProxyType({"peer": "a"}))]), count=1)
    assert found.attributes == {"peer": "a"}


def test_attributes_that_are_no_json_are_an_error() -> None:
    with pytest.raises((TypeError, ValueError)):
        pack([record("x", attributes={"peer": object()})])


@given(st.datetimes(timezones=st.just(UTC)))
def test_times_keep_their_microseconds(moment: datetime) -> None:
    assert from_microseconds(microseconds(moment)) == moment
