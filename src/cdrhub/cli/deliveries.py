"""`cdrhub deliveries`: what became of the events that webhooks are sent, and what people do about it.

The commands write what is wanted into the database; the daemon that delivers sees it within a second.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cdrhub.cli.database import Opened, opened
from cdrhub.cli.failure import say
from cdrhub.cli.moments import read_zone
from cdrhub.cli.options import (
    MAX_LIMIT,
    ConfigFile,
    FormatOption,
    SinceOption,
    UntilOption,
    ZoneOption,
    loaded,
    span,
)
from cdrhub.cli.output import Format, Listing, counted, refuse_csv, show, show_document, show_row
from cdrhub.errors import NotFound, UsageError
from cdrhub.parts import in_parts

if TYPE_CHECKING:
    from cdrhub.broadcast.deliveries import Delivery, EndpointRow
    from cdrhub.broadcast.endpoint import Endpoint
    from cdrhub.broadcast.events import Event
    from cdrhub.broadcast.log import EventLog
    from cdrhub.config import Config

WEBHOOKS = ("webhook", "state", "waiting", "oldest_waiting", "refused", "next_at", "last_status", "last_error")
WEBHOOK_COLUMNS = (*WEBHOOKS, "cursor", "attempt", "failing_since", "updated_at")
DELIVERIES = ("position", "state", "type", "subject", "attempts", "last_status", "last_error", "updated_at")
DELIVERY_COLUMNS = ("webhook", *DELIVERIES, "stored_at", "event_id")
MAX_POSITION = 2**63 - 1
MAX_AGAIN = 100_000  #: events asked for again by one command
AT_ONCE = 500  #: events asked for in one transaction

_deliveries = typer.Typer(
    help="Webhooks and their events: their state, refused events, sending again.",
    no_args_is_help=True,
    epilog="Examples: cdrhub deliveries list · cdrhub deliveries list crm · cdrhub deliveries retry crm · "
    "cdrhub deliveries again crm --since yesterday",
)

Name = Annotated[str, typer.Argument(metavar="WEBHOOK", help="Its name in the configuration.")]
Position = Annotated[
    int, typer.Argument(metavar="POSITION", min=1, max=MAX_POSITION, help="The event's position, as in a list.")
]


def register(app: typer.Typer) -> None:
    """Add this module's commands to `app`."""
    app.add_typer(_deliveries, name="deliveries")


@_deliveries.command("list", epilog="Examples: cdrhub deliveries list · cdrhub deliveries list crm --format csv")
def list_deliveries(
    webhook: Annotated[
        str | None, typer.Argument(metavar="WEBHOOK", help="List its single events instead of all webhooks.")
    ] = None,
    config: ConfigFile = None,
    *,
    limit: Annotated[int, typer.Option("--limit", min=1, max=MAX_LIMIT, help="At most so many events.")] = 100,
    form: FormatOption = Format.TABLE,
    timezone: ZoneOption = "UTC",
) -> None:
    """List the webhooks with their state and waiting events; or list single events of one webhook.

    Single events are those that the webhook refused, and those that somebody requested again.
    """
    local = read_zone(timezone)
    settings = loaded(config)
    with opened(settings) as database:
        if webhook is None:
            rows = database.run(_webhooks(database, settings))
            listing = Listing(
                columns=WEBHOOK_COLUMNS,
                brief=WEBHOOKS,
                rows=rows,
                yields=("oldest_waiting", "last_status", "next_at", "refused"),
                empty="there is no webhook",
            )
            hints = _what_helps(rows)
        else:
            _known(database, settings, webhook)
            rows = database.run(_singles(database, webhook, limit=limit))
            nothing = f"{webhook} refused no event, and nobody asked for one again"
            listing = Listing(
                columns=DELIVERY_COLUMNS,
                brief=DELIVERIES,
                rows=rows,
                yields=("attempts", "subject", "updated_at", "last_error"),
                empty=nothing,
            )
            hints = []
    show(listing, form=form, zone=local)
    if form is Format.TABLE:
        for hint in hints:
            say(hint)


