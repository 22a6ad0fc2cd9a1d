"""`cdrhub do-not-call`: the numbers that must not be called."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cdrhub.cli.database import Opened, opened
from cdrhub.cli.failure import Exit, say
from cdrhub.cli.moments import read_moment, read_zone
from cdrhub.cli.options import MAX_LIMIT, ConfigFile, FormatOption, ZoneOption, actor, loaded
from cdrhub.cli.output import Format, Listing, counted, show, tell
from cdrhub.cli.plain import plain
from cdrhub.cli.redialling import number_keys, one_source, orders_of, readings
from cdrhub.cli.sheets import SHEET_SECONDS, EncodingOption, FileArgument, read_sheet, written
from cdrhub.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from zoneinfo import ZoneInfo

    from sqlalchemy.ext.asyncio import AsyncConnection

COLUMNS = ("number", "tenant", "said_by", "checked_at", "until")

_list = typer.Typer(
    help="Numbers that must not be called, one list for each tenant. They take effect at once, also for waiting calls.",
    no_args_is_help=True,
    epilog="Examples: cdrhub do-not-call add '0803 910 0001' --source lagos · cdrhub do-not-call list · "
    "cdrhub do-not-call import registry.csv --source lagos --said-by NDNC",
)

ReadAsOption = Annotated[
    str | None,
    typer.Option(
        "--source", metavar="NAME", help="Read the numbers as this source does, for its tenant; default: the only one."
    ),
]
NumbersArgument = Annotated[list[str], typer.Argument(metavar="NUMBER", help="Numbers, in any spelling.")]
SaidByOption = Annotated[
    str | None, typer.Option("--said-by", metavar="TEXT", help="Who says so: a registry, a person; default: the user.")
]
UntilOption = Annotated[
    str | None, typer.Option("--until", metavar="TIME", help="Until when, e.g. 2027-03-01; default: for ever.")
]


def register(app: typer.Typer) -> None:
    """Add this module's commands to `app`."""
    app.add_typer(_list, name="do-not-call")


@_list.command(
    "add",
    epilog="Examples: cdrhub do-not-call add '0803 910 0001' · "
    "cdrhub do-not-call add +2348039100001 --said-by NDNC --until 2027-03-01",
)
def add(
    numbers: NumbersArgument,
    config: ConfigFile = None,
    *,
    source: ReadAsOption = None,
    said_by: SaidByOption = None,
    until: UntilOption = None,
    timezone: ZoneOption = "UTC",
) -> None:
    """Put numbers on the list; one that is there already gets the new date and the new word of who says so, unless it
    is listed for longer: take it off first."""
    who, holds = _who(said_by), _until(until, read_zone(timezone))
    settings = loaded(config)
    read_as = one_source(settings, source)
    from cdrhub.redial.given import GivenDoNotCall

    tenant = readings(settings)[read_as].tenant
    given = [
        GivenDoNotCall(number=number, tenant=tenant, region_of=read_as, source=who, until=holds) for number in numbers
    ]
    with opened(settings) as database:
        _say_stood(database.run(orders_of(database, settings).forbid(given)))
    typer.echo(f"{counted(len(given), 'number')} must not be called{f' until {until}' if until else ''}")


@_list.command(
    "list", epilog="Examples: cdrhub do-not-call list · cdrhub do-not-call list --number '0803 910 0001' --format csv"
)
def list_numbers(
    config: ConfigFile = None,
    *,
    number: Annotated[
        str | None, typer.Option("--number", metavar="NUMBER", help="Only this number, in any spelling.")
    ] = None,
    tenant: Annotated[
        str | None, typer.Option("--tenant", metavar="NAME", help="Only the list of this tenant.")
    ] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, max=MAX_LIMIT, help="At most this many, by number.")] = 1000,
    form: FormatOption = Format.TABLE,
    timezone: ZoneOption = "UTC",
) -> None:
    """List the numbers that must not be called, also those whose time is over."""
    local = read_zone(timezone)
    settings = loaded(config)
    keys = number_keys(settings, number, source=None) if number is not None else None
    with opened(settings) as database:
        rows = _each(database, tenant=tenant, keys=keys, limit=limit)
        count = show(Listing(columns=COLUMNS, rows=rows, empty="no number is on the list"), form=form, zone=local)
    if count == limit and form is Format.TABLE:
        say(f"these are the first {limit}; more with --limit")


