"""The demo's cases: how far they have come, and whether that is how they were played."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest
from rich.console import Console

from cdrhub.cli.demo.cases import Attempt, CaseLine, PlannedCase, cases_table
from cdrhub.model.disposition import Disposition

PLANNED = PlannedCase(
    code="C-101",
    source="tel-aviv",
    agent="SIPSIP901",
    numbers={"0541": Disposition.NO_ANSWER, "0542": Disposition.BUSY, "0543": Disposition.ANSWERED},
)


def attempt(number: str, outcome: str, *, state: str = "ended", refusal: str = "", linked: bool = True) -> Attempt:
    return Attempt(number=number, state=state, outcome=outcome, refusal=refusal, linked=linked)


TRIED = (attempt("0541", "no_answer"), attempt("0542", "busy"), attempt("0543", "answered"))
DONE = CaseLine(planned=PLANNED, state="contacted", attempts=TRIED)


def text(*lines: CaseLine, width: int) -> str:
    out = io.StringIO()
    Console(file=out, width=width).print(cases_table(lines, width=width))
    return out.getvalue()


@pytest.mark.parametrize(
    "line",
    [
        DONE,
        replace(DONE, state="dialling", attempts=TRIED[:2]),
        replace(DONE, state="waiting", attempts=()),
        replace(DONE, state="dialling", attempts=[attempt("0541", "", state="accepted", linked=False)]),
        replace(
            DONE, state="waiting", attempts=[attempt("0541", "", state="refused", refusal="network", linked=False)]
        ),
    ],
)
def test_a_case_may_be_on_its_way(line: CaseLine) -> None:
    assert line.good


@pytest.mark.parametrize(
    "line",
    [
        replace(DONE, attempts=(attempt("0541", "busy"), *TRIED[1:])),
        replace(DONE, attempts=(TRIED[1], TRIED[0], TRIED[2])),
        replace(DONE, attempts=(TRIED[0], TRIED[0])),
        replace(DONE, attempts=(*TRIED, TRIED[2])),
        replace(DONE, attempts=(*TRIED[:2], attempt("0543", "answered", linked=False))),
        replace(DONE, state="exhausted"),
        replace(DONE, attempts=TRIED[:2]),
    ],
    ids=["other result", "other order", "twice", "once more", "no call", "not contacted", "contacted by nobody"],
)
def test_a_case_that_went_otherwise_is_not_good(line: CaseLine) -> None:
    assert not line.good


def test_a_line_says_each_number_and_its_result() -> None:
    waiting = replace(DONE, state="dialling", attempts=[*TRIED[:1], attempt("0542", "", state="requested")])
    first, second = (line.split() for line in text(DONE, waiting, width=132).splitlines()[-2:])
    assert first[3:] == ["0541", "no_answer", "0542", "busy", "0543", "answered", "contacted"]
    assert second[3:] == ["0541", "no_answer", "0542", "dialling", "…", "0543", "·", "dialling"]


def test_a_narrow_terminal_shows_results_alone() -> None:
    shown = text(DONE, width=80).splitlines()
    assert all(len(line) <= 80 for line in shown)
    assert shown[-1].split()[3:] == ["no_answer", "busy", "answered", "contacted"]


def test_a_case_with_fewer_numbers_leaves_the_last_cells_empty() -> None:
    short = replace(DONE, planned=replace(PLANNED, numbers={"0541": Disposition.ANSWERED}), attempts=())
    assert text(DONE, replace(short, state="open"), width=132).splitlines()[-1].split()[3:] == ["0541", "·", "open"]


def test_a_narrow_terminal_keeps_the_results_whole() -> None:
    assert text(DONE, width=60).splitlines()[-1].split() == ["C-101", "no_answer", "busy", "answered", "contacted"]
