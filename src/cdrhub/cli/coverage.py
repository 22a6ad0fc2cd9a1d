"""`cdrhub coverage`: when each source was heard, and when it was not."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime, timedelta

import typer

from cdrhub.cli.database import opened
from cdrhub.cli.moments import read_zone
from cdrhub.cli.options import (
    ConfigFile,
    FormatOption,
    SinceOption,
    SourceOption,
    UntilOption,
    ZoneOption,
    known_or_found,
    loaded,
    span,
)
from cdrhub.cli.output import Format, Listing, show

COLUMNS = ("source", "state", "since", "until", "hub", "detail")
DEFAULT_SPAN = timedelta(days=7)


def register(app: typer.Typer) -> None:
    """Add this module's command to `app`."""
    app.command(epilog="Examples: cdrhub coverage · cdrhub coverage --source lagos --since yesterday --format csv")(
        coverage
    )


def coverage(
    config: ConfigFile = None,
    *,
    since: SinceOption = None,
    until: UntilOption = None,
    source: SourceOption = None,
    form: FormatOption = Format.TABLE,
    timezone: ZoneOption = "UTC",
) -> None:
    """Show what each source saw and when it was blind; the last seven days unless --since says otherwise.

    `connected` and `idle`: calls were or would have been heard. `quiet`: connected, but silent for too long. `blind`:
    no hub listened, calls may be missing. `backfilled`: a blind time whose records were read later. An interval without
    an end is still going on.
    """
    local = read_zone(timezone)
    when = span(since, until, local)
    settings = loaded(config)
    begin = when.since or (when.until or datetime.now(UTC)) - DEFAULT_SPAN
    from cdrhub.store.coverage import stretches

    with opened(settings) as database:
        found = database.run(stretches(database.store, since=begin, until=when.until, source=source))
    rows = [asdict(stretch) for stretch in found]
    listing = Listing(columns=COLUMNS, rows=rows, yields=("hub", "detail"), empty="nothing was noted in this time")
    known_or_found(settings, source, found=show(listing, form=form, zone=local))
