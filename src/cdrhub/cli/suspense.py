"""`cdrhub suspense`: records that could not be understood, and what people do about them."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import tempfile
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cdrhub.cli.database import opened
from cdrhub.cli.failure import Exit, say
from cdrhub.cli.moments import read_zone
from cdrhub.cli.options import (
    MAX_LIMIT,
    ActorOption,
    ConfigFile,
    FormatOption,
    SourceOption,
    WithConfig,
    ZoneOption,
    actor,
    bounded,
    known_or_found,
    loaded,
)
from cdrhub.cli.output import Format, Listing, counted, record_row, refuse_csv, show, show_document, show_row
from cdrhub.cli.plain import plain
from cdrhub.cli.progress import stage, stages
from cdrhub.errors import CdrhubError, Reason, UsageError

if TYPE_CHECKING:
    from cdrhub.store import Store

BRIEF = ("id", "source", "received_at", "reason", "detail")
COLUMNS = (*BRIEF, "content_type", "body", "repaired_body", "attributes")
MAX_REMAINING_SHOWN = 20  #: records that a replay could not repair
MAX_NUMBER = 2**63 - 1  #: of a record, in every database
MAX_REPAIRED = 16 * 1024**2  #: bytes of a repaired body

_suspense = typer.Typer(
    help="Records that could not be understood: kept, with a reason, until somebody repairs or discards them.",
    no_args_is_help=True,
    epilog="Examples: cdrhub suspense list · cdrhub suspense show 17 · cdrhub suspense edit 17 · "
    "cdrhub suspense replay --all · cdrhub suspense discard 17 --why 'a port scan'",
)

ReasonOption = Annotated[
    Reason | None, typer.Option("--reason", metavar="WORD", help=f"Only records suspended for: {', '.join(Reason)}.")
]
Number = Annotated[int, typer.Argument(metavar="ID", min=1, max=MAX_NUMBER, help="The record's number.")]
Numbers = Annotated[
    list[int] | None,
    typer.Argument(metavar="ID", min=1, max=MAX_NUMBER, help="Numbers of records, from `suspense list`."),
]
AllOption = Annotated[bool, typer.Option("--all", help="All in suspense, of --source and --reason if given.")]


def register(app: typer.Typer) -> None:
    """Add this module's commands to `app`."""
    app.add_typer(_suspense, name="suspense")


@_suspense.command("list", epilog="Example: cdrhub suspense list --source lagos --reason wrong_field_count")
def list_suspended(
    config: ConfigFile = None,
    *,
    source: SourceOption = None,
    reason: ReasonOption = None,
    limit: Annotated[
        int, typer.Option("--limit", min=1, max=MAX_LIMIT, help="At most this many, the oldest first.")
    ] = 100,
    form: FormatOption = Format.TABLE,
    timezone: ZoneOption = "UTC",
) -> None:
    """List the records in suspense in the order of their numbers, the oldest first, each with its reason."""
    local = read_zone(timezone)
    settings = loaded(config)
    from cdrhub.store.suspense import listed

    with opened(settings) as database:
        found = database.run(listed(database.store, source=source, reason=reason, limit=limit))
    rows = [record_row(record) for record in found]
    listing = Listing(columns=COLUMNS, brief=BRIEF, rows=rows, yields=("source",), empty="nothing is in suspense")
    count = show(listing, form=form, zone=local)
    known_or_found(settings, source, found=count)
    if count == limit and form is Format.TABLE:
        say(f"these are the oldest {limit}; more with --limit")


@_suspense.command("show", epilog="Example: cdrhub suspense show 17")
def show_record(
    number: Number,
    config: ConfigFile = None,
    *,
    form: FormatOption = Format.TABLE,
    timezone: ZoneOption = "UTC",
) -> None:
    """Show one record whole: its bytes, why it is in suspense, and who did what to it."""
    refuse_csv(form, of="a record with its audit")
    local = read_zone(timezone)
    settings = loaded(config)
    from cdrhub.store.rows import SUSPENDED
    from cdrhub.store.suspense import shown

    with opened(settings) as database:
        found, acts = database.run(shown(database.store, number))
    record, audit = record_row(found), [asdict(act) for act in acts]
    if form is not Format.TABLE:
        whole = {**record, "audit": audit}
        show_document(whole, form=form, zone=local)
        return
    show_row({name: value for name, value in record.items() if value}, zone=local, title="Record")
    done = ("at", "actor", "action", "why")
    show(Listing(columns=done, rows=audit, title="Audit", empty="nobody touched it yet"), form=form, zone=local)
    if found.state == SUSPENDED and found.repaired_body is not None:
        say(f"the reason is that of the bytes as they came; try the repaired ones: cdrhub suspense replay {number}")


