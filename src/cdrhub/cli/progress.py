"""The progress bar of a long work: on standard error, if that is a terminal, and gone when the work is done."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cdrhub.cli.plain import plain

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID


@dataclass(frozen=True, kw_only=True, slots=True)
class Stage:
    """One part of the work, a line of its own."""

    progress: Progress
    task: TaskID

    def reached(self, count: int, total: int | None = None) -> None:
        """So much of it is done; of `total`, if that has become known."""
        self.progress.update(self.task, completed=count, total=total)

    def advance(self, amount: int) -> None:
        """So much more of it is done."""
        self.progress.advance(self.task, amount)


@contextmanager
def stages(*, of_bytes: bool = False) -> Iterator[Progress]:
    """A progress bar on a terminal, else nothing. It counts things, or bytes."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    with Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        DownloadColumn() if of_bytes else MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        disable=not sys.stderr.isatty(),
        transient=True,
    ) as progress:
        yield progress


def stage(progress: Progress, name: str, total: int | None) -> Stage:
    """Begin one part of the work; `total` is None while nobody knows how much there is."""
    return Stage(progress=progress, task=progress.add_task(plain(name), total=total))
