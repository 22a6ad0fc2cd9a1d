"""`cdrhub agents`: when agents came, went, waited, worked after a call or were on a break."""

from __future__ import annotations

from typing import Annotated

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
from cdrhub.cli.output import Format, Listing, show
from cdrhub.model.agent import AgentKind

BRIEF = ("at", "source", "agent_id", "kind", "state", "state_raw", "reason", "queue")


_agents = typer.Typer(
    invoke_without_command=True,
    epilog="Examples: cdrhub agents --since today · cdrhub agents --agent 7001 --kind status --since -7d --format csv",
)


def register(app: typer.Typer) -> None:
    """Add this module's commands to `app`."""
    app.add_typer(_agents, name="agents")


@_agents.callback()
@_agents.command("list", epilog="Example: cdrhub agents list --since today")
def list_states(
    context: typer.Context,
    config: ConfigFile = None,
    *,
    since: SinceOption = None,
    until: UntilOption = None,
    source: SourceOption = None,
    agent: Annotated[str | None, typer.Option("--agent", metavar="ID", help="Only this agent.")] = None,
    kind: Annotated[
        AgentKind | None,
        typer.Option(
            "--kind", help="Presence (status), what happens to the agent (state), calls the agent chose to take (mode)."
        ),
    ] = None,
    limit: LimitOption = 100,
    form: FormatOption = Format.TABLE,
    timezone: ZoneOption = "UTC",
) -> None:
    """List states of agents, the newest first.

    Each state holds until the next one of the same agent and kind. Only FreeSWITCH and asterCC report them. The table
    shows the main columns, every other format all columns.
    """
    if subcommand_works(context):
        return
    names_given(agent=agent)
    local = read_zone(timezone)
    when = span(since, until, local)
    settings = loaded(config)
    from cdrhub.store.agents import AgentStateFilter, each_state
    from cdrhub.store.tables import agent_states

    wanted = AgentStateFilter(since=when.since, until=when.until, source=source, agent=agent, kind=kind)
    columns = [name for name in agent_states.columns.keys() if name != "digest"]  # noqa: SIM118  (names, not columns)
    with opened(settings) as database:
        count = show(
            Listing(
                columns=columns,
                brief=BRIEF,
                yields=("reason", "state_raw", "queue", "source"),
                rows=database.each(each_state(database.store, wanted, limit=limit), at_once=PAGE),
                empty="no states of agents found",
            ),
            form=form,
            zone=local,
        )
    known_or_found(settings, source, found=count)
    if count == limit and form is Format.TABLE:
        say(f"these are the newest {limit}; more with --limit")
