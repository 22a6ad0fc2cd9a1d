"""`cdrhub cases import`: cases from a CSV file, all of them or none."""

from __future__ import annotations

from typing import Annotated

import typer

from cdrhub.cli.database import opened
from cdrhub.cli.options import ConfigFile, bounded, known_source, loaded
from cdrhub.cli.output import counted
from cdrhub.cli.plain import plain
from cdrhub.cli.redialling import orders_of, readings
from cdrhub.cli.sheets import SHEET_SECONDS, EncodingOption, FileArgument, read_sheet, written


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
        typer.Option("--source", metavar="NAME", help="The phone system that dials, for rows that name none."),
    ] = None,
    agent: Annotated[str, typer.Option("--agent", metavar="ID", help="The agent for rows that name none.")] = "",
    campaign: Annotated[
        str, typer.Option("--campaign", metavar="NAME", help="The campaign for rows that name none.")
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
    from cdrhub.redial.case_sheet import Defaults, read_cases

    only = next(iter(settings.sources)) if len(settings.sources) == 1 else ""
    defaults = Defaults(source=source or only, agent=agent, campaign=campaign)
    cases = read_sheet(
        file,
        encoding=encoding,
        read=lambda text, advance: read_cases(text, sources=readings(settings), defaults=defaults, advance=advance),
        noun="case",
        hint="; a column metadata.NAME is kept with the case",
    )
    if dry_run:
        typer.echo(f"{plain(str(file))}: good, {counted(len(cases), 'case')}; nothing was imported")
        return
    with opened(settings, create=True, seconds=SHEET_SECONDS) as database:
        orders = orders_of(database, settings)
        ordered = sorted(cases, key=lambda case: (case.tenant, case.code))
        done = written(database, ordered, lambda tx, some: orders.within(tx).keep(some))
    made, changed = (sum(counts) for counts in zip(*done, strict=True))
    typer.echo(f"{counted(len(cases), 'case')}: {made} new, {changed} changed")
