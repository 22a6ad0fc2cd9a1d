"""The end of the demo: of each system what it sent, what became of that, and whether its calls are as they were."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.table import Table
from rich.text import Text

from cdrhub.cli.demo.picture import Row, plain_table
from cdrhub.cli.demo.verify import Comparison


@dataclass(frozen=True, kw_only=True, slots=True)
class Cell:
    """One figure, and what it must be (None: nothing is demanded of it). Up to `spare` more are no fault: what was
    sent again because it was not acknowledged may be there twice."""

    found: int
    expected: int | None = None
    spare: int = 0

    @property
    def good(self) -> bool:
        """Whether it is what it must be."""
        return self.expected is None or self.expected <= self.found <= self.expected + self.spare

    def __str__(self) -> str:
        return str(self.found) if self.good else f"{self.found}, not {self.expected}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Line:
    """One system's line of the summary."""

    name: str
    cells: Sequence[Cell]
    simulated: int  #: calls in the ledger
    different: int  #: of them, or beside them

    @property
    def good(self) -> bool:
        """Whether all of it adds up, and something was played at all."""
        return self.simulated > 0 and not self.different and all(cell.good for cell in self.cells)


HEADINGS = ("sent", "durable", "duplicates", "suspended", "calls")


def line_of(row: Row, comparison: Comparison, *, exact: bool) -> Line:
    """The line of one system. `exact`: every record that it sends is one that the hub receives."""
    sent, figures = row.sent, row.figures
    simulated = comparison.calls.get(row.name, 0)
    return Line(
        name=row.name,
        cells=(
            Cell(found=sent.records),
            Cell(found=figures.acknowledged, expected=sent.records if exact else figures.received, spare=sent.resent),
            Cell(found=figures.duplicates, expected=sent.repeated if exact else None, spare=sent.resent),
            Cell(found=figures.suspended, expected=sent.broken),
            Cell(found=row.calls, expected=simulated),
        ),
        simulated=simulated,
        different=comparison.differing(row.name),
    )


def summary(lines: Sequence[Line]) -> Table:
    """All of them as a table."""
    table = plain_table(title="summary")
    table.add_column("system")
    for name in HEADINGS:
        table.add_column(name, justify="right")
    table.add_column("ledger")
    for line in lines:
        told = f"{line.different} differ" if line.different else "all as played"
        style = "" if line.good else "bold red"
        table.add_row(line.name, *map(str, line.cells), Text(told if line.simulated else "nothing played"), style=style)
    return table
