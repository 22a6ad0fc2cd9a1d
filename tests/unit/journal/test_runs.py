"""Poison: what the journal knows of starts that did not end well, without an fsync for every batch."""

from __future__ import annotations

import asyncio
from pathlib import Path

from cdrhub.journal import NAMED_STARTS, SUSPECT_STARTS, Journal
from cdrhub.journal.file import Run
from support.journal import everything, lines
from support.processes import python


async def run_that_dies(directory: Path, work: str = "") -> int:
    """A process that begins a run, does `work` and is gone without a word; what begin_run told it."""
    script = f"""
        import asyncio, os
        from pathlib import Path
        from cdrhub.journal import Journal

        async def main():
            journal = await Journal.open(Path({str(directory)!r}))
            print(await journal.begin_run(), flush=True)
            {work}
            os._exit(9)

        asyncio.run(main())
    """
    done = await asyncio.to_thread(python, script)
    assert done.returncode == 9, done.stderr
    return int(done.stdout)


def test_a_run_counts_deaths_at_the_same_first_entry() -> None:
    fresh = Run(running=False, first=1)
    first = fresh.followed_by(first=1, depth=5)
    assert (first.running, first.first, first.deaths) == (True, 1, 0)
    second = first.followed_by(first=1, depth=5)
    assert second.deaths == 1
    assert second.followed_by(first=1, depth=5).deaths == 2
    assert second.followed_by(first=4, depth=2).deaths == 1, "another entry is in front: its first death"
    assert second.followed_by(first=6, depth=0).deaths == 0, "nothing was in flight"


def test_of_a_suspect_only_deaths_at_its_mark_count() -> None:
    suspect = Run(running=True, first=7, deaths=SUSPECT_STARTS)
    assert suspect.followed_by(first=7, depth=1).deaths == SUSPECT_STARTS, "it died before it tried the suspect"
    tried = suspect.at_mark(7)
    again = tried.followed_by(first=7, depth=1)
    assert (again.marked, again.deaths) == (False, SUSPECT_STARTS + 1)
    assert again.at_mark(7).deaths == SUSPECT_STARTS + 1
    assert again.at_mark(8).deaths == SUSPECT_STARTS, "another one"
    assert tried.followed_by(first=8, depth=1).deaths == 1


async def test_three_deaths_make_a_batch_suspect_and_three_at_one_mark_name_the_record(tmp_path: Path) -> None:
    journal = await Journal.open(tmp_path)
    await journal.append(lines("a", "poison", "c"))
    await journal.close()
    told = [await run_that_dies(tmp_path) for _ in range(SUSPECT_STARTS + 1)]
    assert told == [0, 1, 2, SUSPECT_STARTS]
    # Record by record: the first is fine, the second kills while it is marked.
    work = "await journal.mark_in_flight(1); await journal.checkpoint(1); await journal.mark_in_flight(2)"
    assert await run_that_dies(tmp_path, work) == SUSPECT_STARTS
    for _ in range(NAMED_STARTS - 1):
        journal = await Journal.open(tmp_path)
        assert (journal.in_flight, journal.named) == (2, None), "somebody else may have ended the process"
        await journal.close(clean=False)
        assert await run_that_dies(tmp_path, "await journal.mark_in_flight(2)") > SUSPECT_STARTS

    journal = await Journal.open(tmp_path)
    assert await journal.begin_run() == SUSPECT_STARTS + NAMED_STARTS
    assert journal.named == 2
    assert [entry.seq for entry in await everything(journal)] == [2, 3], "the mark took the checkpoint along"
    await journal.checkpoint(2)
    assert journal.in_flight is None
    assert journal.named is None
    await journal.clear_in_flight()
    await journal.close()
    journal = await Journal.open(tmp_path)
    assert await journal.begin_run() == 0
    await journal.close()


async def test_deaths_at_the_marks_of_different_records_name_none(tmp_path: Path) -> None:
    """As of a process that somebody kills again and again while it goes record by record, and gets on."""
    records = 2 * NAMED_STARTS
    journal = await Journal.open(tmp_path)
    await journal.append(lines(*map(str, range(records))))
    await journal.close()
    for _ in range(SUSPECT_STARTS + 1):
        await run_that_dies(tmp_path)
    for number in range(1, records):
        work = f"await journal.mark_in_flight({number}); await journal.checkpoint({number}); "
        work += f"await journal.mark_in_flight({number + 1})"
        assert await run_that_dies(tmp_path, work) == SUSPECT_STARTS + (number > 1)
        journal = await Journal.open(tmp_path)
        assert (journal.in_flight, journal.named) == (number + 1, None)
        await journal.close(clean=False)


async def test_a_clean_stop_begins_the_count_anew(tmp_path: Path) -> None:
    journal = await Journal.open(tmp_path)
    await journal.append(lines("a"))
    await journal.close()
    assert [await run_that_dies(tmp_path) for _ in range(2)] == [0, 1]
    journal = await Journal.open(tmp_path)
    assert await journal.begin_run() == 2
    await journal.close()
    assert await run_that_dies(tmp_path) == 0


async def test_a_run_that_ended_by_a_failure_counts_as_a_death(tmp_path: Path) -> None:
    journal = await Journal.open(tmp_path)
    await journal.append(lines("a", "poison"))
    await journal.close()
    told = []
    for _ in range(SUSPECT_STARTS + 1):
        journal = await Journal.open(tmp_path)
        told.append(await journal.begin_run())
        await journal.close(clean=False)
    assert told == [0, 1, 2, SUSPECT_STARTS]
    journal = await Journal.open(tmp_path)
    assert await journal.begin_run() == SUSPECT_STARTS
    await journal.checkpoint(1)
    await journal.close(clean=False)
    journal = await Journal.open(tmp_path)
    assert await journal.begin_run() == 1, "it came further: the first death of the next entry"
    await journal.close()
    journal = await Journal.open(tmp_path)
    assert await journal.begin_run() == 0
    await journal.close()


async def test_a_tool_that_only_looks_does_not_count_as_a_stop(tmp_path: Path) -> None:
    journal = await Journal.open(tmp_path)
    await journal.append(lines("a"))
    await journal.close()
    assert await run_that_dies(tmp_path) == 0
    journal = await Journal.open(tmp_path)
    await everything(journal)
    await journal.close()
    assert await run_that_dies(tmp_path) == 1
