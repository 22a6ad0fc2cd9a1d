"""Messages in files, in whatever pieces the file is read."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdrhub.sources.freeswitch.files import MAX_HEADER_BYTES, split
from support.freeswitch import CAPTURES

ALL = sorted(path.name for path in CAPTURES.glob("*.*") if path.suffix in (".esl", ".xml") or "json_cdr" in path.name)


def in_pieces(data: bytes, size: int) -> list[bytes]:
    found: list[bytes] = []
    rest = b""
    for at in range(0, len(data), size):
        messages, rest = split(rest + data[at : at + size], final=False)
        found.extend(messages)
    messages, rest = split(rest, final=True)
    assert rest == b""
    return [*found, *messages]


@pytest.mark.parametrize(
    "name",
    [
        "04-timeout.plain.esl",
        "04-timeout.json.esl",
        "13-customer-first-busy.json_cdr.json",
        "04-timeout.xml_cdr.xml",
        "03-abandoned.xml_cdr.xml",
    ],
)
@pytest.mark.parametrize("size", [97, 1000, 4096, 1 << 20])
def test_pieces_do_not_matter(name: str, size: int) -> None:
    data = (CAPTURES / name).read_bytes()
    whole, rest = split(data, final=True)
    assert whole
    assert rest == b""
    assert in_pieces(data, size) == list(whole)


@pytest.mark.parametrize("name", ALL)
def test_every_capture_is_read_whole(name: str) -> None:
    messages, rest = split((CAPTURES / name).read_bytes(), final=True)
    assert messages
    assert rest == b""
    starts = (b"{",) if "json" in name else (b"<cdr ",) if "xml" in name else (b"Event-", b"Core-UUID")
    assert all(message.startswith(starts) for message in messages)


def test_documents_one_after_the_other_and_braces_in_texts() -> None:
    one, two = rb'{"a": "} \" {", "b": {"c": "\\"}}', b'{"d": 1}'
    for data in (one + two, one + b"\n" + two + b"\n", b"[" + one + b",\n" + two + b"]", b" [ " + one + b"," + two):
        assert split(data, final=True) == ([one, two], b"")
    assert split(b"[" + one[:12], final=False) == ([], one[:12])
    assert split(b"[" + one[:12], final=True) == ([one[:12]], b"")


def test_what_a_damaged_document_left_between_others_is_a_message_too() -> None:
    one, two = b'{"a": 1}', b'{"b": 2}'
    assert split(one + b" cut off}\n" + two + b"\n", final=True) == ([one, b"cut off}", two], b"")
    assert split(b"[" + one + b', "cut", ' + two[:3], final=False) == ([one, b'"cut"'], two[:3])


def test_what_is_no_message_is_kept_for_the_decoder_to_refuse() -> None:
    assert split(b"hello world", final=False) == ([], b"hello world")
    assert split(b"hello world", final=True) == ([b"hello world"], b"")
    assert split(b"x" * MAX_HEADER_BYTES, final=False)[1] == b""
    assert split(b"Foo: bar\n\nrest", final=False)[0] == [b"Foo: bar\n\n"]
    huge = b"Content-Length: 999999999\nContent-Type: text/event-plain\n\nx"
    assert split(huge, final=False) == ([huge], b"")
    assert split(b"\n<!-- x --></cdrs>\n", final=False)[0] == []
    assert split(b"\n<!-- x --></cdrs>\n", final=True) == ([], b"")
    assert split(b"<cdrs><!-- x --></cdrs>", final=True)[0] == [b"<cdrs><!-- x --></cdrs>"]
    assert split(b" \n", final=True) == ([], b"")


def test_documents_in_xml_that_do_not_end_take_no_longer_for_being_many() -> None:
    openings = b"<cdr>" * 25_000
    begun = time.thread_time()
    assert split(openings, final=True) == ([openings], b"")
    assert time.thread_time() - begun < 1


@given(st.binary(max_size=200), st.booleans())
def test_any_bytes_are_split_without_loss_of_sense(data: bytes, final: bool) -> None:
    messages, rest = split(data, final=final)
    assert all(message in data for message in messages)
    assert not (final and rest)
