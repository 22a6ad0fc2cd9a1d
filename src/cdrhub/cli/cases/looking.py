"""`cdrhub cases list`, `show`, `explain`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from cdrhub.cli.cases.standing import numbers_now, show_numbers, standing
from cdrhub.cli.database import opened
from cdrhub.cli.failure import say
from cdrhub.cli.moments import read_zone
from cdrhub.cli.options import MAX_LIMIT, ConfigFile, FormatOption, SourceOption, ZoneOption, loaded
from cdrhub.cli.output import Format, Listing, paragraph, refuse_csv, show, show_document, show_row, spoken_value
from cdrhub.cli.plain import plain
from cdrhub.cli.redialling import (
    AgentOption,
    CampaignOption,
    CodeArgument,
    TenantOption,
    case_named,
    each_case,
    number_keys,
    reason_or_found,
)
from cdrhub.redial.model import CaseState

if TYPE_CHECKING:
    from collections.abc import Mapping

BRIEF = ("code", "state", "state_reason", "round", "source", "agent", "numbers", "next_action_at", "updated_at")
COLUMNS = (
    "code",
    "tenant",
    "state",
    "state_reason",
    "round",
    "source",
    "agent",
    "campaign",
    "timezone",
    "numbers",
    "next_action_at",
    "next_key",
    "metadata",
    "created_at",
    "updated_at",
    "revision",
    "id",
)
ATTEMPT_COLUMNS = (
    "round",
    "number",
    "state",
    "outcome",
    "refusal",
    "placed_by",
    "agent",
    "dialler",
    "requested_at",
    "ended_at",
    "detail",
    "reference",
    "id",
)
DECISION_COLUMNS = ("id", "at", "words", "rule", "inputs", "result", "cause", "detail", "mode", "attempt_id", "call_id")

StateOption = Annotated[
    CaseState | None, typer.Option("--state", metavar="WORD", help=f"Only cases in this state: {', '.join(CaseState)}.")
]
ReasonOption = Annotated[
    str | None, typer.Option("--reason", metavar="WORD", help="Only cases that wait or are paused for this reason.")
]


def register(group: typer.Typer) -> None:
    """Add this module's commands to `group`."""
    group.command(
        "list",
        epilog="Examples: cdrhub cases list --state paused · cdrhub cases list --state waiting --source lagos "
        "--format csv · cdrhub cases list --number '0803 910 0001'",
    )(list_cases)
    group.command("show", epilog="Example: cdrhub cases show C-1")(show_case)
    group.command("explain", epilog="Examples: cdrhub cases explain C-1 · cdrhub cases explain C-1 --format json")(
        explain
    )


def list_cases(
    config: ConfigFile = None,
    *,
    state: StateOption = None,
    reason: ReasonOption = None,
    source: SourceOption = None,
    agent: AgentOption = None,
    campaign: CampaignOption = None,
    number: Annotated[
        str | None, typer.Option("--number", metavar="NUMBER", help="Only cases with this number, in any spelling.")
    ] = None,
    tenant: Annotated[str | None, typer.Option("--tenant", metavar="NAME", help="Only cases of this tenant.")] = None,
    limit: Annotated[
        int, typer.Option("--limit", min=1, max=MAX_LIMIT, help="At most this many, the newest first.")
    ] = 100,
    form: FormatOption = Format.TABLE,
    timezone: ZoneOption = "UTC",
) -> None:
    """List cases, the newest first.

    `open`: nothing was asked of it yet. `dialling`: an attempt is under way. `waiting`: the next attempt comes at the
    time that is shown. `paused`: a person must look, and resume or stop it. `contacted`, `exhausted`, `cancelled`:
    over.
    """
    local = read_zone(timezone)
    settings = loaded(config, source=source)
    from cdrhub.redial.queries import CaseFilter

    keys = number_keys(settings, number, source=source) if number is not None else None
    wanted = CaseFilter(
        tenant=tenant, state=state, reason=reason, source=source, agent=agent, campaign=campaign, keys=keys
    )
    with opened(settings) as database:
        count = show(
            Listing(
                columns=COLUMNS,
                brief=BRIEF,
                yields=("updated_at", "round", "source", "agent", "next_action_at", "numbers"),
                rows=(_flat(row, form) for row in each_case(database, wanted, limit=limit)),
                empty="no cases found",
            ),
            form=form,
            zone=local,
        )
    reason_or_found(reason, found=count)
    if count == limit and form is Format.TABLE:
        say(f"these are the newest {limit}; more with --limit")


