"""`cdrhub calls`: the calls, filtered, and one of them with its legs and records."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any
from zoneinfo import ZoneInfo

import typer

from cdrhub.cli.database import PAGE, opened
from cdrhub.cli.failure import say
from cdrhub.cli.moments import read_zone
from cdrhub.cli.options import (
    ConfigFile,
    FormatOption,
    LimitOption,
    SinceOption,
    SourceOption,
    UntilOption,
    ZoneOption,
    known_or_found,
    loaded,
    names_given,
    span,
    subcommand_works,
)
from cdrhub.cli.output import Format, Listing, record_row, refuse_csv, show, show_document, show_row
from cdrhub.cli.plain import plain
from cdrhub.errors import UsageError
from cdrhub.model.disposition import Direction, Disposition, State

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cdrhub.config import Config

BRIEF = (
    "sort_at",
    "source",
    "direction",
    "caller_number",
    "callee_number",
    "queue",
    "agent_id",
    "disposition",
    "wait_seconds",
    "talk_seconds",
    "id",
)
HEADINGS = {"sort_at": "time", "caller_number": "caller", "callee_number": "callee", "agent_id": "agent"}
YIELDS = ("wait_seconds", "direction", "source", "queue", "agent_id", "talk_seconds", "id")  #: if it is narrow
LEG_YIELDS = ("cause", "agent_name", "number", "ring_seconds", "seq", "queue", "left_at", "answered_at")
LEG_HEADINGS = {"offered_at": "offered", "answered_at": "answered", "left_at": "left"}
LEG_COLUMNS = (
    "seq",
    "role",
    "outcome",
    "number",
    "agent_id",
    "agent_name",
    "queue",
    "offered_at",
    "answered_at",
    "left_at",
    "ring_seconds",
    "talk_seconds",
    "cause",
)
RECORD_COLUMNS = ("id", "source", "received_at", "state", "content_type", "body")
MAX_SHOWN_BODY = 400  #: characters of a record's body in a table: a line of 3CX whole, an event of FreeSWITCH begun

_calls = typer.Typer(
    invoke_without_command=True,
    epilog="Examples: cdrhub calls --since today · cdrhub calls --queue Sales --disposition abandoned --since -7d "
    "--format csv · cdrhub calls --number '0803 910 0000' · cdrhub calls show ID",
)


def register(app: typer.Typer) -> None:
    """Add this module's commands to `app`."""
    app.add_typer(_calls, name="calls")


@_calls.callback()
@_calls.command("list", epilog="Example: cdrhub calls list --since today")
def list_calls(
    context: typer.Context,
    config: ConfigFile = None,
    *,
    since: SinceOption = None,
    until: UntilOption = None,
    source: SourceOption = None,
    queue: Annotated[
        str | None, typer.Option("--queue", metavar="NAME", help="Only this queue, by name or id.")
    ] = None,
    agent: Annotated[
        str | None, typer.Option("--agent", metavar="NAME", help="Only this agent, by id, extension or name.")
    ] = None,
    number: Annotated[
        str | None,
        typer.Option("--number", metavar="NUMBER", help="Only calls of this number, in any spelling."),
    ] = None,
    disposition: Annotated[
        Disposition | None,
        typer.Option("--disposition", metavar="WORD", help=f"Only calls with this result: {', '.join(Disposition)}."),
    ] = None,
    direction: Annotated[
        Direction | None,
        typer.Option("--direction", metavar="WORD", help=f"Only calls of this direction: {', '.join(Direction)}."),
    ] = None,
    limit: LimitOption = 100,
    form: FormatOption = Format.TABLE,
    timezone: ZoneOption = "UTC",
) -> None:
    """List calls, the newest first.

    --since and --until compare the start of a call. A number is found on any side of a call, as it was sent and in any
    spelling that the sources' regions understand. The table shows the main columns, every other format all columns.
    In CSV, an apostrophe is put before text that a spreadsheet would run as a formula, such as telephone numbers
    with +.
    """
    if subcommand_works(context):
        return
    names_given(queue=queue, agent=agent)
    local = read_zone(timezone)
    when = span(since, until, local)
    settings = loaded(config)
    from cdrhub.store.calls import CallFilter, each
    from cdrhub.store.tables import calls

    wanted = CallFilter(
        since=when.since,
        until=when.until,
        source=source,
        queue=queue,
        agent=agent,
        number=number,
        readings=readings(settings, number, source=source) if number is not None else frozenset(),
        disposition=disposition,
        direction=direction,
    )
    with opened(settings) as database:
        rows = database.each(each(database.store, wanted, limit=limit), at_once=PAGE)
        count = show(
            Listing(
                columns=calls.columns.keys(),
                brief=BRIEF,
                headings=HEADINGS,
                yields=YIELDS,
                rows=map(_as_shown, rows) if form is Format.TABLE else rows,
                empty="no calls found",
            ),
            form=form,
            zone=local,
        )
    known_or_found(settings, source, found=count)
    if count == limit and form is Format.TABLE:
        say(f"these are the newest {limit}; more with --limit")