@_suspense.command(
    "edit",
    epilog="Examples: cdrhub suspense edit 17 · cdrhub suspense edit 17 --from-file fixed.txt --why 'comma in a name'",
)
def edit(
    number: Number,
    config: ConfigFile = None,
    *,
    from_file: Annotated[
        Path | None, typer.Option("--from-file", metavar="FILE", help="The repaired bytes; - is standard input.")
    ] = None,
    why: Annotated[str | None, typer.Option("--why", help="Why, for the audit.")] = None,
    as_whom: ActorOption = None,
) -> None:
    """Repair the bytes of a record, in $VISUAL or $EDITOR unless --from-file gives them.

    The original is kept beside the repaired bytes, and it is noted who did it. Nothing becomes a call by this:
    `cdrhub suspense replay ID` tries again.
    """
    bounded(why=why)
    who = actor(as_whom)
    settings = loaded(config)
    from cdrhub.store import suspense

    with opened(settings) as database:
        record = database.run(suspense.in_suspense(database.store, number))
        before = record.repaired_body or record.body or b""
        after = _given(from_file) if from_file is not None else _edited(before, number)
        if after == before:
            typer.echo(f"record {number} is unchanged")
            return
        try:
            database.run(suspense.edit(database.store, number, after, actor=who, why=why, seen=record))
        except CdrhubError:
            if from_file is None:
                say(f"what you wrote is kept in {_kept(after, number)}; give it again with --from-file")
            raise
    typer.echo(f"record {number} is repaired; try it with: cdrhub suspense replay {number}")


@_suspense.command(
    "replay", epilog="Examples: cdrhub suspense replay 17 18 · cdrhub suspense replay --source lagos --all"
)
def replay(
    numbers: Numbers = None,
    config: ConfigFile = None,
    *,
    all_of_them: AllOption = False,
    source: SourceOption = None,
    reason: ReasonOption = None,
    with_config: Annotated[
        WithConfig, typer.Option("--with-config", help="The current settings, or those under which the records came.")
    ] = WithConfig.CURRENT,
    why: Annotated[str | None, typer.Option("--why", help="Why, for the audit.")] = None,
    as_whom: ActorOption = None,
) -> int:
    """Decode records again, repaired or not: what can be understood now becomes calls, the rest stays in suspense (exit
    1).

    The settings are those of today's configuration: a corrected `fields` or `timezone` is often the repair.
    """
    _require_a_choice(numbers, all_of_them=all_of_them, source=source, reason=reason)
    bounded(why=why)
    who = actor(as_whom)
    settings = loaded(config, source=source)
    from cdrhub.store import suspense

    with opened(settings) as database, stages() as bar:
        for number in numbers or ():
            database.run(suspense.shown(database.store, number))  # one that does not exist is a slip of the hand
        reader = database.reader
        database.run(reader.remember(database.store))
        chosen = database.run(_chosen(database.store, numbers, source=source, reason=reason))
        reread = reader.current if with_config is WithConfig.CURRENT else reader.item
        reached = stage(bar, "records", len(chosen)).reached
        done = database.run(
            suspense.replay(database.store, chosen, reread=reread, actor=who, why=why, progress=reached)
        )
    typer.echo(
        f"{counted(len(chosen), 'record')}: {done.applied} applied, {done.ignored} without a call, "
        f"{len(done.remaining)} still in suspense, {done.skipped} not in suspense"
    )
    for number, word, detail in done.remaining[:MAX_REMAINING_SHOWN]:
        typer.echo(plain(f"  {number}: {word}: {detail}"))
    if len(done.remaining) > MAX_REMAINING_SHOWN:
        typer.echo(f"  … and {len(done.remaining) - MAX_REMAINING_SHOWN} more: cdrhub suspense list")
    return Exit.DIFFERENT if done.remaining else Exit.OK


