"""The commands and their groups."""

from __future__ import annotations

import inspect
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup
from typer.models import CommandInfo, TyperInfo

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

PANELS = {
    "The daemon": ("run", "check", "config", "db"),
    "Calls": ("calls", "agents", "coverage", "suspense", "replay", "import"),
    "Redial: one number after the other": ("cases", "redial", "do-not-call"),
    "Broadcast: who is told": ("deliveries",),
    "Without a phone system": ("demo", "simulate"),
}
"""The commands by what they are for, in the order of `cdrhub --help`."""


def _without_types(params: list[Any]) -> list[Any]:
    """Flags take no value, so the help of none says `<bool>` beside it."""
    for param in params:
        if getattr(param, "is_flag", False) and param.metavar is None:
            param.metavar = ""
    return params


class _Command(TyperCommand):
    """A command."""

    def get_params(self, ctx: Any) -> list[Any]:  # click's Context is not public
        return _without_types(list(super().get_params(ctx)))


class _Group(TyperGroup):
    """A group of commands."""

    def get_params(self, ctx: Any) -> list[Any]:
        return _without_types(list(super().get_params(ctx)))


class _ByPurpose(_Group):
    """The group of all commands, in the order of PANELS."""

    def list_commands(self, ctx: Any) -> list[str]:
        order = [name for names in PANELS.values() for name in names]
        return sorted(super().list_commands(ctx), key=order.index)


app = typer.Typer(
    name="cdrhub",
    cls=_ByPurpose,
    help="Calls of every phone system in one table; redialling; events for other programs.",
    epilog="Examples: cdrhub demo · cdrhub check --online · cdrhub run · cdrhub calls --since today · "
    "cdrhub cases explain C-1",
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
    """Calls of every phone system in one table; redialling; events for other programs."""


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


def _laid_out(group: typer.Typer) -> None:
    """Let the help of all commands of `group` flow: paragraphs are wrapped by the terminal, each example has a line.

    Typer's rich help keeps the line breaks of a docstring, and runs an epilog together.
    """
    infos: list[CommandInfo | TyperInfo] = [group.info, *group.registered_commands, *group.registered_groups]
    if group.registered_callback is not None:
        infos.append(group.registered_callback)
    for command in group.registered_commands:
        command.cls = _Command
    for below in group.registered_groups:
        below.cls = _Group
    for info in infos:
        if isinstance(info.epilog, str):
            info.epilog = _one_a_line(info.epilog)
        if inspect.isfunction(info.callback) and (text := inspect.getdoc(info.callback)):
            info.help = "\n\n".join(" ".join(paragraph.split()) for paragraph in text.split("\n\n"))
    for below in group.registered_groups:
        if below.typer_instance is not None:
            _laid_out(below.typer_instance)


def _one_a_line(epilog: str) -> str:
    """`Examples: a · b` with each example on a line of its own."""
    return epilog.replace(": ", ":\n  ", 1).replace(" · ", "\n  ")


def _put_into_panels() -> None:
    panels = {name: panel for panel, names in PANELS.items() for name in names}
    for command in app.registered_commands:
        command.rich_help_panel = panels[str(command.name or getattr(command.callback, "__name__", ""))]
    for group in app.registered_groups:
        group.rich_help_panel = panels[str(group.name)]


_laid_out(app)
_put_into_panels()

command = typer.main.get_command(app)
"""All of them, as the program runs them."""
