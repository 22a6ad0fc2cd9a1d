"""Frames out of a stream, however it is cut, and what is no stream of frames."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdrhub.sources.freeswitch.esl.errors import OutOfStep
from cdrhub.sources.freeswitch.esl.frames import MAX_HEAD_BYTES, Frame, Framer, encode_frame
from cdrhub.sources.freeswitch.headers import MAX_EVENT_BYTES, PlainHeaders
from support.esl import encode_plain
from support.freeswitch import CAPTURES, bodies_of

NAMES = st.from_regex(r"[A-Za-z][A-Za-z0-9_-]{0,30}", fullmatch=True)
VALUES = st.text(st.characters(exclude_categories=["Cs"]), max_size=60).filter(lambda value: value != "_undef_")
SAMPLE = (
    b"Content-Type: auth/request\n\n"
    b"Content-Type: command/reply\nReply-Text: +OK accepted\n\n"
    b"Content-Length: 12\nContent-Type: text/event-plain\n\nA: 1\nB: %0A\n"
    b"Content-Type: text/disconnect-notice\nContent-Length: 9\n\nGood\n\nbye"
    b"Content-Type: api/response\nContent-Length: 0\n\n"
)


def framed(*chunks: bytes, max_body: int = MAX_EVENT_BYTES) -> list[Frame]:
    framer = Framer(max_body=max_body)
    found = [frame for chunk in chunks for frame in framer.feed(chunk)]
    assert not framer.pending
    return found


def test_the_frames_of_a_stream() -> None:
    frames = framed(SAMPLE)
    assert [(frame.content_type, frame.body) for frame in frames] == [
        ("auth/request", b""),
        ("command/reply", b""),
        ("text/event-plain", b"A: 1\nB: %0A\n"),
        ("text/disconnect-notice", b"Good\n\nbye"),
        ("api/response", b""),
    ]
    assert frames[1].header("Reply-Text") == "+OK accepted"
    assert frames[1].header("Reply") is None


@pytest.mark.parametrize("cut", range(1, len(SAMPLE)))
def test_every_cut(cut: int) -> None:
    assert framed(SAMPLE[:cut], SAMPLE[cut:]) == framed(SAMPLE)


def test_byte_by_byte() -> None:
    assert framed(*(SAMPLE[at : at + 1] for at in range(len(SAMPLE)))) == framed(SAMPLE)


@pytest.mark.parametrize("name", sorted(path.name for path in CAPTURES.glob("*.plain.esl")))
@pytest.mark.parametrize("size", [1, 7, 1_448, 100_000])
def test_recorded_streams(name: str, size: int) -> None:
    recorded = (CAPTURES / name).read_bytes()
    frames = framed(*(recorded[at : at + size] for at in range(0, len(recorded), size)))
    assert tuple(frame.body for frame in frames if frame.content_type == "text/event-plain") == bodies_of(name)


@given(st.dictionaries(NAMES, VALUES, max_size=12), st.integers(0, 60))
def test_what_was_encoded_is_read(headers: dict[str, str], cut: int) -> None:
    wire = encode_frame("text/event-plain", encode_plain(headers))
    (frame,) = framed(wire[:cut], wire[cut:])
    read = PlainHeaders(frame.body)
    assert read.names() == list(headers)
    assert {name: read.get(name) or "" for name in headers} == headers


@given(st.lists(st.binary(max_size=80), max_size=8))
def test_any_bytes_are_frames_or_a_documented_error(chunks: list[bytes]) -> None:
    framer = Framer(max_body=1_000)
    try:
        for chunk in chunks:
            assert all(isinstance(frame, Frame) for frame in framer.feed(chunk))
    except OutOfStep:
        return


@pytest.mark.parametrize(
    ("head", "why"),
    [
        (b"Content-Length: 5", "without Content-Type"),
        (b"Reply-Text: +OK", "without Content-Type"),
        (b"Content-Type: text/event-plain", "without Content-Length"),
        (b"Content-Type: text/event-json", "without Content-Length"),
        (b"Content-Type: text/event-plain\nContent-Length: -1", "'-1'"),
        (b"Content-Type: text/event-plain\nContent-Length: +5", "'\\+5'"),
        (b"Content-Type: text/event-plain\nContent-Length: 0x10", "'0x10'"),
        (b"Content-Type: text/event-plain\nContent-Length: 5 5", "'5 5'"),
        (b"Content-Type: text/event-plain\nContent-Length: ", "''"),
        (b"Content-Type: text/event-plain\nContent-Length: \xff", "Content-Length"),
        (b"Content-Type: text/event-plain\nContent-Length: 1048577", "1048577 bytes"),
        (b"Content-Type: text/event-plain\nContent-Length: 2000000000", "2000000000 bytes"),
        (b"Content-Type: text/event-plain\nContent-Length: 1000000000000", "Content-Length"),
    ],
)
def test_a_frame_that_cannot_be_bounded_ends_the_stream_after_those_before_it(head: bytes, why: str) -> None:
    frames = Framer(max_body=MAX_EVENT_BYTES).feed(SAMPLE + head + b"\n\nbody")
    assert [next(frames) for _ in framed(SAMPLE)] == framed(SAMPLE)
    with pytest.raises(OutOfStep, match=why):
        next(frames)


def test_headers_without_an_end_are_bounded() -> None:
    framer, line = Framer(max_body=MAX_EVENT_BYTES), b"X: y\n"
    for _ in range((MAX_HEAD_BYTES - 1) // len(line)):
        assert list(framer.feed(line)) == []
    with pytest.raises(OutOfStep, match="without an end"):
        list(framer.feed(line))
    with pytest.raises(OutOfStep, match="without an end"):
        list(Framer(max_body=1).feed(b"X" * MAX_HEAD_BYTES))


def test_the_longest_body_is_taken_and_what_follows_it() -> None:
    wire = encode_frame("text/event-plain", b"x" * MAX_EVENT_BYTES) + SAMPLE
    frames = framed(*(wire[at : at + 65_536] for at in range(0, len(wire), 65_536)))
    assert [len(frame.body) for frame in frames] == [MAX_EVENT_BYTES, *(len(frame.body) for frame in framed(SAMPLE))]


def test_outer_headers_that_are_no_utf_8_are_replaced() -> None:
    (frame,) = framed(b"Content-Type: command/reply\nReply-Text: +OK \xff\n\n")
    assert frame.header("Reply-Text") == "+OK \ufffd"


def test_newlines_between_frames_are_left_out() -> None:
    wire = encode_frame("text/event-plain", b"A: 1\n\n")
    assert len(framed(b"\n", wire, b"\n\n", wire)) == 2