def _require_a_choice(
    numbers: list[int] | None, *, all_of_them: bool, source: str | None, reason: Reason | None
) -> None:
    if bool(numbers) == (all_of_them or source is not None or reason is not None):
        raise UsageError("say which: numbers of records, or --all, --source or --reason")


async def _chosen(store: Store, numbers: list[int] | None, *, source: str | None, reason: Reason | None) -> list[int]:
    """These numbers, each once, or those of everything in suspense that fits."""
    from cdrhub.store.suspense import AT_ONCE, listed

    if numbers:
        return list(dict.fromkeys(numbers))
    found: list[int] = []
    while page := await listed(store, source=source, reason=reason, after=found[-1] if found else 0, limit=AT_ONCE):
        found.extend(record.id for record in page)
    return found


@_suspense.command(
    "discard",
    epilog="Examples: cdrhub suspense discard 17 18 --why 'a port scan' · "
    "cdrhub suspense discard --source lagos --reason unparsable --why 'a port scan'",
)
def discard(
    numbers: Numbers = None,
    config: ConfigFile = None,
    *,
    all_of_them: AllOption = False,
    source: SourceOption = None,
    reason: ReasonOption = None,
    why: Annotated[str, typer.Option("--why", help="Why they are not wanted, for the audit.")],
    as_whom: ActorOption = None,
) -> None:
    """Put records aside for good: they are kept and no longer listed."""
    _require_a_choice(numbers, all_of_them=all_of_them, source=source, reason=reason)
    if not why.strip():
        raise UsageError("--why: say why they are not wanted")
    bounded(why=why)
    who = actor(as_whom)
    settings = loaded(config)
    from cdrhub.store import suspense

    with opened(settings) as database:
        chosen = database.run(_chosen(database.store, numbers, source=source, reason=reason))
        known_or_found(settings, source, found=len(chosen))
        count = database.run(suspense.discard(database.store, chosen, actor=who, why=why.strip()))
    typer.echo(f"{counted(count, 'record')} discarded")


def _given(file: Path) -> bytes:
    with nullcontext(sys.stdin.buffer) if str(file) == "-" else file.open("rb") as stream:
        content = stream.read(MAX_REPAIRED + 1)
    if not content.strip():
        raise UsageError(f"--from-file: {file} is empty; to put a record aside use `cdrhub suspense discard`")
    if len(content) > MAX_REPAIRED:
        raise UsageError(f"--from-file: {file} has more than {MAX_REPAIRED} bytes")
    return content


def _kept(written: bytes, number: int) -> str:
    """The file in which what somebody wrote is left, readable by its owner only."""
    with tempfile.NamedTemporaryFile(prefix=f"cdrhub-record-{number}-", suffix=".txt", delete=False) as file:
        file.write(written)
    return file.name


def _edited(before: bytes, number: int) -> bytes:
    """What an editor makes of `before`. The file is readable by its owner only and is removed afterwards."""
    editor = os.environ.get("VISUAL") or os.environ.get("EDITOR")
    if not editor:
        raise UsageError("no editor: set EDITOR, or give the repaired bytes with --from-file FILE")
    with tempfile.TemporaryDirectory(prefix="cdrhub-") as folder:
        file = Path(folder) / f"record-{number}.txt"
        file.write_bytes(before)
        try:
            done = subprocess.run([*shlex.split(editor), str(file)], check=False)  # noqa: S603 - the user's own editor
        except (OSError, ValueError) as error:  # ValueError: of a quotation that is not closed
            why = error.strerror if isinstance(error, OSError) else error
            raise UsageError(f"the editor {editor!r} cannot be started: {why}") from error
        if done.returncode != 0:
            raise UsageError(f"the editor ended with {done.returncode}: the record is unchanged")
        if file.stat().st_size > MAX_REPAIRED:
            raise UsageError(f"the repaired record has more than {MAX_REPAIRED} bytes: the record is unchanged")
        after = file.read_bytes()
    # Editors end a file with a newline that the record did not have.
    if after.endswith(b"\n") and not before.endswith(b"\n"):
        after = after.removesuffix(b"\n").removesuffix(b"\r")
    if not after.strip():
        raise UsageError("the repaired record is empty; to put it aside use `cdrhub suspense discard`")
    return after