@_deliveries.command("show", epilog="Example: cdrhub deliveries show crm 4711")
def show_delivery(
    webhook: Name,
    position: Position,
    config: ConfigFile = None,
    *,
    form: FormatOption = Format.TABLE,
    timezone: ZoneOption = "UTC",
) -> None:
    """Show one event as the webhook gets it, and its result there."""
    refuse_csv(form, of="an event")
    local = read_zone(timezone)
    settings = loaded(config)
    from cdrhub.broadcast import deliveries
    from cdrhub.broadcast.render import OPEN, event_id, rendered

    endpoint = _endpoint(settings, webhook)
    with opened(settings) as database:
        row = _known(database, settings, webhook)
        event = database.run(_event(database, position))
        single = database.read(deliveries.single, webhook, position)
    body = json.loads(rendered(event, veil=endpoint.veil if endpoint is not None else OPEN))
    said = {
        "webhook": webhook,
        "position": position,
        "state": _standing(event, row, single, endpoint),
        "event_id": event_id(event),
        "attempts": single.attempts if single is not None else None,
        "last_status": single.last_status if single is not None else None,
        "last_error": single.last_error if single is not None else None,
        "updated_at": single.updated_at if single is not None else None,
    }
    if form is not Format.TABLE:
        show_document({**said, "event": body}, form=form, zone=local)
        return
    show_row({name: value for name, value in said.items() if value}, zone=local)
    show_document(body, form=Format.JSON, zone=local)


@_deliveries.command(
    "retry",
    epilog="Examples: cdrhub deliveries retry crm · cdrhub deliveries retry crm 4711 · "
    "cdrhub deliveries retry crm --refused",
)
def retry(
    webhook: Name,
    positions: Annotated[
        list[int] | None,
        typer.Argument(metavar="POSITION", min=1, max=MAX_POSITION, help="Refused events to send again."),
    ] = None,
    config: ConfigFile = None,
    *,
    refused: Annotated[bool, typer.Option("--refused", help="Send all events again that the webhook refused.")] = False,
) -> None:
    """Try a failing or disabled webhook now; send refused events again if they are named or --refused is given.

    Its schedule starts again. Waiting events follow once it accepts one.
    """
    if positions and refused:
        raise UsageError("name positions, or give --refused for all")
    settings = loaded(config)
    from cdrhub.broadcast.deliveries import ask_refused, refused_counts, try_now

    with opened(settings) as database:
        _known(database, settings, webhook)
        store, now = database.store, datetime.now(UTC)
        before = database.run(try_now(store.database, webhook, now=now))
        asked = 0
        if positions or refused:
            chosen = list(dict.fromkeys(positions or ()))
            asked = database.run(ask_refused(store.database, webhook, chosen, now=now))
            if asked < len(chosen):
                typer.echo(f"{len(chosen) - asked} of them it did not refuse: cdrhub deliveries list {webhook}")
        left = database.read(refused_counts).get(webhook, 0)
    state = before.health.state.value
    typer.echo(f"{webhook} is healthy" if state == "healthy" else f"{webhook} was {state}: it is tried now")
    if asked:
        typer.echo(f"{counted(asked, 'refused event')} will be sent again")
    if left:
        typer.echo(f"{counted(left, 'event')} it refused: send again with cdrhub deliveries retry {webhook} --refused")