def show_case(
    code: CodeArgument,
    config: ConfigFile = None,
    *,
    tenant: TenantOption = None,
    form: FormatOption = Format.TABLE,
    timezone: ZoneOption = "UTC",
) -> None:
    """Show one case: its numbers, what the rules say of each of them now, and every attempt."""
    refuse_csv(form, of="a case with its attempts")
    local = read_zone(timezone)
    settings = loaded(config)
    from cdrhub.redial import queries

    with opened(settings) as database:
        case = case_named(database, code, tenant)
        numbers = numbers_now(database, settings, case, local)
        attempts = database.read(queries.attempts_of, case["id"])
    if form is not Format.TABLE:
        whole = {**case, "numbers": numbers, "attempts": attempts}
        show_document(whole, form=form, zone=local)
        return
    known = {name: value for name, value in case.items() if name != "numbers" and value not in (None, "", {})}
    show_row(known, zone=local, title="Case")
    show_numbers(numbers, local)
    listing = Listing(
        columns=ATTEMPT_COLUMNS,
        rows=attempts,
        yields=("id", "reference", "placed_by", "dialler", "round", "agent", "ended_at"),
        title="Attempts",
        empty="no attempts yet",
    )
    show(listing, form=form, zone=local)
    typer.echo(plain(standing(case, local)))


def explain(
    code: CodeArgument,
    config: ConfigFile = None,
    *,
    tenant: TenantOption = None,
    limit: Annotated[
        int, typer.Option("--limit", min=1, max=MAX_LIMIT, help="At most this many decisions, the newest ones.")
    ] = 200,
    form: FormatOption = Format.TABLE,
    timezone: ZoneOption = "UTC",
) -> None:
    """Say why a case stands where it stands: every decision about it, also those that did nothing.

    Each with its time, what led to it, what followed, the rule that said so, and what the rule went by; the oldest
    first. At the end: what the rules say of each number now, and what can be done.
    """
    local = read_zone(timezone)
    settings = loaded(config)
    from cdrhub.redial import queries
    from cdrhub.redial.wording import in_words, inputs_in_words

    with opened(settings) as database:
        case = case_named(database, code, tenant)
        decisions = database.read(queries.last_decisions_of, case["id"], limit=limit)
        numbers = numbers_now(database, settings, case, local)
    rows = [{**row, "words": in_words(row, zone=local)} for row in decisions]
    if form is not Format.TABLE:
        show(Listing(columns=DECISION_COLUMNS, rows=rows), form=form, zone=local)
        return
    if len(rows) == limit:
        say(f"these are the newest {limit} decisions; more with --limit")
    if not rows:
        typer.echo(f"nothing was decided about {plain(code)} yet: it was never ordered to be dialled")
    for row in rows:
        at = spoken_value(row["at"], zone=local, brief=True)
        beside = len(f"{at}  ")
        typer.echo(paragraph(plain(f"{at}  {row['words'][:1].upper()}{row['words'][1:]}."), indent=beside))
        typer.echo(paragraph(plain(f"{' ' * beside}{inputs_in_words(row, zone=local)}"), indent=beside))
    typer.echo("")
    show_numbers(numbers, local)
    typer.echo(plain(standing(case, local)))


def _flat(row: Mapping[str, Any], form: Format) -> dict[str, Any]:
    """A case with its numbers: as text in tables, with their labels elsewhere."""
    if form in (Format.TABLE, Format.CSV):
        return {**row, "numbers": ", ".join(number["number"] for number in row["numbers"])}
    chosen = ("position", "number", "e164", "label")
    return {**row, "numbers": [{name: number[name] for name in chosen} for number in row["numbers"]]}
