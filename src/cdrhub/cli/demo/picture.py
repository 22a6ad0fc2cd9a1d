"""What the demo shows while it plays, and at its end, in as many columns as the terminal has room for."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.cells import cell_len
from rich.console import Group
from rich.table import Table
from rich.text import Text

from cdrhub.cli.demo.daemon import Figures
from cdrhub.cli.plain import plain
from cdrhub.sources.simulation.ledger import Sent

DROPPED = ("agent", "queue", "direction", "wait")
"""Columns that a narrow terminal does not show, the first ones first."""

NUMERIC = frozenset({"wait", "talk"})
FRAME_LINES = (
    12  #: of a terminal's that are no calls, cases or systems: titles, heads, rules, blanks, last line, prompt
)
FEWEST_ROWS = 3
RECENT = 2_000  #: newest calls among which those that changed last are looked for

_LATEST = """
SELECT substr(started_at, 12, 8) AS "started", system, direction, caller_number AS "from", callee_number AS "to",
       coalesce(queue, queue_id) AS queue, agent_id AS agent, coalesce(disposition, state || ' …') AS state,
       wait_seconds AS wait, talk_seconds AS talk
FROM (SELECT * FROM calls WHERE state <> 'withdrawn' ORDER BY id DESC LIMIT ?) AS recent
ORDER BY updated_at DESC, id DESC LIMIT ?
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One system's line: what it sent, and what became of that."""

    name: str
    sent: Sent
    figures: Figures
    calls: int


def latest(database: Path, *, rows: int) -> list[dict[str, Any]]:
    """The calls that changed last, newest change first."""
    with closing(_connected(database)) as connection:
        found = connection.execute(_LATEST, (RECENT, rows))
        columns = [name for name, *_ in found.description]
        return [dict(zip(columns, row, strict=True)) for row in found]


def stored(database: Path) -> dict[str, int]:
    """The calls there are, by system."""
    with closing(_connected(database)) as connection:
        query = "SELECT system, count(*) FROM calls WHERE state <> 'withdrawn' GROUP BY system"
        return dict(connection.execute(query).fetchall())


def _connected(database: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"file:{database}?mode=ro", uri=True)


def rows_for(height: int, *, systems: int, cases: int) -> int:
    """How many calls a terminal of so many lines has room for."""
    return max(FEWEST_ROWS, height - FRAME_LINES - systems - cases)


def picture(
    calls: Sequence[Mapping[str, Any]], cases: Table, systems: Sequence[Row], *, width: int, below: str
) -> Group:
    """The newest calls, the cases, the systems, and a line `below` them."""
    last = Text(below, no_wrap=True, overflow="ellipsis")
    return Group(calls_table(calls, width=width), "", cases, "", systems_table(systems), last)


def calls_table(calls: Sequence[Mapping[str, Any]], *, width: int) -> Table:
    """`calls` in as many of their columns as `width` has room for."""
    columns = list(calls[0]) if calls else ["started", "system", "from", "to", "state"]
    cells = {name: ["" if call[name] is None else plain(str(call[name])) for call in calls] for name in columns}
    shown = fitting({name: max(map(cell_len, (name, *column))) for name, column in cells.items()}, width=width)
    table = plain_table(title="calls, the last changed first (simulated time, UTC)")
    for name in shown:
        table.add_column(name, justify="right" if name in NUMERIC else "left", no_wrap=True)
    for row in zip(*(cells[name] for name in shown), strict=True):
        table.add_row(*map(Text, row))
    return table


def systems_table(systems: Sequence[Row]) -> Table:
    """What each system sent and what the hub made of it, so far."""
    table = plain_table()
    table.add_column("system")
    for name in ("sent", "received", "stored", "duplicate", "suspended", "calls"):
        table.add_column(name, justify="right")
    for row in systems:
        figures = row.figures
        counts = (row.sent.records, figures.received, figures.applied, figures.duplicates, figures.suspended, row.calls)
        table.add_row(row.name, *map(str, counts))
    return table


def plain_table(*, title: str | None = None) -> Table:
    """An empty table as all of the demo's look: nothing but a rule below its head."""
    return Table(box=SIMPLE_HEAD, title=title, title_justify="left", show_edge=False, pad_edge=False)


def fitting(widths: Mapping[str, int], *, width: int) -> list[str]:
    """The columns, of so many characters each, that fit into `width` with their frames: without as many of DROPPED as
    it takes."""
    shown = list(widths)
    for name in DROPPED:
        if sum(widths[column] + len("   ") for column in shown) <= width:
            break
        shown.remove(name)
    return shown
