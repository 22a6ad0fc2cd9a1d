"""The journal against a list: whatever is done in whatever order, both hold the same."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from cdrhub.journal import Journal
from cdrhub.model.record import RawRecord
from support.journal import everything, lines

TAIL_BYTES = 2_000  #: three or four records: most reads cross the border between memory and disk


class JournalMachine(RuleBasedStateMachine):
    """`model` has every record ever appended; entry `seq` is model[seq - 1]."""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.directory = tempfile.TemporaryDirectory()
        self.model: list[RawRecord] = []
        self.positions: dict[str, str] = {}
        self.done = 0

    @initialize()
    def open(self) -> None:
        self.journal = self.runner.run(Journal.open(Path(self.directory.name), tail_bytes=TAIL_BYTES))

    @rule(sizes=st.lists(st.integers(0, 600), max_size=6), position=st.none() | st.sampled_from("ab"))
    def append(self, sizes: list[int], position: str | None) -> None:
        records = lines(*(f"{len(self.model) + at}:".ljust(size, "x") for at, size in enumerate(sizes)))
        value = str(len(self.model))
        where = ("lagos", position, value) if position is not None else None
        self.runner.run(self.journal.append(records, position=where))
        self.model += records
        if position is not None:
            self.positions[position] = value

    @rule(counts=st.lists(st.integers(0, 3), min_size=2, max_size=5))
    def append_at_once(self, counts: list[int]) -> None:
        groups = [lines(*(f"{group}.{at}" for at in range(count))) for group, count in enumerate(counts)]

        async def together() -> None:
            await asyncio.gather(*(self.journal.append(group) for group in groups))

        self.runner.run(together())
        for group in groups:
            self.model += group

    @rule(share=st.floats(0, 1), limit=st.integers(1, 9), max_bytes=st.integers(0, 1_500))
    def read(self, share: float, limit: int, max_bytes: int) -> None:
        after = int(share * len(self.model))
        found = self.runner.run(self.journal.read(after=after, limit=limit, max_bytes=max_bytes))
        start = max(after, self.done)
        expected = self.model[start : start + limit]
        while len(expected) > 1 and sum([len(each.body) for each in expected]) > max_bytes:
            expected.pop()
        assert [entry.record for entry in found] == expected
        assert [entry.seq for entry in found] == list(range(start + 1, start + 1 + len(found)))

    @rule(share=st.floats(0, 1))
    def checkpoint(self, share: float) -> None:
        self.done = max(self.done, int(share * len(self.model)))
        self.runner.run(self.journal.checkpoint(self.done))

    @precondition(lambda self: self.done < len(self.model))
    @rule()
    def mark(self) -> None:
        self.runner.run(self.journal.mark_in_flight(self.done + 1))
        assert self.journal.in_flight == self.done + 1

    @rule()
    def reopen(self) -> None:
        self.runner.run(self.journal.close())
        self.open()

    @invariant()
    def holds_the_same(self) -> None:
        assert self.journal.stats.depth == len(self.model) - self.done
        assert {key: self.journal.position("lagos", key) for key in self.positions} == self.positions
        found = self.runner.run(everything(self.journal))
        assert [entry.record for entry in found] == self.model[self.done :]

    def teardown(self) -> None:
        self.runner.run(self.journal.close())
        self.runner.close()
        self.directory.cleanup()


JournalMachine.TestCase.settings = settings(
    max_examples=40, stateful_step_count=25, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
TestJournalMachine = JournalMachine.TestCase