@_calls.command("show", epilog="Example: cdrhub calls show 0197c4c5-9b6e-7c11-b5f2-1c2d3e4f5a6b")
def show_call(
    call_id: Annotated[
        str, typer.Argument(metavar="ID", help="The call's id, its first 8 or more characters, or its call_key.")
    ],
    config: ConfigFile = None,
    *,
    form: FormatOption = Format.TABLE,
    timezone: ZoneOption = "UTC",
) -> None:
    """Show one call with everything known about it: its columns, its legs, and its records."""
    refuse_csv(form, of="a call with its legs")
    local = read_zone(timezone)
    settings = loaded(config)
    from cdrhub.store.calls import legs_of, one, records_of

    with opened(settings) as database:
        call = database.run(one(database.store, call_id.strip()))
        legs = database.run(legs_of(database.store, call["id"]))
        records = [record_row(record) for record in database.run(records_of(database.store, call["id"]))]
    if form is Format.TABLE:
        _show_in_full(call, legs, records, local)
        return
    whole = {**call, "legs": legs, "records": records}
    show_document(whole, form=form, zone=local)


def readings(config: Config, number: str, *, source: str | None) -> frozenset[str]:
    """What `number` is in E.164 to `source`, or to each of all sources where there is none of that name now.
    UsageError if it has no digit."""
    from cdrhub.model.numbers import in_ascii_digits, read_number

    text = in_ascii_digits(number)
    if not any(character.isdigit() for character in text):
        raise UsageError(f"--number: {number!r} has no digit")
    names = [source] if source is not None and source in config.sources else list(config.sources)
    found = (read_number(text, config.number_plan(name)).e164 for name in names)
    return frozenset(e164 for e164 in found if e164 is not None)


def _show_in_full(
    call: Mapping[str, Any], legs: Sequence[Mapping[str, Any]], records: Sequence[Mapping[str, Any]], local: ZoneInfo
) -> None:
    known = {name: value for name, value in call.items() if value not in (None, "", [])}
    show_row(known, zone=local, title="Call")
    show(
        Listing(
            columns=LEG_COLUMNS,
            rows=[_with_queue(leg) for leg in legs],
            headings=LEG_HEADINGS,
            yields=LEG_YIELDS,
            title="Legs",
            empty="no legs",
        ),
        form=Format.TABLE,
        zone=local,
    )
    bodies = [{**record, "body": _shown_body(record.get("body"))} for record in records]
    show(
        Listing(
            columns=RECORD_COLUMNS,
            rows=bodies,
            yields=("source", "content_type", "state"),
            roomy=("body",),
            title="Records",
            empty="no records",
        ),
        form=Format.TABLE,
        zone=local,
    )
    if any(row["body"].endswith("…") for row in bodies):
        say("bodies of records are cut; whole with --format json")


def _as_shown(call: Mapping[str, Any]) -> dict[str, Any]:
    """A call as a table shows it: one that lives has no disposition, but has come some way."""
    living = call["disposition"] is None and call["state"] != State.ENDED
    return _with_queue(call) | ({"disposition": f"{call['state']} …"} if living else {})


def _with_queue(row: Mapping[str, Any]) -> dict[str, Any]:
    """A call or a leg as a table shows it: a queue of which only the number is known (asterCC) by that."""
    return {**row, "queue": row["queue"] or row["queue_id"]}


def _shown_body(body: bytes | None) -> str:
    """A body on one line: the lines of an event are joined by dots."""
    if body is None:
        return "(emptied by retention)"
    text = " · ".join(body[: MAX_SHOWN_BODY * 4].decode("utf-8", "backslashreplace").strip().split("\n"))
    return plain(text if len(text) <= MAX_SHOWN_BODY else f"{text[:MAX_SHOWN_BODY]}…")
