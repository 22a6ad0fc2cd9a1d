"""`cdrhub replay`: old records, decoded again by this version's decoders."""

from __future__ import annotations

import sys
from enum import StrEnum
from typing import Annotated

import typer

from cdrhub.cli.database import with_store
from cdrhub.cli.options import (
    ActorOption,
    ConfigFile,
    FormatOption,
    SinceOption,
    SourceOption,
    UntilOption,
    ZoneOption,
    actor,
    known_source,
    loaded,
    span,
    zone,
)
from cdrhub.cli.output import Format, Listing, show
from cdrhub.errors import UsageError

COLUMNS = ("call_id", "source", "call_key", "column", "before", "after")


class WithConfig(StrEnum):
    """With which decode settings."""

    THEN = "then"
    CURRENT = "current"


def register(app: typer.Typer) -> None:
    """Add this module's command to `app`."""
    app.command(
        epilog="Examples: cdrhub replay --since 2026-03-01 --dry-run · "
        "cdrhub replay --since 2026-03-01 --until 2026-03-08 --source lagos --with-config current"
    )(replay)
