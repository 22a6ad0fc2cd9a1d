"""The demo's cases: people with several numbers, of which the simulated systems let only the last one answer.

They are kept and ordered as `cdrhub cases` does it, in the database beside the daemon; everything after that is the
daemon's work.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from rich.table import Table
from rich.text import Text

from cdrhub.cli.database import opened
from cdrhub.cli.demo.picture import plain_table
from cdrhub.cli.redialling import orders_of
from cdrhub.model.disposition import Disposition

if TYPE_CHECKING:
    from cdrhub.config import Config

WIDE: Final = 120  #: columns from which on a table shows the numbers themselves
NARROW: Final = 80  #: columns below which it leaves out who calls for whom
NOT_TRIED: Final = "·"
_OPEN_STATES: Final = frozenset({"decided", "requested", "accepted"})
_ORDINALS: Final = ("1st", "2nd", "3rd")

_ATTEMPTS = """
SELECT cases.code AS code, cases.state, attempts.number, attempts.state, coalesce(attempts.outcome, ''),
       coalesce(attempts.refusal, ''), coalesce(calls.attempt_id = attempts.id, 0)
FROM cases LEFT JOIN attempts ON attempts.case_id = cases.id AND attempts.state <> 'cancelled'
     LEFT JOIN calls ON calls.id = attempts.call_id
ORDER BY cases.code, attempts.decided_at
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class PlannedCase:
    """A case, and what becomes of a call to each of its numbers (as dialled in its country, and in E.164)."""

    code: str
    source: str  #: its name in the configuration
    agent: str
    numbers: Mapping[str, Disposition]  #: in the order in which they are tried


@dataclass(frozen=True, kw_only=True, slots=True)
class Attempt:
    """One attempt as the database has it."""

    number: str
    state: str
    outcome: str
    refusal: str
    linked: bool  #: its call is there and knows of it

    @property
    def word(self) -> str:
        """What became of it so far."""
        if self.state in _OPEN_STATES:
            return "dialling …"
        return self.outcome or (f"refused: {self.refusal}" if self.refusal else self.state)


@dataclass(frozen=True, kw_only=True, slots=True)
class CaseLine:
    """One case: what it is, and how far it has come."""

    planned: PlannedCase
    state: str
    attempts: Sequence[Attempt]

    @property
    def good(self) -> bool:
        """Whether each call that was placed is linked to its attempt and ended as it was played, the numbers were tried
        in their order and once each, and the case ended as its last call says. It need not have ended."""
        fates = list(self.planned.numbers.items())
        if [attempt.number for attempt in self.attempts] != [number for number, _ in fates[: len(self.attempts)]]:
            return False
        ended = [(fate, attempt) for (_, fate), attempt in zip(fates, self.attempts, strict=False) if attempt.outcome]
        if any(attempt.outcome != fate or not attempt.linked for fate, attempt in ended):
            return False
        reached = any(attempt.outcome == Disposition.ANSWERED for attempt in self.attempts)
        return reached == (self.state == "contacted")


def keep(config: Config, planned: Sequence[PlannedCase]) -> None:
    """Keep the cases. Blocks, as `dial` and `pause` do; raises StoreUnavailable, as they do."""
    from cdrhub.redial.given import GivenCase, GivenNumber

    given = [
        GivenCase(
            code=case.code,
            source=case.source,
            agent=case.agent,
            numbers=[GivenNumber(number=number) for number in case.numbers],
        )
        for case in planned
    ]
    with opened(config, create=True) as database:
        database.run(orders_of(database, config).keep(given))


def dial(config: Config, planned: Sequence[PlannedCase]) -> None:
    """Order each of the cases to be dialled."""
    with opened(config) as database:
        orders = orders_of(database, config)
        for case in planned:
            database.run(orders.dial(tenant="", code=case.code))


def pause(config: Config) -> None:
    """Let nothing more be dialled: whoever would is about to leave."""
    with opened(config) as database:
        database.run(orders_of(database, config).pause(scope="all", name="", actor="demo", why="the demo ends"))


def progress(database: Path, planned: Sequence[PlannedCase]) -> list[CaseLine]:
    """How far the cases have come."""
    states: dict[str, str] = {}
    attempts: dict[str, list[Attempt]] = {}
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        for code, case_state, number, state, outcome, refusal, linked in connection.execute(_ATTEMPTS):
            states[code] = case_state
            if number is not None:
                found = Attempt(number=number, state=state, outcome=outcome, refusal=refusal, linked=bool(linked))
                attempts.setdefault(code, []).append(found)
    return [
        CaseLine(planned=case, state=states.get(case.code, ""), attempts=attempts.get(case.code, []))
        for case in planned
    ]


def cases_table(lines: Sequence[CaseLine], *, width: int) -> Table:
    """One line a case: its numbers in their order, and what became of each."""
    table = plain_table(title="cases: one number after the other, until the person is reached")
    whose = ("case",) if width < NARROW else ("case", "source", "agent")
    for name in whose:
        table.add_column(name, no_wrap=True)
    for ordinal in _ORDINALS[: max((len(line.planned.numbers) for line in lines), default=0)]:
        table.add_column(f"{ordinal} number", no_wrap=True)
    table.add_column("case is", no_wrap=True)
    for line in lines:
        tried = [attempt.word for attempt in line.attempts]
        words = [*tried, *[NOT_TRIED] * len(line.planned.numbers)][: len(line.planned.numbers)]
        if width >= WIDE:
            words = [f"{number} {word}" for number, word in zip(line.planned.numbers, words, strict=True)]
        words += [""] * (len(table.columns) - len(whose) - 1 - len(words))
        cells = (*(line.planned.code, line.planned.source, line.planned.agent)[: len(whose)], *words, line.state)
        table.add_row(*map(Text, cells), style="" if line.good else "bold red")
    return table
