"""What comes from a phone line steers neither a terminal nor a spreadsheet."""

from __future__ import annotations

import csv
import io
import re
from unicodedata import category

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdrhub import sheet
from cdrhub.cli.plain import cell, plain


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Anna", "Anna"),
        ("Måns 李 🙂", "Måns 李 🙂"),
        ("\x1b[2Jred\x07", "\\x1b[2Jred\\x07"),
        ("\x9b31m", "\\x9b31m"),
        ("a\u202etxt.exe", "a\\u202etxt.exe"),
        ("two\nlines", "two\\x0alines"),
        ("\ud800", "\ufffd"),
    ],
)
def test_controls_are_made_visible(text: str, shown: str) -> None:
    assert plain(text) == shown


@pytest.mark.parametrize("text", ["=1+1", "+2348039100000", "-1", "@SUM(A1)", "\ttext", "\rtext", "＝1+1"])
def test_a_formula_gets_an_apostrophe(text: str) -> None:
    assert cell(text) == "'" + text
    assert sheet.plain(cell(text)) == text.strip()


def test_a_formula_gets_one_where_a_semicolon_or_a_line_break_begins_a_cell() -> None:
    assert cell("Anna;=cmd|' /C calc'!A0;-1") == "Anna;'=cmd|' /C calc'!A0;'-1"
    assert cell("Anna\n=1\r\n@x") == "Anna\n'=1\r\n'@x"
    assert cell("\t=1") == "'\t'=1"
    assert cell("a=1; b-2, +3") == "a=1; b-2, +3"


@given(st.text())
def test_no_cell_can_begin_a_formula_and_no_text_keeps_a_control(text: str) -> None:
    buffer = io.StringIO()
    csv.writer(buffer).writerow([cell(text), "x"])
    read = next(csv.reader(io.StringIO(buffer.getvalue(), newline="")))
    assert read[1] == "x"
    begins = [part[:1] for part in re.split(r"[;\t\r\n]", read[0])]
    assert not {"=", "+", "-", "@"}.intersection(begins)
    assert not read[0].startswith(("\t", "\r"))
    assert not any(category(character) in {"Cc", "Cs"} for character in plain(text))
