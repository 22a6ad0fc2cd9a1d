"""The commands and their groups."""

from __future__ import annotations

from typing import Annotated

import typer

from cdrhub import __version__
from cdrhub.cli import (
    agents,
    calls,
    cases,
    coverage,
    deliveries,
    demo,
    do_not_call,
    importing,
    redial,
    replay,
    service,
    simulate,
    suspense,
)

app = typer.Typer(
    name="cdrhub",
    help="Call detail records from every phone system of a contact centre in one calls table.",
    epilog="Examples: cdrhub check · cdrhub run · cdrhub calls --since today · cdrhub suspense list",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["--help", "-h"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"cdrhub {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    _version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Call detail records from every phone system of a contact centre in one calls table."""


service.register(app)
calls.register(app)
agents.register(app)
cases.register(app)
redial.register(app)
do_not_call.register(app)
suspense.register(app)
replay.register(app)
importing.register(app)
coverage.register(app)
deliveries.register(app)
simulate.register(app)
demo.register(app)
