"""`cdrhub demo --verify`: the ledger of simulated phone systems beside the database, call by call."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from cdrhub.cli.database import PAGE, opened
from cdrhub.cli.failure import Exit, say
from cdrhub.cli.output import Format, Listing, counted, show
from cdrhub.sources.simulation.comparison import Difference, Found, compared, extra, missing, people_of
from cdrhub.sources.simulation.ledger import Entry, read

if TYPE_CHECKING:
    from cdrhub.config import Config

SHOWN = 100  #: differences in a table, at most; their number is always said
COLUMNS = ("system", "call_key", "column", "expected", "found")


@dataclass(frozen=True, kw_only=True, slots=True)
class Comparison:
    """What a comparison came to. `calls`: of the ledger, by system; `differences`: all there are."""

    calls: Mapping[str, int]
    differences: Sequence[Difference]

    def differing(self, system: str) -> int:
        """How many calls of a system differ."""
        return len({found.call_key for found in self.differences if found.system == system})


def verified(config: Config, ledger: Path) -> Comparison:
    """The ledger beside the database of `config`: every call of it, and every call of its systems that it lacks.

    Raises UsageError for a file that is no ledger, NotFound, StoreUnavailable.
    """
    from cdrhub.store.calls import CallFilter, each_with_legs

    entries = read(ledger)
    with opened(config) as database:
        rows = (
            (row["system"], row["call_key"], Found(columns=row, people=people_of(legs)))
            for row, legs in database.each(each_with_legs(database.store, CallFilter()), at_once=PAGE)
        )
        differences = differing(entries, rows)
    return Comparison(calls=Counter(system for system, _ in entries), differences=differences)


def differing(entries: Mapping[tuple[str, str], Entry], rows: Iterable[tuple[str, str, Found]]) -> list[Difference]:
    """What is missing, what differs, and what is there without an entry of a system that has some."""
    systems = {system for system, _ in entries}
    left = dict(entries)
    differences: list[Difference] = []
    for system, key, found in rows:
        if system not in systems:
            continue
        entry = left.pop((system, key), None)
        if entry is not None:
            differences += compared(entry, found)
        else:  # unknown to the ledger, or there a second time, from another source
            differences.append(extra(system, key, disposition=found.columns["disposition"]))
    return [missing(entry) for entry in left.values()] + differences


def report(comparison: Comparison, *, form: Format) -> int:
    """Show what differs on standard output, and say on stderr what was compared. The exit code."""
    total = len(comparison.differences)
    shown = comparison.differences[:SHOWN] if form is Format.TABLE else comparison.differences
    rows = [{column: getattr(found, column) for column in COLUMNS} for found in shown]
    show(
        Listing(columns=COLUMNS, rows=rows, title="Differences", empty="no differences"),
        form=form,
        zone=ZoneInfo("UTC"),
    )
    if total > len(rows):
        say(f"these are the first {SHOWN} of {total} differences; all with --format csv")
    for system, calls in sorted(comparison.calls.items()):
        differing_calls = comparison.differing(system)
        found = f"{counted(differing_calls, 'call')} not as played" if differing_calls else "all as played"
        say(f"{system}: {counted(calls, 'call')} in the ledger, {found}")
    if not comparison.calls:
        say("the ledger holds no calls")
        return Exit.DIFFERENT
    return Exit.DIFFERENT if total else Exit.OK
