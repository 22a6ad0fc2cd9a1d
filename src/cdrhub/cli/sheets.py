"""What the commands that import a CSV file share: how it is read and written as a whole."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from cdrhub.cli.database import PAGE
from cdrhub.cli.failure import say
from cdrhub.cli.output import counted
from cdrhub.cli.progress import stage, stages
from cdrhub.errors import CdrhubError, UsageError
from cdrhub.parts import in_parts

if TYPE_CHECKING:
    from cdrhub.cli.database import Opened
    from cdrhub.sheet import Problem, SheetRead
    from cdrhub.store.transaction import Transaction

T = TypeVar("T")
Done = TypeVar("Done")

MAX_FILE_BYTES = 256 * 1024**2  #: of a sheet, which is held as a whole
MAX_NAMED = 20  #: doubts that are written out
SHEET_SECONDS = 3600.0  #: that the one transaction of a sheet may take

EncodingOption = Annotated[
    str | None,
    typer.Option("--encoding", metavar="NAME", help="Of a file that is not UTF-8, e.g. windows-1252, windows-1255."),
]
FileArgument = Annotated[Path, typer.Argument(metavar="FILE", help="CSV; - is standard input.")]


def read_sheet(
    file: Path,
    *,
    encoding: str | None,
    read: Callable[[str, Callable[[int], None]], SheetRead[T]],
    noun: str,
    hint: str = "",
) -> Sequence[T]:
    """What a CSV file, or standard input, holds, all of it. `read` makes it of the text, and tells the line at which it
    is; `hint` is said of columns that are not used. CdrhubError, with every problem named, where there is one."""
    from cdrhub.sheet import ENCODINGS, SheetUnreadable, decoded

    raw = _bytes_of(file)
    try:
        text = decoded(raw, encoding=encoding, hint=f", or name its encoding with --encoding: {ENCODINGS}")
        with stages() as progress:
            reading = stage(progress, f"reading {file.name}", text.count("\n"))
            sheet = read(text, reading.reached)
    except SheetUnreadable as error:
        raise CdrhubError(f"{file}: {error}") from error
    _refuse(file, sheet.problems, noun=noun)
    _tell_doubts(file, unused=sheet.unused, unsure=sheet.unsure, hint=hint)
    return sheet.given


def written(
    database: Opened, given: Sequence[T], write: Callable[[Transaction, Sequence[T]], Awaitable[Done]]
) -> list[Done]:
    """What `write` returns for each PAGE of `given`; all of them are written in one transaction."""
    from cdrhub.redial.transaction import transact

    with stages() as progress:
        writing = stage(progress, "writing", len(given))

        async def work(tx: Transaction) -> list[Done]:
            done, reached = [], 0
            for some in in_parts(given, PAGE):
                done.append(await write(tx, some))
                reached += len(some)
                writing.reached(reached)
            return done

        return database.run(transact(database.store.database, work))


def _bytes_of(file: Path) -> bytes:
    if str(file) == "-":
        raw = sys.stdin.buffer.read(MAX_FILE_BYTES + 1)
    else:
        with file.open("rb") as stream:
            raw = stream.read(MAX_FILE_BYTES + 1)
    if len(raw) > MAX_FILE_BYTES:
        raise UsageError(f"{file}: more than {MAX_FILE_BYTES // 1024**2} MiB: split it")
    return raw


def _refuse(file: Path, problems: Sequence[Problem], *, noun: str) -> None:
    """Name every problem of a sheet and raise CdrhubError, if there is any."""
    if not problems:
        return
    for problem in sorted(problems, key=lambda problem: problem.line):
        say(f"{file}: {problem}")
    raise CdrhubError(
        f"{file}: {counted(len(problems), 'problem')}: no {noun} of it is imported; correct them and import it again"
    )


def _tell_doubts(file: Path, *, unused: Sequence[str], unsure: Sequence[Problem], hint: str) -> None:
    """Name what was left alone, and what was taken and may be wrong."""
    if unused:
        say(f"{file}: columns that are not used: {', '.join(unused)}{hint}")
    for doubt in unsure[:MAX_NAMED]:
        say(f"{file}: {doubt}; it is taken as it is")
    if len(unsure) > MAX_NAMED:
        say(f"{file}: and {len(unsure) - MAX_NAMED} more such numbers")
