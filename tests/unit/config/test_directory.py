"""The directory file: what inside numbers are."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdrhub.config.directory import parse_directory
from cdrhub.errors import ConfigError


def test_columns_may_stand_in_any_order_and_blank_lines_are_skipped() -> None:
    entries = parse_directory("Kind, number,agent\n\nqueue,0611,\nPerson, 101 ,101\n", name="d.csv")
    assert [(e.number, e.kind, e.agent) for e in entries] == [("0611", "queue", ""), ("101", "person", "101")]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "d.csv: is empty: its first line is number,kind,name,team,agent"),
        ("number,kin\n", "d.csv:1: there is no column 'kin'; did you mean 'kind'?"),
        ("number,number\n", "d.csv:1: a column stands there twice"),
        ("number,name\n", "d.csv:1: the column 'kind' is missing: the first line is number,kind,name,team,agent"),
        ("number,kind\n\n,queue\n", "d.csv:3: the number is missing"),
        ("number,kind\n1\0,queue\n", "d.csv:2: holds the character NUL: save the file as CSV in UTF-8"),
        ("number,kind\n1,\n", "d.csv:2: kind: '' is not one of person, queue, ivr, voicemail, conference"),
        ("number,kind\n1,ivr,x\n", "d.csv:2: has 3 cells, the first line has 2"),
        ("number,kind\n1,ivr\n2,ivr\n1,queue\n", "d.csv:4: the number '1' stands on line 2 too"),
        ("number,kind\n1,ivr\nExt.1,queue\n", "d.csv:3: the number '1' stands on line 2 too"),
        ("number,kind\nExt.,queue\n", "d.csv:2: the number is missing"),
        ('number,kind\n"1"x,ivr\n', "d.csv:2: is not CSV: ',' expected after '\"'"),
    ],
)
def test_a_mistake_is_named_with_its_line(text: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_directory(text, name="d.csv")
    assert str(caught.value) == said


@given(st.text(max_size=200))
def test_any_text_is_entries_or_a_config_error(text: str) -> None:
    said = "d.csv:"
    try:
        parse_directory(f"number,kind,name\n{text}", name="d.csv")
    except ConfigError as error:
        said = str(error)
    assert said.startswith("d.csv:")
