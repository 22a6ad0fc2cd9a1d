"""`cdrhub cases`: people to be reached, what is done for them, and why."""

from __future__ import annotations

import typer

from cdrhub.cli.cases import importing, looking, ordering

_cases = typer.Typer(
    help="People to be reached: their numbers, what was done for them, and why. The daemon dials them.",
    no_args_is_help=True,
    epilog="Examples: cdrhub cases import people.csv --source lagos · cdrhub cases dial C-1 --agent 101 · "
    "cdrhub cases explain C-1 · cdrhub cases list --state paused",
)


def register(app: typer.Typer) -> None:
    """Add this module's commands to `app`."""
    for module in (looking, ordering, importing):
        module.register(_cases)
    app.add_typer(_cases, name="cases")
