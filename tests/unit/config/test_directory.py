"""The directory file: what inside numbers are."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdrhub.config.directory import MAX_ENTRIES, parse_directory, read_directory
from cdrhub.errors import ConfigError
from cdrhub.sheet import SheetUnreadable


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_columns_may_stand_in_any_order_however_separated_and_blank_lines_are_skipped(separator: str) -> None:
    text = "Kind, number,agent\n\nqueue,0611,\nPerson, 101 ,101\n".replace(",", separator)
    entries, problems = parse_directory(text)
    assert [(e.number, e.kind, e.agent) for e in entries] == [("0611", "queue", ""), ("101", "person", "101")]
    assert not problems


def test_what_a_spreadsheet_writes_is_read(tmp_path: Path) -> None:
    file = tmp_path / "d.csv"
    for raw in (
        b"\xef\xbb\xbfnumber,kind\r\n'+49,queue\r\n",
        "\ufeffnumber\tkind\r\n'+49\tqueue\r\n".encode("utf-16-le"),
        b"sep=;\r\nnumber;kind\r\n'+49;queue\r\n",
    ):
        file.write_bytes(raw)
        (entry,), problems = read_directory(file)
        assert (entry.number, entry.kind, problems) == ("+49", "queue", [])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("number,kind,nmae\n", "d.csv:1: there is no column 'nmae'; did you mean 'name'?"),
        ("number,kind,number\n", "d.csv:1: the column 'number' stands there twice"),
        ("number,name\n", "d.csv:1: the column 'kind' is missing: the first line is number,kind,name,team,agent"),
        ("number,kind\n\n,queue\n", "d.csv:3: the number is missing"),
        ("number,kind\n1\x01,queue\n", "d.csv:2: number: must be one line without control characters"),
        (f"number,kind\n{'1' * 256},queue\n", "d.csv:2: number: 256 characters: 255 at most"),
        ("number,kind\n1,\n", "d.csv:2: kind: '' is not one of person, queue, ivr, voicemail, conference"),
        (
            "number,kind\n1,ivr,x\n",
            "d.csv:2: 3 cells, and the header has 2: a cell with a separator in it needs quotes",
        ),
        ("number,kind\n1,ivr\n2,ivr\n1,queue\n", "d.csv:4: the number '1' stands on line 2 too"),
        ("number,kind\n1,ivr\nExt.1,queue\n", "d.csv:3: the number '1' stands on line 2 too"),
        ("number,kind\nExt.,queue\n", "d.csv:2: the number is missing"),
        (
            'number,kind\n"1"x,ivr\n',
            "d.csv:2: this row cannot be read (',' expected after '\"'): close each quote, and double a quote within a "
            "cell",
        ),
    ],
)
def test_a_mistake_is_named_with_its_line(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "d.csv"
    file.write_text(text)
    _, problems = read_directory(file)
    assert [problem.removeprefix(f"{tmp_path}/") for problem in problems] == [said]


def test_every_mistake_is_named() -> None:
    entries, problems = parse_directory("number,kind\n1,queu\n,ivr\n2,ivr\n1,2,3\n")
    assert [entry.number for entry in entries] == ["2"]
    assert [problem.line for problem in problems] == [2, 3, 5]
    _, problems = parse_directory("extension,nmae\n1,2\n")
    assert len(problems) == 4  # two columns that there are not, and two that are missing; of the lines nothing


def test_it_is_not_read_on_where_there_are_too_many_lines() -> None:
    entries, problems = parse_directory("number,kind\n" + "".join(f"{n},ivr\n" for n in range(MAX_ENTRIES + 2)))
    assert len(entries) == MAX_ENTRIES
    assert [str(problem) for problem in problems] == [f"line {MAX_ENTRIES + 2}: more than {MAX_ENTRIES} numbers"]


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (b"", "d.csv: the sheet is empty"),
        (b"number,kind\n1\0,queue\n", "d.csv: this is no text: export a workbook as CSV first"),
        (b"number,kind\n\xe9,queue\n", 'd.csv: line 2: byte 0xe9 is not UTF-8; save the file as "CSV UTF-8"'),
    ],
)
def test_what_is_no_table_is_refused(tmp_path: Path, raw: bytes, said: str) -> None:
    file = tmp_path / "d.csv"
    file.write_bytes(raw)
    with pytest.raises(ConfigError) as caught:
        read_directory(file)
    assert str(caught.value).removeprefix(f"{tmp_path}/") == said


@given(st.text(max_size=200))
def test_any_text_is_entries_or_problems(text: str) -> None:
    try:
        entries, problems = parse_directory(f"number,kind,name\n{text}")
    except SheetUnreadable:
        return
    assert all(entry.number and entry.kind for entry in entries)
    assert entries or problems or not text.strip(" \t,;\r\n\x0b\x0c")
