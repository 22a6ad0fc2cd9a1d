"""Options that several commands share, and what they become."""

from __future__ import annotations

import os
import pwd
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from zoneinfo import ZoneInfo

import typer

from cdrhub.cli.moments import read_moment
from cdrhub.cli.output import Format
from cdrhub.errors import ConfigError, NotFound, UsageError

if TYPE_CHECKING:
    from cdrhub.config import Config

DEFAULT_FILES = (Path("config.toml"), Path("/etc/cdrhub/config.toml"))
MAX_LIMIT = 1_000_000

ConfigFile = Annotated[
    Path | None,
    typer.Option(
        "--config",
        "-c",
        envvar="CDRHUB_CONFIG",
        show_envvar=True,
        metavar="FILE",
        readable=False,  # one that is not is a wrong configuration like any other, and no misuse
        help="The configuration; default: ./config.toml, else /etc/cdrhub/config.toml.",
    ),
]
FormatOption = Annotated[Format, typer.Option("--format", "-f", help="How to show it.")]
ZoneOption = Annotated[str, typer.Option("--timezone", metavar="ZONE", help="IANA zone of the times shown and given.")]
SinceOption = Annotated[
    str | None, typer.Option("--since", metavar="TIME", help="From this moment on: 2026-03-01, today, yesterday, -2h.")
]
UntilOption = Annotated[
    str | None, typer.Option("--until", metavar="TIME", help="Before this moment (exclusive); written as --since.")
]
SourceOption = Annotated[str | None, typer.Option("--source", metavar="NAME", help="Only this source.")]
LimitOption = Annotated[int, typer.Option("--limit", min=1, max=MAX_LIMIT, help="At most this many, the newest first.")]
ActorOption = Annotated[
    str | None, typer.Option("--as", metavar="NAME", help="Who does it, for the audit; default: the user's name.")
]


class WithConfig(StrEnum):
    """With which decode settings old records are read."""

    THEN = "then"  #: those under which they came
    CURRENT = "current"  #: those of the configuration as it is now


@dataclass(frozen=True, kw_only=True, slots=True)
class Span:
    """A stretch of time: from `since`, before `until`, both UTC; None is open."""

    since: datetime | None
    until: datetime | None


def config_file(given: Path | None) -> Path:
    """The file given by option or environment, else the first default that exists. ConfigError if there is none."""
    if given is not None:
        return given
    unseen = None
    for candidate in DEFAULT_FILES:
        try:
            if candidate.is_file():
                return candidate
        except PermissionError:  # with `sudo -u` the folder is that of the user before
            unseen = candidate
    if unseen is not None:
        return unseen  # reading it tells why it cannot be
    raise ConfigError(
        "there is no configuration: give one with --config FILE or CDRHUB_CONFIG "
        f"(looked for {' and '.join(map(str, DEFAULT_FILES))}); config.example.toml shows what may stand in it"
    )


def loaded(given: Path | None, *, source: str | None = None) -> Config:
    """The configuration that a command works with; NotFound if it has no `source`, where one is named."""
    from cdrhub.config import load

    config = load(config_file(given), os.environ)
    if source is not None:
        known_source(config, source)
    return config


def subcommand_works(context: typer.Context) -> bool:
    """Whether a subcommand of a group that is a command itself does the work. UsageError for options that stand before
    its name: they would be lost."""
    name = context.invoked_subcommand
    given = (context.get_parameter_source(option) for option in context.params)
    if name is not None and any(source is not None and source.name == "COMMANDLINE" for source in given):
        raise UsageError(f"{context.command_path} {name}: write its options behind {name!r}")
    return name is not None


def span(since: str | None, until: str | None, zone: ZoneInfo) -> Span:
    """The stretch that --since and --until mean now. UsageError if it is empty."""
    now = datetime.now(UTC)
    begin = read_moment(since, zone=zone, now=now) if since is not None else None
    end = read_moment(until, zone=zone, now=now) if until is not None else None
    if begin is not None and end is not None and end <= begin:
        raise UsageError(f"--until ({until}) is not after --since ({since}): nothing lies between")
    return Span(since=begin, until=end)


def actor(given: str | None) -> str:
    """Who acts, for the audit: --as, else the name of the login, else that of the process's user."""
    name = given or next(filter(None, map(os.environ.get, ("SUDO_USER", "USER", "LOGNAME"))), None) or _user()
    if not name.strip():
        raise UsageError("who does this? give --as NAME for the audit")
    return name.strip()


def bounded(**texts: str | None) -> None:
    """Texts fit their columns. UsageError."""
    from cdrhub.model.update import MAX_TEXT
    from cdrhub.store.redial_tables import MAX_CODE
    from cdrhub.store.tables import MAX_DETAIL

    limits = {"reference": MAX_CODE, "why": MAX_DETAIL}
    for name, text in texts.items():
        if text is not None and (len(text) > limits.get(name, MAX_TEXT) or not text.isprintable()):
            raise UsageError(f"--{name}: one line of {limits.get(name, MAX_TEXT)} characters at most")


def names_given(**names: str | None) -> None:
    """UsageError where a name to filter by is blank, such as an unset variable of the shell: an empty list would look
    like an answer."""
    for option, name in names.items():
        if name is not None and not name.strip():
            raise UsageError(f"--{option}: a name is missing")


def _user() -> str:
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:  # a user that has no name on this machine, as in containers
        return ""


def known_or_found(config: Config, source: str | None, *, found: int) -> None:
    """NotFound where a list of one source is empty because there is no such source. Records of a source that was
    renamed, or taken out of the configuration, are listed as before."""
    if source is not None and not found:
        known_source(config, source)


def known_source(config: Config, name: str) -> None:
    """NotFound, with the nearest one, if there is no source called `name`."""
    from cdrhub.config.problems import nearest

    if name in config.sources:
        return
    if not config.sources:
        raise NotFound(f"{config.file} has no sources")
    raise NotFound(f"there is no source {name!r} in {config.file}{nearest(name, config.sources)}")
