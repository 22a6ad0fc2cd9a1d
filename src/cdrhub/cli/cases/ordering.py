"""`cdrhub cases dial`, `report`, `resume`, `stop`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Literal
from zoneinfo import ZoneInfo

import typer

from cdrhub.cli.cases.standing import outcome
from cdrhub.cli.database import opened
from cdrhub.cli.failure import Exit, say, spoken
from cdrhub.cli.moments import read_moment, read_zone
from cdrhub.cli.options import MAX_LIMIT, ConfigFile, SourceOption, ZoneOption, bounded, loaded
from cdrhub.cli.output import counted, spoken_value, tell
from cdrhub.cli.plain import plain
from cdrhub.cli.progress import stage, stages
from cdrhub.cli.redialling import (
    AgentOption,
    CampaignOption,
    CodeArgument,
    TenantOption,
    case_named,
    each_case,
    orders_of,
    reason_or_found,
)
from cdrhub.errors import CdrhubError, NotFound, UsageError
from cdrhub.redial.model import CLOSED, NOT_DIALLED, CaseState, Reported

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from cdrhub.cli.database import Opened
    from cdrhub.redial.orders import Orders

MAX_CODES = 1_000  #: named in one command
_PACE = re.compile(r"(?P<count>[1-9]\d{0,5})/(?P<unit>s|sec|second|m|min|minute|h|hour)")
_SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0}

CodesArgument = Annotated[list[str], typer.Argument(metavar="CODE", help="Codes of cases.")]


def register(group: typer.Typer) -> None:
    """Add this module's commands to `group`."""
    group.command(
        "dial", epilog="Examples: cdrhub cases dial C-1 · cdrhub cases dial C-1 --agent 101 --reference media-7"
    )(dial)
    group.command(
        "report",
        epilog="Examples: cdrhub cases report C-1 contacted · "
        "cdrhub cases report C-1 callback --at 2026-03-02T10:00 --timezone Africa/Lagos",
    )(report)
    group.command(
        "resume",
        epilog="Examples: cdrhub cases resume C-1 · cdrhub cases resume C-1 --as not_reached · "
        "cdrhub cases resume --reason late --spread 10/min",
    )(resume)
    group.command("stop", epilog="Example: cdrhub cases stop C-1 C-2 --why 'paid'")(stop)


def dial(
    code: CodeArgument,
    config: ConfigFile = None,
    *,
    agent: Annotated[
        str | None, typer.Option("--agent", metavar="ID", help="For whom; default: the agent of the case.")
    ] = None,
    reference: Annotated[
        str, typer.Option("--reference", metavar="TEXT", help="Your own reference, returned in every event.")
    ] = "",
    tenant: TenantOption = None,
) -> int:
    """Open a new round of a case and dial its first number that the rules allow.

    The daemon sends the request within a second. Exit code 1: nothing will be dialled; the reason is shown.
    """
    settings = loaded(config)
    bounded(agent=agent, reference=reference)
    with opened(settings) as database:
        case = case_named(database, code, tenant)
        orders = orders_of(database, settings)
        decision = database.run(
            orders.dial(tenant=case["tenant"], code=case["code"], agent=agent or "", reference=reference)
        )
        after = case_named(database, code, case["tenant"])
    typer.echo(plain(outcome(decision, after)))
    return Exit.OK if decision.goes_on and after["state"] != CaseState.PAUSED else Exit.DIFFERENT


def report(
    code: CodeArgument,
    result: Annotated[
        Reported,
        typer.Argument(metavar="RESULT", help=f"{', '.join(Reported)}: what became of it.", show_default=False),
    ],
    config: ConfigFile = None,
    *,
    at: Annotated[
        str | None, typer.Option("--at", metavar="TIME", help="With callback: when; e.g. 2026-03-02T10:00.")
    ] = None,
    tenant: TenantOption = None,
    timezone: ZoneOption = "UTC",
) -> int:
    """Say what became of the last attempt of a case: its person knows better than any record.

    contacted and refused end the case as contacted; wrong_party and voicemail lead to the next number; callback dials
    the same number again at the time of --at; do_not_call puts the number on the do-not-call list and cancels the case.
    Exit code 1: nothing follows from it; the reason is shown.
    """
    if (at is not None) != (result is Reported.CALLBACK):
        raise UsageError("callback needs --at, the time of the next call" if at is None else "--at goes with callback")
    moment = read_moment(at, zone=read_zone(timezone), now=datetime.now(UTC)) if at is not None else None
    settings = loaded(config)
    from cdrhub.redial import queries

    with opened(settings) as database:
        case = case_named(database, code, tenant)
        made = [row for row in database.read(queries.attempts_of, case["id"]) if row["state"] not in NOT_DIALLED]
        if not made:
            raise NotFound(f"case {case['code']!r} has no attempt that was dialled")
        decision = database.run(
            orders_of(database, settings).report(
                tenant=case["tenant"], attempt_id=made[-1]["id"], result=result, at=moment
            )
        )
        after = case_named(database, code, case["tenant"])
    typer.echo(plain(f"attempt on {made[-1]['number']}: {result}. {outcome(decision, after)}"))
    return Exit.DIFFERENT if decision.result == "nothing" else Exit.OK


