"""`cdrhub suspense`: records that could not be understood, and what people do about them."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Annotated

import typer

from cdrhub.cli.database import with_store
from cdrhub.cli.options import (
    ActorOption,
    ConfigFile,
    FormatOption,
    LimitOption,
    SourceOption,
    ZoneOption,
    actor,
    known_source,
    loaded,
    zone,
)
from cdrhub.cli.output import Format, Listing, dumped, show, spoken_value
from cdrhub.errors import Reason, UsageError

BRIEF = ("id", "source", "received_at", "reason", "detail")
COLUMNS = (*BRIEF, "content_type", "body", "repaired_body", "attributes")
MAX_REPAIRED = 16 * 1024**2  #: bytes of a repaired body

_suspense = typer.Typer(
    help="Records that could not be understood: kept, with a reason, until somebody repairs or discards them.",
    no_args_is_help=True,
    epilog="Examples: cdrhub suspense list · cdrhub suspense show 17 · cdrhub suspense edit 17 · "
    "cdrhub suspense replay --all · cdrhub suspense discard 17 --why 'a port scan'",
)

ReasonOption = Annotated[Reason | None, typer.Option("--reason", help="Only records suspended for this reason.")]
Numbers = Annotated[list[int], typer.Argument(metavar="ID…", help="Numbers of records, from `suspense list`.")]


def register(app: typer.Typer) -> None:
    """Add this module's commands to `app`."""
    app.add_typer(_suspense, name="suspense")
