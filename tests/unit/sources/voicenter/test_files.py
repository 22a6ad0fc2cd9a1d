"""CDRs in files, for imports."""

from __future__ import annotations

import sys

import orjson
import pytest

from cdrhub.sources.voicenter import SYSTEM
from support.voicenter import CAPTURES, cdr, decoded

REPLY = (CAPTURES / "calllog-reply.json").read_bytes()


def in_chunks(data: bytes, size: int) -> list[bytes]:
    """The messages of a file that is read in chunks of `size` bytes."""
    messages: list[bytes] = []
    rest = b""
    for start in range(0, len(data), size):
        found, rest = SYSTEM.split(rest + data[start : start + size], final=False)
        messages += found
    found, rest = SYSTEM.split(rest, final=True)
    assert rest == b""
    return messages + list(found)


@pytest.mark.parametrize("size", [1, 7, 100, 100_000])
def test_rows_of_a_call_log_reply(size: int) -> None:
    (message,) = in_chunks(REPLY, size)
    assert decoded(message).call_key == "202406101204550233243ghff3189e5c"


def test_replies_one_to_a_line() -> None:
    line = orjson.dumps(orjson.loads(REPLY))
    assert len(in_chunks(line + b"\n" + line.replace(b"CDR_LIST", b"cdr_list") + b"\n", 50)) == 2


@pytest.mark.parametrize("size", [1, 13, 100_000])
@pytest.mark.parametrize("end", [b"", b"\n", b"\r\n"])
def test_one_cdr_to_a_line(size: int, end: bytes) -> None:
    lines = [cdr(ivruniqueid=str(number)) for number in range(5)]
    assert in_chunks(b"\n".join(lines) + end, size) == lines


def test_a_bad_line_is_a_message_too() -> None:
    lines = [cdr(), b'{"cut":', cdr(ivruniqueid="b"), b"7"]
    assert in_chunks(b"\n".join(lines), 10_000) == lines


@pytest.mark.parametrize("name", ["cdr-queue.json", "cdr-xmlrpc-request.xml", "cdr-outgoing-repeated-key.json"])
@pytest.mark.parametrize("size", [3, 100_000])
def test_one_push_is_one_message_with_its_own_bytes(name: str, size: int) -> None:
    push = (CAPTURES / name).read_bytes()
    assert in_chunks(push, size) == [push.strip()]


def test_an_array_of_cdrs() -> None:
    assert [decoded(message).call_key for message in in_chunks(b"[" + cdr() + b",\n" + cdr() + b"]", 9)] == ["id-1"] * 2


def test_forms_one_to_a_line() -> None:
    assert in_chunks(b"ivruniqueid=a&time=5\nivruniqueid=b\n", 100) == [b"ivruniqueid=a&time=5", b"ivruniqueid=b"]


@pytest.mark.parametrize("data", [b"", b"\n \n"])
def test_nothing(data: bytes) -> None:
    assert in_chunks(data, 10) == []


def test_an_empty_reply_holds_no_message() -> None:
    assert in_chunks(b'{"ERROR_NUMBER":0,"CDR_LIST":[]}', 10) == []


@pytest.mark.skipif(sys.version_info >= (3, 12), reason="this Python writes deeper than orjson reads")
def test_what_is_nested_deeper_than_python_writes_is_a_message_as_it_came() -> None:
    deep = b'[{"ivruniqueid":"a"},' + b"[" * 1_010 + b"]" * 1_010 + b"]"
    assert in_chunks(deep, 10_000) == [deep]
