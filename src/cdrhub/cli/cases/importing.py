"""`cdrhub cases import`: cases from a CSV file, all of them or none."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from cdrhub.cli.database import opened
from cdrhub.cli.options import ConfigFile, known_source, loaded
from cdrhub.cli.output import counted
from cdrhub.cli.plain import plain
from cdrhub.cli.redialling import PAGE, bounded, orders_of, readings
from cdrhub.cli.sheets import (
    SHEET_SECONDS,
    EncodingOption,
    FileArgument,
    refuse,
    sheet_text,
    stage,
    stages,
    tell_doubts,
)
from cdrhub.errors import CdrhubError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cdrhub.cli.database import Opened
    from cdrhub.redial.orders import GivenCase, Orders
    from cdrhub.store.transaction import Transaction


def register(group: typer.Typer) -> None:
    """Add this module's commands to `group`."""
    group.command(
        "import",
        epilog="Examples: cdrhub cases import people.csv --source lagos · "
        "cdrhub cases import people.csv --encoding windows-1255 --dry-run",
    )(import_cases)


def import_cases(
    file: FileArgument,
    config: ConfigFile = None,
    *,
    source: Annotated[
        str | None,
        typer.Option("--source", metavar="NAME", help="The phone system that dials, of rows that do not name one."),
    ] = None,
    agent: Annotated[str, typer.Option("--agent", metavar="ID", help="The agent of rows that name none.")] = "",
    campaign: Annotated[
        str, typer.Option("--campaign", metavar="NAME", help="The campaign of rows that name none.")
    ] = "",
    encoding: EncodingOption = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only check the file.")] = False,
) -> None:
    """Make cases from a CSV file, or change those of the same code; nothing is dialled by it.

    Columns: code, number_1, number_2, …, and as you like source, agent, campaign, timezone, label_1, …, metadata.NAME;
    CASE_CODE_STR and PHONE_NUM_1, … are understood. A number is read as its source reads numbers: with region = "NG"
    0803… and +234803… are one. Every bad row is named with line and column; with one bad row nothing is imported.
    """
    bounded(agent=agent, campaign=campaign)
    settings = loaded(config)
    if source is not None:
        known_source(settings, source)
    from cdrhub.redial.case_sheet import Defaults, read_cases  # noqa: PLC0415
    from cdrhub.redial.sheet import SheetUnreadable  # noqa: PLC0415

    text = sheet_text(file, encoding=encoding)
    only = next(iter(settings.sources)) if len(settings.sources) == 1 else ""
    with stages() as progress:
        reading = stage(progress, f"reading {file.name}", text.count("\n"))
        try:
            sheet = read_cases(
                text,
                sources=readings(settings),
                defaults=Defaults(source=source or only, agent=agent, campaign=campaign),
                advance=reading.reached,
            )
        except SheetUnreadable as error:
            raise CdrhubError(f"{file}: {error}") from error
    refuse(file, sheet.problems, what="case")
    tell_doubts(file, unused=sheet.unused, unsure=sheet.unsure, hint="; a column metadata.NAME is kept with the case")
    if dry_run:
        typer.echo(f"{plain(str(file))}: good, {counted(len(sheet.cases), 'case')}; nothing was imported")
        return
    with opened(settings, create=True, seconds=SHEET_SECONDS) as database:
        made, changed = _keep(database, orders_of(database, settings), sheet.cases)
    typer.echo(f"{counted(len(sheet.cases), 'case')}: {made} new, {changed} changed")


def _keep(database: Opened, orders: Orders, cases: Sequence[GivenCase]) -> tuple[int, int]:
    """All of them in one transaction; (made, changed)."""
    from cdrhub.redial.transaction import transact  # noqa: PLC0415

    ordered = sorted(cases, key=lambda case: (case.tenant, case.code))

    with stages() as progress:
        writing = stage(progress, "writing", len(ordered))

        async def work(tx: Transaction) -> tuple[int, int]:
            made = changed = 0
            for begin in range(0, len(ordered), PAGE):
                new, old = await orders.within(tx).keep(ordered[begin : begin + PAGE])
                made, changed = made + new, changed + old
                writing.reached(min(begin + PAGE, len(ordered)))
            return made, changed

        return database.run(transact(database.store.database, work))
