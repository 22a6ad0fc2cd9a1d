"""Texts that the API takes: what is trimmed, what is refused before any database sees it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from cdrhub.web.api.texts import Code, Detail, GivenNumberText, Metadata, Moment, Zone


def taken(kind: Any, value: Any) -> Any:
    return TypeAdapter(kind).validate_python(value)


@pytest.mark.parametrize(
    ("kind", "value", "expected"),
    [
        (Code, "  C-1 ", "C-1"),
        (Code, "שלום", "שלום"),
        (Code, "...", "..."),
        (Detail, "  ", ""),
        (GivenNumberText, "+234 (0) 803", "+234 (0) 803"),
        (Zone, "", ""),
        (Zone, "Africa/Lagos", "Africa/Lagos"),
        (Metadata, {"a": {"b": [1, 2.5, True, None, "ü"]}}, {"a": {"b": [1, 2.5, True, None, "ü"]}}),
        (Moment, "2026-01-01T00:30:00+01:00", datetime(2025, 12, 31, 23, 30, tzinfo=UTC)),
    ],
)
def test_what_is_taken(kind: Any, value: Any, expected: Any) -> None:
    assert taken(kind, value) == expected


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (Code, "   "),
        (Code, "."),
        (Code, " .. "),
        (Code, "a\tb"),
        (Code, "a\x7fb"),
        (Code, "a\x85b"),
        (Code, "a\ud800b"),
        (Code, "x" * 129),
        (Detail, "x" * 1001),
        (GivenNumberText, " "),
        (Zone, "africa/lagos "),
        (Zone, "CET\x00"),
        (Metadata, {"a": {1, 2}}),
        (Metadata, {"a": "\x00"}),
        (Metadata, {"a\x00": 1}),
        (Metadata, {"a": "\ud800"}),
        (Metadata, {"a": "x" * 16_384}),
        (Metadata, {"a": 2**64}),
        (Metadata, {"a": [{"b": 2.0**63}]}),
        (Metadata, {"a": -(2.0**63)}),
        (Moment, "2026-01-01T00:00:00"),
        (Moment, "2026"),
        (Moment, "0.5"),
        (Moment, 1_767_225_600),
        (Moment, "0001-01-01T00:00:00+14:00"),
        (Moment, "9999-12-31T23:59:59-12:00"),
    ],
)
def test_what_is_refused(kind: Any, value: Any) -> None:
    with pytest.raises(ValidationError):
        taken(kind, value)


def test_metadata_may_be_eight_deep_and_no_deeper() -> None:
    deep: Any = 1
    for _ in range(7):
        deep = [deep]
    assert taken(Metadata, {"a": deep})
    with pytest.raises(ValidationError, match="deeper"):
        taken(Metadata, {"a": [deep]})
    endless: list[Any] = []
    endless.append(endless)
    with pytest.raises(ValidationError, match="deeper"):
        taken(Metadata, {"a": endless})