@_deliveries.command(
    "again",
    epilog="Examples: cdrhub deliveries again crm --since yesterday · cdrhub deliveries again crm --from 47 --to 80",
)
def again(
    webhook: Name,
    config: ConfigFile = None,
    *,
    first: Annotated[
        int | None, typer.Option("--from", metavar="POSITION", min=1, max=MAX_POSITION, help="From this position on.")
    ] = None,
    last: Annotated[
        int | None, typer.Option("--to", metavar="POSITION", min=1, max=MAX_POSITION, help="To this one, inclusive.")
    ] = None,
    since: SinceOption = None,
    until: UntilOption = None,
    kind: Annotated[
        str, typer.Option("--type", metavar="PATTERN", help="Only events of these types, e.g. call.* or case.paused.")
    ] = "*",
    timezone: ZoneOption = "UTC",
) -> None:
    """Send events again: the same bodies and ids as before, in order, by position or by time.

    Receivers recognise them by their ids. A new webhook can get earlier events this way. Events that wait for it anyway
    are left out.
    """
    if first is None and last is None and since is None and until is None:
        raise UsageError("say which: --from and --to for positions, --since and --until for times")
    if first is not None and last is not None and first > last:
        raise UsageError(f"--from {first} lies behind --to {last}")
    from cdrhub.broadcast.events import TYPES

    if not any(fnmatchcase(known, kind) for known in TYPES):
        raise UsageError(f"--type: {kind!r} matches no event: write e.g. call.* or case.paused (docs/events.md)")
    when = span(since, until, read_zone(timezone))
    settings = loaded(config)
    endpoint = _endpoint(settings, webhook)
    if endpoint is None:
        raise _unknown(settings, webhook)
    from cdrhub.broadcast.deliveries import ask_again

    with opened(settings) as database:
        row = _known(database, settings, webhook)
        events = _log(database)
        reach = database.run(events.between(when.since, when.until))
        chosen = _Range(first=max(first or 1, reach.oldest), last=min(last or MAX_POSITION, reach.newest, row.cursor))
        if chosen.size > MAX_AGAIN:
            raise UsageError(f"that is positions {chosen.first} to {chosen.last}: at most {MAX_AGAIN} at once")
        asked = 0
        for page in database.each(_pages(events, chosen)):
            wanted = [event for event in page if fnmatchcase(event.type, kind) and event in endpoint.selection]
            if wanted:
                now = datetime.now(UTC)
                asked += database.run(ask_again(database.store.database, webhook, wanted, now=now))
    if not asked:
        typer.echo(f"nothing there is for {webhook}, or it waits anyway: nothing is sent again")
        return
    typer.echo(
        f"{counted(asked, 'event')} of positions {chosen.first} to {chosen.last} will be sent to {webhook} again"
    )
    if row.health.state.value == "disabled":
        typer.echo(f"{webhook} is disabled, so they wait: cdrhub deliveries retry {webhook}")


@dataclass(frozen=True, kw_only=True, slots=True)
class _Range:
    """Positions from `first` to `last`, both inclusive."""

    first: int
    last: int

    @property
    def size(self) -> int:
        return max(self.last - self.first + 1, 0) if self.first else 0


def _log(database: Opened) -> EventLog:
    from cdrhub.broadcast.log import EventLog

    return EventLog(database.store.database)


async def _pages(events: EventLog, chosen: _Range) -> AsyncIterator[list[Event]]:
    position = chosen.first - 1
    while position < chosen.last:
        found = [event for event in await events.after(position, limit=AT_ONCE) if event.position <= chosen.last]
        if not found:
            return
        position = found[-1].position
        yield found


def _endpoint(settings: Config, name: str) -> Endpoint | None:
    return next((one for one in settings.broadcast.endpoints() if one.name == name), None)


def _unknown(settings: Config, name: str) -> NotFound:
    from cdrhub.config.problems import nearest

    names = [hook.name for hook in settings.broadcast.webhooks]
    if not names:
        return NotFound(f"{settings.file} has no [[broadcast.webhooks]] (docs/events.md)")
    return NotFound(f"there is no webhook {name!r} in {settings.file}{nearest(name, names)}")


