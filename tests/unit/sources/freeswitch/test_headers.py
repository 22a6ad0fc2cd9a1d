"""Reading headers: what was written comes back, and a caller's name stays a value."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdrhub.errors import DecodeError, Reason
from cdrhub.sources.freeswitch.headers import JsonHeaders, PlainHeaders
from cdrhub.sources.json_object import read_object
from support.esl import encode_plain

NAMES = st.from_regex(r"[A-Za-z][A-Za-z0-9_-]{0,30}", fullmatch=True)
VALUES = st.text(st.characters(exclude_categories=["Cs"]), max_size=60).filter(lambda value: value != "_undef_")


@given(st.dictionaries(NAMES, VALUES, max_size=12))
def test_what_was_written_is_read(headers: dict[str, str]) -> None:
    read = PlainHeaders(encode_plain(headers))
    assert read.names() == list(headers)
    assert {name: read.get(name) or "" for name in headers} == headers


@pytest.mark.parametrize(
    "value", ["a\nCC-Agent: mallory", "a\u2028CC-Agent: mallory", "\x85\x0b\x1c", "a: b: c", "%0A", "100 %", "é", "+33"]
)
def test_a_value_is_never_a_header(value: str) -> None:
    read = PlainHeaders(encode_plain({"CC-Member-CID-Name": value, "Last": "x"}))
    assert read.get("CC-Member-CID-Name") == value
    assert read.get("CC-Agent") is None
    assert read.names() == ["CC-Member-CID-Name", "Last"]


def test_an_escape_that_the_switch_left_alone_is_one_value() -> None:
    """FreeSWITCH does not encode a `%` twice: a display name of `x%0ACC-Agent: y` comes as it is."""
    read = PlainHeaders(b"Caller-Caller-ID-Name: x%0ACC-Agent: y\nCC-Queue: 3000\n\n")
    assert read.get("Caller-Caller-ID-Name") == "x\nCC-Agent: y"
    assert read.get("CC-Agent") is None
    assert read.get("CC-Queue") == "3000"


def test_empty_undefined_repeated_and_cut_off() -> None:
    read = PlainHeaders(b"A: _undef_\nB: \nHangup-Cause: X\nHangup-Cause: Y\nBad: \xff\xfe\nEnd: z\n\nBody: no\n")
    assert read.get("A") is read.get("B") is read.get("C") is read.get("Body") is None
    assert read.get("Hangup-Cause") == "X"
    assert read.get("Bad") == "\ufffd\ufffd"
    assert read.get("End") == "z"
    assert PlainHeaders(b"A: 1").get("A") == "1"


def test_json_headers_are_texts() -> None:
    read = JsonHeaders({"a": "x", "b": "", "c": ["1", "2"], "d": [], "e": 5, "f": None, "g": "_undef_"})
    assert [read.get(name) for name in "abcdefgh"] == ["x", None, "1", None, None, None, None, None]


def test_json_with_bytes_that_are_not_utf_8() -> None:
    assert read_object(b'{"a": "\xff"}') == ({"a": "\ufffd"}, True)


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"1", b'"x"', b"{" * 2000, b'{"a": "\\ud800"}'])
def test_what_is_no_object_is_refused(body: bytes) -> None:
    with pytest.raises(DecodeError) as refused:
        read_object(body)
    assert refused.value.reason == Reason.UNPARSABLE
