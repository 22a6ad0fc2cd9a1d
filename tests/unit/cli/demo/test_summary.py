"""The end of the demo: what adds up, and what is said where it does not."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest
from rich.console import Console

from cdrhub.cli.demo.daemon import Figures
from cdrhub.cli.demo.picture import Row
from cdrhub.cli.demo.summary import Line, line_of, summary
from cdrhub.cli.demo.verify import Comparison, differing
from cdrhub.sources.simulation.comparison import CALL, Difference, Found
from cdrhub.sources.simulation.ledger import Entry, Sent

SENT = Sent(records=20, acknowledged=20, repeated=2, broken=1, calls=9)
FIGURES = Figures(received=20, acknowledged=20, applied=17, duplicates=2, suspended=1)
ROW = Row(name="3cx", sent=SENT, figures=FIGURES, calls=9)
COMPARISON = Comparison(calls={"3cx": 9}, differences=())
MISSING = Difference(system="3cx", call_key="1", column=CALL, expected="busy", found="")


def line(row: Row = ROW, comparison: Comparison = COMPARISON, *, exact: bool = True) -> Line:
    return line_of(row, comparison, exact=exact)


def text(*lines: Line) -> str:
    out = io.StringIO()
    Console(file=out, width=80).print(summary(lines))
    return out.getvalue()


def test_what_adds_up_is_good_and_fits_eighty_columns() -> None:
    assert line().good
    shown = text(line())
    assert "all as played" in shown
    assert len(shown.splitlines()) == 4


@pytest.mark.parametrize(
    ("figures", "said"),
    [
        (replace(FIGURES, acknowledged=19), "19, not 20"),
        (replace(FIGURES, duplicates=3), "3, not 2"),
        (replace(FIGURES, suspended=0), "0, not 1"),
    ],
)
def test_a_figure_that_does_not_add_up_is_shown_with_what_it_must_be(figures: Figures, said: str) -> None:
    wrong = line(replace(ROW, figures=figures))
    assert not wrong.good
    assert said in text(wrong)


def test_what_was_sent_again_may_be_there_twice() -> None:
    again = replace(SENT, resent=1)
    figures = replace(FIGURES, received=21, acknowledged=21, duplicates=3)
    assert line(replace(ROW, sent=again, figures=figures)).good


def test_calls_that_differ_or_are_none_are_no_good() -> None:
    assert not line(comparison=Comparison(calls={"3cx": 9}, differences=(MISSING,))).good
    assert "1 differ" in text(line(comparison=Comparison(calls={"3cx": 9}, differences=(MISSING, MISSING))))
    nothing = line(Row(name="3cx", sent=Sent(), figures=Figures(), calls=0), Comparison(calls={}, differences=()))
    assert not nothing.good
    assert "nothing played" in text(nothing)


def test_a_system_of_which_the_hub_takes_a_part_need_not_receive_all() -> None:
    part = replace(ROW, sent=replace(SENT, records=500, repeated=0))
    assert not line(part).good
    assert line(part, exact=False).good


def test_the_calls_of_the_ledger_are_those_of_the_database_each_once() -> None:
    def entry(key: str) -> tuple[tuple[str, str], Entry]:
        return ("3cx", key), Entry(system="3cx", call_key=key, columns={"disposition": "busy"})

    busy, other = Found(columns={"disposition": "busy"}), Found(columns={"disposition": "failed"})
    entries = dict([entry("1"), entry("2"), entry("3")])
    rows = [("3cx", "2", busy), ("3cx", "3", other), ("3cx", "2", busy), ("3cx", "4", busy), ("enigma", "1", busy)]
    found = [(one.call_key, one.column, one.expected, one.found) for one in differing(entries, rows)]
    assert found == [
        ("1", CALL, "busy", ""),
        ("3", "disposition", "busy", "failed"),
        ("2", CALL, "", "busy"),
        ("4", CALL, "", "busy"),
    ]
