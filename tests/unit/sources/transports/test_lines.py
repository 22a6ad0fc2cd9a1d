"""Framing: however the stream is cut, the same lines come out."""

from __future__ import annotations

from codecs import BOM_UTF8
from itertools import combinations, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdrhub.sources.transports.lines import DEFAULT_MAX_LINE, LineFramer

RECORDS = (
    b"Call 23193,00000172FF10D141_4445,00:00:56,2020/06/29 07:53:11,2020/06/29 07:53:42,2020/06/29 07:54:39,"
    b"TerminatedByDst,Ext.114,0266904995,114,10001,0266904995,,,,,1,0.95,default,Chain: Ext.114;0266904995;",
    b"Call 23219,00000172FF3328E8_4479,,2020/06/29 08:30:42,,2020/06/29 08:30:50,Failed_Cancelled,Ext.195,Ext.196,195,"
    b"196,196,,,,,,,,",
    "Call 288831,4cc2c72490010000_1,,2024/06/17 05:59:49,,,Failed,Ext.1,Ext.2,,,,,,,,,,,,,,,Måns\u200b,,,".encode(),
    b"binary \x00\x01\xfe\xff and a \r in the middle,,,",
    b"2024/07/26 07:32:27,0588309190,1001",
    b"x",
)


def framed(*pieces: bytes, max_line: int = DEFAULT_MAX_LINE) -> tuple[list[bytes], list[bytes], bytes]:
    """Lines, first parts of long lines, and the rest, of a stream that came in these pieces."""
    framer = LineFramer(max_line)
    lines: list[bytes] = []
    too_long: list[bytes] = []
    for piece in pieces:
        found = framer.feed(piece)
        lines += found.lines
        too_long += found.too_long
    return lines, too_long, framer.close()


@pytest.mark.parametrize("end", [b"\r\n", b"\n"])
@pytest.mark.parametrize("record", RECORDS)
def test_every_split_of_every_record(record: bytes, end: bytes) -> None:
    wire = record + end
    for cut in range(len(wire) + 1):
        assert framed(wire[:cut], wire[cut:]) == ([record], [], b"")


@pytest.mark.parametrize("record", RECORDS)
def test_every_two_splits_of_every_record(record: bytes) -> None:
    wire = record + b"\r\n"
    for first, second in combinations(range(len(wire) + 1), 2):
        assert framed(wire[:first], wire[first:second], wire[second:]) == ([record], [], b"")


def test_every_split_of_all_records_in_a_row() -> None:
    wire = b"".join(record + b"\r\n" for record in RECORDS)
    for cut in range(len(wire) + 1):
        assert framed(wire[:cut], wire[cut:]) == (list(RECORDS), [], b"")


def test_all_records_in_one_segment_and_byte_by_byte() -> None:
    wire = b"".join(record + b"\r\n" for record in RECORDS)
    assert framed(wire) == (list(RECORDS), [], b"")
    assert framed(*(wire[at : at + 1] for at in range(len(wire)))) == (list(RECORDS), [], b"")


def test_blank_lines_are_dropped_wherever_they_are_cut() -> None:
    wire = b"\r\n\na\r\n\r\n  \r\n\nb\n\r\n"
    for first, second in combinations(range(len(wire) + 1), 2):
        assert framed(wire[:first], wire[first:second], wire[second:]) == ([b"a", b"b"], [], b"")


def test_only_one_carriage_return_belongs_to_the_end() -> None:
    assert framed(b"a\r\r\n") == ([b"a\r"], [], b"")


def test_a_byte_order_mark_is_no_part_of_the_first_record() -> None:
    wire = b"\xef\xbb\xbf" + RECORDS[0] + b"\r\n" + RECORDS[1] + b"\r\n"
    for cut in range(len(wire) + 1):
        assert framed(wire[:cut], wire[cut:]) == ([RECORDS[0], RECORDS[1]], [], b"")
    assert framed(b"\xef\xbb\xbf" + RECORDS[0]) == ([], [], RECORDS[0])
    assert framed(b"\xef\xbb\xbf\r\n", b"\xef\xbb\xbf") == ([], [], b"\xef\xbb\xbf")


def test_the_rest_waits_and_is_given_at_the_end() -> None:
    framer = LineFramer()
    assert framer.feed(b"a\nbc").lines == [b"a"]
    assert framer.pending == 2
    assert framer.feed(b"d").lines == ()
    assert framer.close() == b"bcd"
    assert framer.close() == b""


@pytest.mark.parametrize("rest", [b"", b"\r", b" ", b" \r"])
def test_a_blank_rest_is_none(rest: bytes) -> None:
    assert framed(b"a\n" + rest) == ([b"a"], [], b"")


@pytest.mark.parametrize("end", [b"\r\n", b"\n"])
@pytest.mark.parametrize(("length", "fits"), [(9, True), (10, True), (11, False), (12, False), (30, False)])
def test_the_limit_is_the_same_however_the_line_is_cut(length: int, fits: bool, end: bytes) -> None:
    line = b"x" * length
    wire = b"before\n" + line + end + b"after\n"
    expected = ([b"before", line, b"after"], [], b"") if fits else ([b"before", b"after"], [line[:10]], b"")
    for first, second in combinations(range(len(wire) + 1), 2):
        assert framed(wire[:first], wire[first:second], wire[second:], max_line=10) == expected


def test_a_megabyte_without_a_newline_is_cut_and_reading_goes_on() -> None:
    pieces = [b"x" * 4096] * 256
    assert framed(*pieces, b"\r\nCall 1\r\n") == ([b"Call 1"], [b"x" * DEFAULT_MAX_LINE], b"")


def test_what_waits_is_bounded() -> None:
    framer = LineFramer(100)
    for _ in range(1000):
        framer.feed(b"xyz")
        assert framer.pending <= 101


def test_a_stream_that_ends_in_an_overlong_line_leaves_nothing_more() -> None:
    assert framed(b"x" * 50, max_line=10) == ([], [b"x" * 10], b"")


@given(
    st.lists(st.binary(max_size=40).filter(lambda line: b"\n" not in line and not line.endswith(b"\r")), max_size=20),
    st.lists(st.integers(min_value=0, max_value=900), max_size=8),
    st.sampled_from([b"\n", b"\r\n"]),
)
def test_any_lines_survive_any_cuts(lines: list[bytes], cuts: list[int], end: bytes) -> None:
    wire = b"".join(line + end for line in lines)
    edges = [0, *sorted(min(cut, len(wire)) for cut in cuts), len(wire)]
    pieces = [wire[since:until] for since, until in pairwise(edges)]
    without_mark = [line if place else line.removeprefix(BOM_UTF8) for place, line in enumerate(lines)]
    expected = [line for line in without_mark if line and not line.isspace()]
    assert framed(*pieces, max_line=64) == (expected, [], b"")
