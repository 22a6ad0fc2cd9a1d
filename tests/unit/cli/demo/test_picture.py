"""The demo's tables fit the terminal."""

from __future__ import annotations

import io
from typing import Any

import pytest
from rich.console import Console

from cdrhub.cli.demo.cases import CaseLine, PlannedCase, cases_table
from cdrhub.cli.demo.daemon import Figures, total
from cdrhub.cli.demo.picture import FEWEST_ROWS, Row, fitting, picture, rows_for
from cdrhub.model.disposition import Disposition
from cdrhub.sources.simulation.ledger import Sent

WIDTHS = {"started": 8, "system": 9, "direction": 9, "from": 10, "queue": 7, "agent": 8, "wait": 4, "talk": 4}
WHOLE = sum(WIDTHS.values()) + 3 * len(WIDTHS)
CALL: dict[str, Any] = {
    "started": "08:00:00",
    "system": "freeswitch",
    "direction": "outbound",
    "from": "+4915123400799",
    "to": "+4930885440",
    "queue": "support@default",
    "agent": "SIPSIP112\x1b[31m",
    "state": "answered …",
    "wait": None,
    "talk": 1234,
}
NUMBERS = {"0545550101": Disposition.NO_ANSWER, "0545550102": Disposition.BUSY, "0545550103": Disposition.ANSWERED}
CASES = [
    CaseLine(
        planned=PlannedCase(code=f"C-10{place}", source="tel-aviv", agent="SIPSIP901", numbers=NUMBERS),
        state="dialling",
        attempts=(),
    )
    for place in range(3)
]


@pytest.mark.parametrize(
    ("width", "dropped"),
    [
        (WHOLE, set()),
        (WHOLE - 1, {"agent"}),
        (WHOLE - 11, {"agent"}),
        (WHOLE - 12, {"agent", "queue"}),
        (10, {"agent", "queue", "direction", "wait"}),
    ],
)
def test_a_narrow_terminal_goes_without_some_columns(width: int, dropped: set[str]) -> None:
    assert fitting(WIDTHS, width=width) == [name for name in WIDTHS if name not in dropped]


@pytest.mark.parametrize(("width", "height"), [(80, 24), (160, 40)])
def test_calls_systems_and_the_last_line_fit_a_terminal(width: int, height: int) -> None:
    systems = [Row(name=name, sent=Sent(records=12_345), figures=Figures(), calls=9_999) for name in "abcde"]
    calls = [CALL] * rows_for(height, systems=len(systems), cases=len(CASES))
    out = io.StringIO()
    shown = picture(calls, cases_table(CASES, width=width), systems, width=width, below="Ctrl-C ends · " + "x" * 200)
    Console(file=out, width=width, height=height).print(shown)
    lines = out.getvalue().splitlines()
    assert len(lines) < height
    assert all(len(line) <= width for line in lines)
    assert sum("+4915123400799" in line for line in lines) == len(calls)
    assert "\x1b" not in out.getvalue()
    assert any("queue" in line for line in lines) == (width == 160)


def test_before_the_first_call_there_is_a_head() -> None:
    out = io.StringIO()
    Console(file=out, width=80).print(picture([], cases_table([], width=80), [], width=80, below=""))
    assert "started" in out.getvalue()
    assert rows_for(5, systems=5, cases=3) == FEWEST_ROWS


def test_the_figures_of_all_sources_are_added() -> None:
    one = Figures(received=5, acknowledged=5, applied=2, duplicates=1, suspended=1)
    assert not one.settled
    assert total({"a": one, "b": Figures(received=2, acknowledged=2, ignored=2)}) == Figures(
        received=7, acknowledged=7, applied=2, duplicates=1, suspended=1, ignored=2
    )
    one.ignored = 1
    assert one.settled