def resume(
    codes: Annotated[list[str] | None, typer.Argument(metavar="CODE", help="Codes of paused cases.")] = None,
    config: ConfigFile = None,
    *,
    count_as: Annotated[
        Literal["not_reached"] | None,
        typer.Option("--as", help="not_reached: note attempts with an unknown end as no_answer."),
    ] = None,
    reason: Annotated[
        str | None, typer.Option("--reason", metavar="WORD", help="All cases that are paused for this reason.")
    ] = None,
    spread: Annotated[
        str | None,
        typer.Option("--spread", metavar="COUNT/UNIT", help="With --reason: this many at a time, e.g. 10/min."),
    ] = None,
    source: SourceOption = None,
    agent: AgentOption = None,
    campaign: CampaignOption = None,
    tenant: TenantOption = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say which cases would be resumed.")] = False,
) -> int:
    """Let paused cases go on with their next number.

    A number of which nobody knows whether it was reached is not dialled again: it counts as tried in this round. With
    --as not_reached its attempt is noted as no_answer. Many cases are resumed with --reason and --spread: each gets a
    time of its own, which `cdrhub cases list --state waiting` shows, and this command ends at once.
    """
    if bool(codes) == (reason is not None):
        raise UsageError("name cases, or give --reason for all that are paused for it")
    if spread is not None and reason is None:
        raise UsageError("--spread goes with --reason")
    if codes and any((source, agent, campaign)):
        raise UsageError("--source, --agent and --campaign go with --reason")
    apart = _apart(spread) if spread is not None else None
    settings = loaded(config, source=source)
    from cdrhub.redial.queries import CaseFilter

    with opened(settings) as database:
        if codes:
            chosen = [_key(case_named(database, code, tenant)) for code in _distinct(codes)]
        else:
            wanted = CaseFilter(
                tenant=tenant, state=CaseState.PAUSED, reason=reason, source=source, agent=agent, campaign=campaign
            )
            rows = each_case(database, wanted, limit=MAX_LIMIT)
            chosen = [_key(row) for row in rows][::-1]  # the oldest first
        reason_or_found(reason, found=len(chosen))
        if not chosen:
            typer.echo(f"no case is paused for the reason {plain(reason or '')}")
            return Exit.OK
        if dry_run:
            _say_codes(chosen, apart)
            return Exit.OK
        failed = _resume(database, orders_of(database, settings), chosen, apart=apart, not_reached=count_as is not None)
    return Exit.DIFFERENT if failed else Exit.OK


def stop(
    codes: CodesArgument,
    config: ConfigFile = None,
    *,
    why: Annotated[str, typer.Option("--why", help="Why, for `cdrhub cases explain`.")] = "",
    tenant: TenantOption = None,
) -> None:
    """Cancel cases: what is pending of them is dropped, and nothing more is dialled until a new order.

    One that is not there keeps none of the others from being stopped.
    """
    bounded(why=why)
    settings = loaded(config)
    with opened(settings) as database:
        orders = orders_of(database, settings)
        unknown: list[CdrhubError] = []
        for code in _distinct(codes):
            try:
                case = case_named(database, code, tenant)
            except (NotFound, UsageError) as error:
                unknown.append(error)
                continue
            database.run(orders.stop(tenant=case["tenant"], code=case["code"], why=why.strip()))
            became = "it is cancelled"
            if case["state"] in CLOSED:
                became = f"nothing changed: it was {case['state']} already"
            elif case["state"] == CaseState.DIALLING and settings.redial.hangup_superseded:
                became += "; a call that is under way is dropped where the phone system can do that"
            elif case["state"] == CaseState.DIALLING:
                became += "; a call that is under way goes on"
            tell(f"{case['code']}: {became}")
    for each in unknown[:-1]:
        say(spoken(each))
    if unknown:
        raise unknown[-1]


def _resume(
    database: Opened, orders: Orders, chosen: Sequence[tuple[str, str]], *, apart: timedelta | None, not_reached: bool
) -> int:
    """Resume each of these cases; how many could not be."""
    begin, done, failed = datetime.now(UTC), 0, 0
    alone = apart is None and len(chosen) == 1
    with stages() as progress:
        resuming = stage(progress, "resuming", len(chosen))
        for place, (tenant, code) in enumerate(chosen):
            at = begin + apart * place if apart is not None else None
            try:
                decision = database.run(orders.resume(tenant=tenant, code=code, not_reached=not_reached, at=at))
            except CdrhubError as error:
                if alone:
                    raise
                failed += 1
                say(f"{code}: {spoken(error)}")
                continue
            finally:
                resuming.reached(place + 1)
            done += 1
            if apart is None:
                tell(outcome(decision, case_named(database, code, tenant)))
    if apart is not None:
        last = spoken_value(begin + apart * max(done - 1, 0), zone=ZoneInfo("UTC"), brief=True)
        typer.echo(f"{counted(done, 'case')} resumed, one each {_spoken_span(apart)}, the last one at {last} UTC")
    return failed


def _say_codes(chosen: Sequence[tuple[str, str]], apart: timedelta | None) -> None:
    for _, code in chosen:
        typer.echo(plain(code))
    over = f", over {_spoken_span(apart * (len(chosen) - 1))}" if apart is not None else ""
    say(f"{counted(len(chosen), 'case')} would be resumed{over}")


def _apart(spread: str) -> timedelta:
    found = _PACE.fullmatch(spread.strip().lower())
    if found is None:
        raise UsageError(f"--spread: {spread!r} is not a pace: write e.g. 10/min, 1/s or 200/h")
    return timedelta(seconds=_SECONDS[found["unit"][0]] / int(found["count"]))


def _spoken_span(span: timedelta) -> str:
    seconds = span.total_seconds()
    if seconds >= 3600:
        return f"{seconds / 3600:.3g} h"
    return f"{seconds / 60:.3g} min" if seconds >= 60 else f"{seconds:.3g} s"


def _distinct(codes: Sequence[str]) -> list[str]:
    if len(codes) > MAX_CODES:
        raise UsageError(f"{MAX_CODES} codes at most in one command")
    return list(dict.fromkeys(codes))


def _key(case: Mapping[str, Any]) -> tuple[str, str]:
    return case["tenant"], case["code"]
