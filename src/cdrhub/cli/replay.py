"""`cdrhub replay`: old calls and states of agents made anew from their records, by this version's decoders."""

from __future__ import annotations

import sys
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping
from contextlib import nullcontext
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING, Annotated, Any
from zoneinfo import ZoneInfo

import typer

from cdrhub.cli.database import opened
from cdrhub.cli.failure import Exit, say
from cdrhub.cli.moments import read_zone
from cdrhub.cli.options import (
    ConfigFile,
    FormatOption,
    SinceOption,
    SourceOption,
    UntilOption,
    WithConfig,
    ZoneOption,
    loaded,
    span,
)
from cdrhub.cli.output import Format, Listing, show, unread
from cdrhub.cli.progress import stage, stages
from cdrhub.errors import UsageError

if TYPE_CHECKING:
    from cdrhub.store.replay import Difference

COLUMNS = ("what", "source", "call_key", "call_id", "column", "before", "after")
BRIEF = ("what", "source", "call_key", "column", "before", "after")
ORDER = ("created", "changed", "withdrawn", "suspended", "failed")


def register(app: typer.Typer) -> None:
    """Add this module's command to `app`."""
    app.command(
        epilog="Examples: cdrhub replay --since 2026-03-01 --dry-run · "
        "cdrhub replay --since 2026-03-01 --source lagos --with-config current"
    )(replay)


def replay(
    config: ConfigFile = None,
    *,
    since: SinceOption = None,
    until: UntilOption = None,
    source: SourceOption = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would change.")] = False,
    announce: Annotated[
        bool, typer.Option("--announce", help="Tell webhooks and the live feed which calls changed.")
    ] = False,
    with_config: Annotated[
        WithConfig,
        typer.Option("--with-config", help="The settings under which the records came, or the current ones."),
    ] = WithConfig.THEN,
    form: FormatOption = Format.TABLE,
    timezone: ZoneOption = "UTC",
) -> int:
    """Rebuild calls from their records, read states of agents again, and show what changes, field by field.

    --since and --until compare the time at which the records were received. Records are read with the settings under
    which they came, so that a later change of field order or zone cannot shift old columns; --with-config current
    uses the current settings instead. A call that is left without records is withdrawn: it is kept, hidden, and names
    its replacement. A second replay changes nothing. Exit code 1: some calls could not be rebuilt; they stay as they
    are.

    No events are sent without --announce; with --dry-run it says how many there would be. No number is dialled
    either way. A person who turns out to have answered is not dialled any more; events are sent about that case and
    its call.
    """
    if since is None and until is None and source is None:
        raise UsageError("say which: --since, --until or --source (everything: --since 1970-01-01)")
    local = read_zone(timezone)
    when = span(since, until, local)
    settings = loaded(config, source=source)
    from cdrhub.redial.retelling import retell
    from cdrhub.store.agent_replay import replay_states
    from cdrhub.store.replay import replay as replayed

    found: Counter[str] = Counter()
    events: Counter[str] = Counter()
    shown = partial(_show, form=form, zone=local)
    with opened(settings) as database, stages() as bar:
        if not dry_run:
            database.run(database.reader.remember(database.store))
        reread = database.reader.current if with_config is WithConfig.CURRENT else database.reader.item
        folded = replayed(
            database.store,
            reread=reread,
            since=when.since,
            until=when.until,
            source=source,
            dry_run=dry_run,
            announce=partial(retell, tell=announce),
            progress=stage(bar, "calls", None).reached if sys.stderr.isatty() else None,  # which costs a count of all
        )
        states = replay_states(
            database.store, reread=reread, since=when.since, until=when.until, source=source, dry_run=dry_run
        )
        rows: Iterable[Mapping[str, Any]] = _rows(chain(database.each(folded), database.each(states)), found, events)
        if form is Format.TABLE:
            rows = list(rows)  # drawn when the bar is gone, for both may be on one terminal
        else:
            with nullcontext() if dry_run else unread():
                shown(rows)
            deque(rows, maxlen=0)  # what nobody reads any more is replayed all the same
    if form is Format.TABLE:
        with unread():
            shown(rows)
    if found:
        counts = ", ".join(f"{found[word]} {word}" for word in ORDER if found[word])
        told = f"; {_events(events, dry_run=dry_run)}" if announce or events else ""
        say(f"{'would be ' if dry_run else ''}{counts}{told}")
    if found["failed"]:
        say("what failed stays as it is; please report it with what is said of its records")
    return Exit.DIFFERENT if found["failed"] else Exit.OK


def _show(rows: Iterable[Mapping[str, Any]], *, form: Format, zone: ZoneInfo) -> None:
    show(Listing(columns=COLUMNS, brief=BRIEF, rows=rows, empty="nothing differs"), form=form, zone=zone)


def _events(events: Counter[str], *, dry_run: bool) -> str:
    """How many events tell of it, of which types."""
    count = events.total()
    said = f"{count} event{'' if count == 1 else 's'}{' would be' if dry_run else ''} told"
    return f"{said}: {', '.join(f'{events[kind]} {kind}' for kind in sorted(events))}" if events else said


def _rows(differences: Iterable[Difference], found: Counter[str], events: Counter[str]) -> Iterator[Mapping[str, Any]]:
    """One row for each field; counts the calls in `found`, and what is told in `events`."""
    for difference in differences:
        found[difference.what] += 1
        if difference.event is not None:
            events[difference.event] += 1
        for column, (before, after) in difference.fields.items():
            yield {
                "what": difference.what,
                "source": difference.source,
                "call_key": difference.call_key,
                "call_id": difference.call_id,
                "column": column,
                "before": before,
                "after": after,
            }