@_list.command("remove", epilog="Example: cdrhub do-not-call remove '0803 910 0001' --source lagos")
def remove(numbers: NumbersArgument, config: ConfigFile = None, *, source: ReadAsOption = None) -> int:
    """Take numbers off the list. Exit code 1: one of them was not on it."""
    settings = loaded(config)
    read_as = one_source(settings, source)
    tenant = readings(settings)[read_as].tenant
    absent = 0
    with opened(settings) as database:
        orders = orders_of(database, settings)
        for number in numbers:
            was = database.run(orders.permit(tenant=tenant, number=number, region_of=read_as))
            tell(f"{number}: {'may be called again' if was else 'was not on the list'}")
            absent += not was
    return Exit.DIFFERENT if absent else Exit.OK


@_list.command(
    "import",
    epilog="Examples: cdrhub do-not-call import registry.csv --said-by NDNC --until 2027-03-01 · "
    "cut -f2 optouts.tsv > numbers.csv; cdrhub do-not-call import numbers.csv",
)
def import_numbers(
    file: FileArgument,
    config: ConfigFile = None,
    *,
    source: ReadAsOption = None,
    said_by: SaidByOption = None,
    until: UntilOption = None,
    encoding: EncodingOption = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only check the file.")] = False,
    timezone: ZoneOption = "UTC",
) -> None:
    """Put the numbers of a CSV file on the list: all of them, or with one bad row none.

    Columns: number (or phone), and as you like until and source, who says so; or numbers alone, without a header.
    """
    local = read_zone(timezone)
    who, holds = _who(said_by), _until(until, local)
    settings = loaded(config)
    read_as = one_source(settings, source)
    from cdrhub.redial.do_not_call_sheet import read_do_not_call

    entries = read_sheet(
        file,
        encoding=encoding,
        read=lambda text, advance: read_do_not_call(
            text,
            source=read_as,
            reading=readings(settings)[read_as],
            said_by=who,
            until=holds,
            read_until=lambda cell: read_moment(cell, zone=local, now=datetime.now(UTC)),
            advance=advance,
        ),
        noun="number",
    )
    if dry_run:
        typer.echo(f"{plain(str(file))}: good, {counted(len(entries), 'number')}; nothing was imported")
        return
    with opened(settings, create=True, seconds=SHEET_SECONDS) as database:
        orders = orders_of(database, settings)
        _say_stood(sum(written(database, entries, lambda tx, some: orders.within(tx).forbid(some))))
    typer.echo(f"{counted(len(entries), 'number')} must not be called")


def _each(
    database: Opened, *, tenant: str | None, keys: Collection[str] | None, limit: int
) -> Iterator[dict[str, Any]]:
    from cdrhub.redial.queries import do_not_call_list

    async def page(at: AsyncConnection, last: dict[str, Any] | None, size: int) -> list[dict[str, Any]]:
        after = (last["match_key"], last["tenant"]) if last is not None else None
        return await do_not_call_list(at, tenant=tenant, keys=keys, after=after, limit=size)

    for row in database.paged(page, limit=limit):
        yield {**row, "number": row["match_key"], "said_by": row["source"]}


def _say_stood(numbers: int) -> None:
    if numbers:
        say(f"{counted(numbers, 'number')} stood on the list for longer, and stay so: cdrhub do-not-call remove")


def _who(given: str | None) -> str:
    who = given.strip() if given is not None else actor(None)
    if not who or len(who) > 255 or not who.isprintable():
        raise UsageError("--said-by: one line of 255 characters at most")
    return who


def _until(given: str | None, local: ZoneInfo) -> datetime | None:
    if given is None:
        return None
    now = datetime.now(UTC)
    moment = read_moment(given, zone=local, now=now)
    if moment <= now:
        raise UsageError(f"--until: {given} is over already")
    return moment
