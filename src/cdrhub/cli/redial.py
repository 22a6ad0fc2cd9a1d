"""`cdrhub redial`: how redialling stands, and its brake."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cdrhub.cli.database import opened
from cdrhub.cli.failure import Exit, say
from cdrhub.cli.moments import read_zone
from cdrhub.cli.options import ActorOption, ConfigFile, FormatOption, ZoneOption, actor, bounded, loaded
from cdrhub.cli.output import Format, Listing, show
from cdrhub.cli.plain import plain
from cdrhub.cli.redialling import orders_of
from cdrhub.errors import UsageError

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

    from cdrhub.cli.database import Opened
    from cdrhub.config import Config

STATUS_COLUMNS = ("what", "name", "state", "count", "since", "detail")

_redial = typer.Typer(
    help="State of redialling, and its brake.",
    no_args_is_help=True,
    epilog="Examples: cdrhub redial status · cdrhub redial pause --why 'wrong list' · cdrhub redial resume",
)

PausedSource = Annotated[str | None, typer.Option("--source", metavar="NAME", help="Only what this source dials.")]
PausedCampaign = Annotated[str | None, typer.Option("--campaign", metavar="NAME", help="Only this campaign.")]
PausedAgent = Annotated[str | None, typer.Option("--agent", metavar="ID", help="Only this agent.")]


def register(app: typer.Typer) -> None:
    """Add this module's commands to `app`."""
    app.add_typer(_redial, name="redial")


@_redial.command(
    "pause",
    epilog="Examples: cdrhub redial pause --why 'wrong list' · cdrhub redial pause --campaign spring",
)
def pause(
    config: ConfigFile = None,
    *,
    source: PausedSource = None,
    campaign: PausedCampaign = None,
    agent: PausedAgent = None,
    why: Annotated[str, typer.Option("--why", help="Why; shown by redial status.")] = "",
    as_whom: ActorOption = None,
) -> None:
    """Stop dialling now: everywhere, or for one source, campaign or agent.

    Calls under way continue and are decided about as usual. The next number waits until `cdrhub redial resume`.
    """
    scope, name = _scope(source, campaign, agent)
    who = actor(as_whom)
    bounded(why=why)
    settings = loaded(config, source=source)
    with opened(settings) as database:
        database.run(orders_of(database, settings).pause(scope=scope, name=name, actor=who, why=why.strip()))
    typer.echo(f"{plain(_spoken(scope, name))} is paused; go on with: {plain(_command(scope, name))}")


@_redial.command("resume", epilog="Examples: cdrhub redial resume · cdrhub redial resume --campaign spring")
def resume(
    config: ConfigFile = None,
    *,
    source: PausedSource = None,
    campaign: PausedCampaign = None,
    agent: PausedAgent = None,
) -> int:
    """End a pause. Exit code 1: there was none.

    Waiting cases are looked at again within half a minute. Naming a source does not end a pause of everything, nor the
    other way round: `cdrhub redial status` shows the pauses.
    """
    scope, name = _scope(source, campaign, agent)
    settings = loaded(config)
    with opened(settings) as database:
        was = database.run(orders_of(database, settings).unpause(scope=scope, name=name))
        left = [row for row in _status(database, settings) if row["what"] == "pause"]
    typer.echo(plain(f"{_spoken(scope, name)} goes on" if was else f"{_spoken(scope, name)} was not paused"))
    for row in left:
        say(f"still paused: {row['name']}; go on with: {row['command']}")
    return Exit.OK if was else Exit.DIFFERENT


@_redial.command("status", epilog="Examples: cdrhub redial status · cdrhub redial status --format json")
def status(config: ConfigFile = None, *, form: FormatOption = Format.TABLE, timezone: ZoneOption = "UTC") -> None:
    """Show the state of redialling: the mode, what is paused and by whom, what is being dialled, and the cases."""
    local = read_zone(timezone)
    settings = loaded(config)
    with opened(settings) as database:
        rows = _status(database, settings)
    if form is not Format.TABLE:
        show(Listing(columns=STATUS_COLUMNS, rows=rows), form=form, zone=local)
        return
    redial = settings.redial
    said = {
        "off": "redial is off: nothing is dialled, and nothing is decided but that a person was reached",
        "observe": "redial observes: it decides and explains, and dials nothing",
        "on": "redial is on: it dials",
    }[redial.mode]
    typer.echo(f"{said}. Its rules are those of the preset {redial.preset} and of [redial] in {settings.file}.")
    without = [name for name, source in settings.sources.items() if source.dialler is None and source.into is None]
    if redial.mode == "on" and without:
        say(f"sources without a dialler, whose cases are paused (no_dialler): {', '.join(without)}")
    for what, title, columns, empty in (
        ("pause", "Pauses", ("name", "since", "detail"), "nothing is paused"),
        ("dialler", "Diallers", ("name", "state", "count", "since"), "nothing is being dialled"),
        ("case", "Cases", ("state", "detail", "count"), "there are no cases"),
    ):
        its = [row for row in rows if row["what"] == what]
        show(Listing(columns=columns, rows=its, title=title, empty=empty), form=form, zone=local)


def _status(database: Opened, config: Config) -> list[dict[str, Any]]:
    """Pauses, attempts under way by dialler, and numbers of cases by state, as rows of one form."""
    from cdrhub.redial import queries
    from cdrhub.redial.wording import reason_in_words, rule_in_words

    async def all_three(at: AsyncConnection) -> tuple[list[dict[str, Any]], ...]:
        return await queries.pauses(at), await queries.live_attempts(at), await queries.tally(at)

    pauses, live, tally = database.read(all_three)
    empty: dict[str, Any] = dict.fromkeys(STATUS_COLUMNS)
    rows = [
        {
            **empty,
            "what": "pause",
            "name": _spoken(row["scope"], row["name"]),
            "state": "paused",
            "since": row["at"],
            "detail": f"by {row['actor']}{': ' + row['why'] if row['why'] else ''}",
            "command": _command(row["scope"], row["name"]),
        }
        for row in pauses
    ]
    idle = [name for name in config.redial.diallers if all(row["dialler"] != name for row in live)]
    rows += [{**empty, "what": "dialler", "name": name, "state": "idle", "count": 0} for name in idle]
    rows += [
        {
            **empty,
            "what": "dialler",
            "name": row["dialler"] or "(a CRM's own)",
            "state": row["state"],
            "count": row["count"],
            "since": row["oldest"],
        }
        for row in live
    ]
    for row in tally:
        reason = row["state_reason"]
        words = reason_in_words(reason) if row["state"] == "paused" else rule_in_words(reason)
        detail = f"{reason}: {words}" if reason else ""
        rows.append({**empty, "what": "case", "state": row["state"], "count": row["count"], "detail": detail})
    return rows


def _scope(source: str | None, campaign: str | None, agent: str | None) -> tuple[str, str]:
    given = [
        (scope, name)
        for scope, name in (("source", source), ("campaign", campaign), ("agent", agent))
        if name is not None
    ]
    if len(given) > 1:
        raise UsageError("one of --source, --campaign and --agent at a time: they are separate pauses")
    scope, name = given[0] if given else ("all", "")
    if given and (not name.strip() or len(name) > 255 or not name.isprintable()):
        raise UsageError(f"--{scope}: a name of 255 characters at most")
    return scope, name


def _spoken(scope: str, name: str) -> str:
    return "all redialling" if scope == "all" else f"redialling of {scope} {name}"


def _command(scope: str, name: str) -> str:
    return "cdrhub redial resume" if scope == "all" else f"cdrhub redial resume --{scope}={shlex.quote(name)}"
