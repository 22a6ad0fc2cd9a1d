"""The three forms of a callid, on published ones."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdrhub.sources.threecx.callid import EARLIEST, EPOCH, LATEST, milliseconds, offset_minutes


@pytest.mark.parametrize(
    ("callid", "expected"),
    [
        ("00000C2835D37D6C_7950", "2024-07-30T19:27:57.804+00:00"),
        ("00000C21DE5C2470_6531", "2023-09-19T13:33:54.672+00:00"),
        ("00000172FF10D141_4445", "2020-06-29T07:53:11.745+00:00"),
        ("4cc2c72490010000_26808", "2024-06-17T05:59:49.580+00:00"),
        ("00000172FF10D141", "2020-06-29T07:53:11.745+00:00"),
    ],
)
def test_published_ids(callid: str, expected: str) -> None:
    assert milliseconds(callid) == (datetime.fromisoformat(expected) - EPOCH) // timedelta(milliseconds=1)


@pytest.mark.parametrize("callid", ["", "_", "12", "0000000000000000_1", "ffffffffffffffff_1", "+000172FF10D1411_4"])
def test_ids_without_a_time(callid: str) -> None:
    assert milliseconds(callid) is None


@given(st.text(max_size=24))
def test_any_text_is_a_moment_in_range_or_none(callid: str) -> None:
    found = milliseconds(callid)
    assert found is None or EARLIEST <= found < LATEST


@pytest.mark.parametrize(("seconds", "minutes"), [(0, 0), (1, 0), (7200, 120), (7201, 120), (-20700, -345), (600, 0)])
def test_offsets(seconds: int, minutes: int) -> None:
    start = datetime(2026, 3, 2, 8, 0, tzinfo=UTC).timestamp()
    assert offset_minutes(int(start * 1000), datetime.fromtimestamp(start + seconds, UTC)) == minutes