def _known(database: Opened, settings: Config, name: str) -> EndpointRow:
    """The row of a webhook; NotFound says whether it is misspelt, or new."""
    from cdrhub.broadcast.deliveries import endpoints

    found = {row.name: row for row in database.read(endpoints)}
    if name in found:
        return found[name]
    if _endpoint(settings, name) is None:
        raise _unknown(settings, name)
    raise NotFound(f"no daemon has delivered to {name} yet: start or reload it")


def _what_helps(webhooks: Sequence[Mapping[str, Any]]) -> list[str]:
    """What can be done about webhooks that fail, are disabled or refused events."""
    from cdrhub.broadcast.health import EndpointState

    hints, ill = [], (EndpointState.FAILING, EndpointState.DISABLED)
    if stuck := [hook["webhook"] for hook in webhooks if hook["state"] in ill]:
        hints.append(f"to try one again now: cdrhub deliveries retry {stuck[0]}")
    if refusing := [hook["webhook"] for hook in webhooks if hook.get("refused")]:
        hints.append(f"to send refused events again: cdrhub deliveries retry {refusing[0]} --refused")
    return hints


async def _webhooks(database: Opened, settings: Config) -> list[dict[str, Any]]:
    from cdrhub.broadcast.deliveries import endpoints, oldest_waiting, refused_counts

    configured = [hook.name for hook in settings.broadcast.webhooks]
    newest = (await _log(database).reach()).newest
    rows: list[dict[str, Any]] = []
    async with database.store.database.connect() as connection:
        refused = await refused_counts(connection)
        found = {row.name: row for row in await endpoints(connection)}
        for name in dict.fromkeys([*configured, *found]):
            row = found.get(name)
            if row is None:
                rows.append({"webhook": name, "state": "new"})
                continue
            rows.append(
                {
                    "webhook": name,
                    "state": row.health.state.value if name in configured else "not configured",
                    "waiting": max(newest - row.cursor, 0),
                    "oldest_waiting": await oldest_waiting(connection, row.cursor),
                    "refused": refused.get(name, 0),
                    "next_at": row.health.next_at,
                    "last_status": row.health.last_status,
                    "last_error": row.health.last_error,
                    "cursor": row.cursor,
                    "attempt": row.health.attempt,
                    "failing_since": row.health.failing_since,
                    "updated_at": row.updated_at,
                }
            )
    return rows


async def _singles(database: Opened, name: str, *, limit: int) -> list[dict[str, Any]]:
    from cdrhub.broadcast.deliveries import listed
    from cdrhub.broadcast.render import cloud_event

    async with database.store.database.connect() as connection:
        singles = await listed(connection, name, limit=limit)
    events: dict[int, Event] = {}
    for some in in_parts(singles, AT_ONCE):
        found = await _log(database).at([single.position for single in some])
        events |= {event.position: event for event in found}
    rows = []
    for single in singles:
        event = events.get(single.position)
        document = cloud_event(event) if event is not None else {}
        rows.append(
            {
                "webhook": name,
                "position": single.position,
                "state": single.state.value,
                "type": document.get("type"),
                "subject": document.get("subject"),
                "attempts": single.attempts,
                "last_status": single.last_status,
                "last_error": single.last_error,
                "updated_at": single.updated_at,
                "stored_at": event.stored_at if event is not None else None,
                "event_id": document.get("id"),
            }
        )
    return rows


async def _event(database: Opened, position: int) -> Event:
    found = await _log(database).at([position])
    if not found:
        reach = await _log(database).reach()
        raise NotFound(f"there is no event at position {position}: there are {reach.oldest} to {reach.newest}")
    return found[0]


def _standing(event: Event, row: EndpointRow, single: Delivery | None, endpoint: Endpoint | None) -> str:
    """What became of an event, in words."""
    if single is not None:
        return single.state.value
    if endpoint is not None and event not in endpoint.selection:
        return "not wanted"
    return "delivered" if event.position <= row.cursor else "waiting"
