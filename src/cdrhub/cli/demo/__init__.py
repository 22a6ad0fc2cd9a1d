"""`cdrhub demo`: the real daemon on SQLite, simulated phone systems, and the calls as they land.

Nothing is faked: the daemon is a process of its own, the simulators connect to it over real sockets, the table is read
from its database. At the end everything is compared with the ledger that the simulators kept.
"""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path
from typing import Annotated

import typer

from cdrhub.cli.options import ConfigFile, FormatOption, loaded
from cdrhub.cli.output import Format
from cdrhub.errors import UsageError

DEFAULT_LEDGER = Path("ledger.jsonl")


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command(epilog="Examples: cdrhub demo · cdrhub demo --seconds 15 · cdrhub demo --verify --ledger ledger.jsonl")(
        demo
    )


def demo(
    config: ConfigFile = None,
    *,
    seconds: Annotated[
        float | None, typer.Option(min=1, max=86_400, help="End after this many seconds. [default: Ctrl-C]")
    ] = None,
    verify: Annotated[
        bool, typer.Option("--verify", help="Play nothing: compare a ledger of cdrhub simulate with the database.")
    ] = False,
    ledger: Annotated[
        Path | None,
        typer.Option("--ledger", metavar="FILE", help="The ledger to compare, default ./ledger.jsonl; or to keep."),
    ] = None,
    form: FormatOption = Format.TABLE,
) -> int:
    """Try cdrhub without owning a phone system.

    Starts the real daemon on SQLite in a temporary directory, lets five simulated phone systems work with it (3CX,
    Voicenter, FreeSWITCH, asterCC, and Enigma over a Redis of its own), and shows the calls as they land. Three cases
    with several numbers are dialled through three of the systems, until their people are reached. Ends with a summary:
    what was sent, what became of it, and whether each call is in the database as it really was; exit 1 if anything
    differs.

    With --verify it plays nothing, and compares what `cdrhub simulate … --ledger FILE` wrote with the database of the
    configuration, call by call and column by column; exit 1 if anything is missing, different, or there without having
    been simulated.
    """
    if verify:
        if seconds is not None:
            raise UsageError("--seconds is for playing, and --verify plays nothing: give one of them")
        from cdrhub.cli.demo.verify import report, verified

        return report(verified(loaded(config), ledger or DEFAULT_LEDGER), form=form)
    from cdrhub.cli.demo.stage import Stage

    with tempfile.TemporaryDirectory(prefix="cdrhub-demo-") as folder:
        return asyncio.run(Stage(Path(folder), ledger=ledger).run(seconds))
