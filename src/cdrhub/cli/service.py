"""`cdrhub run`, `check`, `db upgrade`, `config schema`: what administrators of the service use."""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
from typing import TYPE_CHECKING, Annotated
from zoneinfo import ZoneInfo

import typer

from cdrhub.cli.database import missing_file, opened
from cdrhub.cli.failure import Exit, exit_code_of, say, spoken
from cdrhub.cli.options import ConfigFile, config_file, loaded
from cdrhub.cli.output import Format, Listing, counted, show, show_document
from cdrhub.cli.plain import plain
from cdrhub.errors import AddressUnavailable, ConfigError, SourceSignal, StoreUnavailable

if TYPE_CHECKING:
    from pathlib import Path

    from cdrhub.config import Config

LEFT_BEHIND_SECONDS = 5.0  #: after the daemon's end that the process may take for its own
MAX_PROPOSED = 20  #: lines of a directory file
_UTC = ZoneInfo("UTC")
_db = typer.Typer(help="The database's schema.", no_args_is_help=True, epilog="Example: cdrhub db upgrade")
_config = typer.Typer(
    help="The configuration file.", no_args_is_help=True, epilog="Example: cdrhub config schema > cdrhub.schema.json"
)


def register(app: typer.Typer) -> None:
    """Add this module's commands to `app`."""
    app.command(epilog="Example: cdrhub run --config /etc/cdrhub/config.toml")(run)
    app.command(epilog="Examples: cdrhub check · cdrhub check --online -c config.toml")(check)
    app.add_typer(_db, name="db")
    app.add_typer(_config, name="config")


def run(config: ConfigFile = None) -> None:
    """Run the daemon until SIGTERM.

    On SIGTERM and SIGINT it stops accepting records, writes the accepted ones to the database and exits 0. On SIGHUP it
    reads the configuration again and applies all of it or nothing.
    """
    file = config_file(config)
    settings = loaded(file)

    from cdrhub.cli.logs import configure
    from cdrhub.daemon import run as run_daemon

    configure(settings.hub)

    async def work() -> None:
        try:
            await run_daemon(settings, lambda: loaded(file))
        except BaseException as error:
            _leave_at_last(error)
            raise
        _leave_at_last(None)

    asyncio.run(work())


def _leave_at_last(error: BaseException | None) -> None:
    """End the process a little later as `error` would have ended it, whatever still runs in it: journal and database
    are closed, and a task or thread of a plug-in that does not end would keep it alive until somebody kills it."""
    import structlog

    def ended() -> None:
        if error is not None:
            raise error

    def leave() -> None:
        log = structlog.get_logger(__name__)
        log.error("something that a source began does not end", action="left_behind", seconds=LEFT_BEHIND_SECONDS)
        status: int = Exit.INTERNAL
        with contextlib.suppress(asyncio.CancelledError):  # some other task has ended the loop
            status = exit_code_of(ended)
        os._exit(status)

    leaving = threading.Timer(LEFT_BEHIND_SECONDS, leave)
    leaving.daemon = True
    leaving.start()


def check(
    config: ConfigFile = None,
    *,
    online: Annotated[
        bool,
        typer.Option(
            "--online", help="Also try the database, ports and phone systems, and show what each source promises."
        ),
    ] = False,
) -> int:
    """Check the configuration: exit 0 if the daemon would start with it, 78 if not.

    Every problem is one line with file, line and key. --online also tries the journal's folder, the ports, the
    database, and the phone systems that can be checked without taking records: exit 69 if one is not available, 78 if
    the database has another schema. It also shows the delivery contract of each source.
    """
    settings = loaded(config)
    from cdrhub.web.tls import server_context

    _build_sources(settings)
    server_context(settings.http)
    for warning in _warnings(settings):
        say(f"{settings.file}: {warning}")
    typer.echo(f"{settings.file}: good, {counted(len(settings.sources), 'source')}")
    _show_sources(settings)
    if not online:
        return Exit.OK
    _show_contracts(settings)
    failures = [*_journal_failures(settings), *_port_failures(settings), *_source_failures(settings)]
    for failure in failures:
        say(failure)
    _try_database(settings)
    return Exit.UNAVAILABLE if failures else Exit.OK


@_db.command("upgrade", epilog="Example: cdrhub db upgrade")
def upgrade(config: ConfigFile = None) -> None:
    """Bring the database's schema to this version. Calls are kept; only one upgrade runs at a time.

    Make a backup first. A schema that already has this version is left as it is.
    """
    settings = loaded(config)
    from cdrhub.store import Store

    async def work() -> tuple[str | None, str]:
        store = Store.open(settings.database.url.get_secret_value(), connections=1)
        try:
            return await store.upgrade()
        finally:
            await store.close()

    before, after = asyncio.run(work())
    if before == after:
        typer.echo(f"the database has the schema of this version already ({after})")
    else:
        typer.echo(f"the database's schema is now {after} (was {before or 'empty'})")


@_config.command("schema", epilog="Example: cdrhub config schema > cdrhub.schema.json")
def schema() -> None:
    """Print the JSON Schema of the TOML file, with the tables of every installed phone system.

    Editors with a TOML language server check and complete the file with it.
    """
    from cdrhub.config.schema import json_schema

    show_document(json_schema(), form=Format.JSON, zone=_UTC)


def _build_sources(config: Config) -> None:
    """Build every source as a start would, without connecting. ConfigError names those that refuse."""
    from cdrhub.sources.registry import system

    refused = []
    for name, source in config.sources.items():
        try:
            system(source.type).source(source)
        except ConfigError as error:
            refused.append(f"{config.file}: sources.{name}: {spoken(error)}")
    if refused:
        raise ConfigError("\n".join(refused))


def _warnings(config: Config) -> list[str]:
    """What is allowed and worth a thought."""
    from cdrhub.config import is_loopback
    from cdrhub.config.problems import nearest
    from cdrhub.config.published import published
    from cdrhub.web.tls import out_of_date

    warnings = [
        f"{where}: its secret is one of the documentation's, which everybody knows: make one of your own"
        for where in published(config)
    ]
    if (said := out_of_date(config.http)) is not None:
        warnings.append(f"http.tls_certificate: {said}: clients refuse it")
    if not (config.http.loopback_only or config.http.tls_certificate or config.http.trusted_proxies):
        warnings.append(
            "http.listen: tokens, secrets and records cross the network in clear: set `tls_certificate` and `tls_key`, "
            "or put a proxy before it and name it in `trusted_proxies`"
        )
    if not config.sources:
        warnings.append("there is no source: nothing will be received; add [sources.<name>]")
    for name, source in config.sources.items():
        open_to_all = [address for address in source.listen_addresses() if not is_loopback(address)]
        if open_to_all and not getattr(source, "allow", True):
            warnings.append(f"sources.{name}: everyone who reaches {open_to_all[0]} may send records: set `allow`")
        if getattr(source, "region", "") is None and config.redial.mode != "off":
            warnings.append(f"sources.{name}: set `region`: without it 0803… and +234 803… are two numbers to redial")
        warnings += [f"sources.{name}: {caution}" for caution in source.cautions()]
    tenants = {source.tenant for source in config.sources.values()} - {""}
    named = [(f"http.tokens: {token.name}", token.tenant) for token in config.http.tokens]
    named += [(f"broadcast.webhooks: {hook.name}", each) for hook in config.broadcast.webhooks for each in hook.tenants]
    warnings += [
        f"{where}: no source has the tenant {tenant!r}{nearest(tenant, tenants)}"
        for where, tenant in named
        if tenant and tenant not in tenants
    ]
    return warnings


def _show_sources(config: Config) -> None:
    rows = [
        {
            "source": name,
            "type": source.type,
            "mode": getattr(source, "mode", "http" if source.ingest_path else ""),
            "listens on": ", ".join(source.listen_addresses()) or (config.http.listen if source.ingest_path else ""),
            "calls of": config.owner(name),
            "tenant": source.tenant,
            "decode settings": config.revision(name),
        }
        for name, source in config.sources.items()
    ]
    if rows:
        show(Listing(columns=list(rows[0]), rows=rows), form=Format.TABLE, zone=_UTC)


def _show_contracts(config: Config) -> None:
    from cdrhub.sources.registry import system

    rows = []
    for name, source in config.sources.items():
        promise = system(source.type).delivery(source)
        rows.append(
            {
                "source": name,
                "acknowledged": promise.acknowledged,
                "sent again": promise.resent,
                "calls seen": "live" if promise.speaks == "live" else "at their end",
                "what is lost when": promise.lost,
            }
        )
    if rows:
        show(Listing(columns=list(rows[0]), rows=rows, title="Delivery contracts"), form=Format.TABLE, zone=_UTC)


def _existing(folder: Path) -> tuple[Path, bool]:
    """`folder` or the nearest one above it that exists, and whether a start may make files there."""
    found = next(one for one in (folder, *folder.parents) if os.path.exists(one))  # noqa: PTH110 - raises nothing
    return found, found.is_dir() and os.access(found, os.W_OK | os.X_OK)


def _journal_failures(config: Config) -> list[str]:
    wanted = config.hub.data_dir.absolute()
    found, writable = _existing(wanted)
    if writable:
        return []
    cannot = f"{wanted} cannot be made: " if found != wanted else ""
    return [f"hub.data_dir: {cannot}{found} is not writable"]


def _try_database(config: Config) -> None:
    """Say how the database stands. StoreError, as a start would raise it: SchemaOutdated among them."""
    from cdrhub.store import Store, schema

    if (file := missing_file(config)) is not None:
        folder, writable = _existing(file.absolute().parent)
        if not writable:
            raise StoreUnavailable(f"{file} does not exist yet and cannot be made: {folder} is not writable")
        typer.echo(f"database: {file} does not exist yet; the first start makes it ({folder} is writable)")
        return

    async def revision() -> str | None:
        store = Store.open(config.database.url.get_secret_value(), connections=1)
        try:
            return await schema.checked(store.database)
        finally:
            await store.close()

    found = asyncio.run(revision())
    if found is None:
        typer.echo("database: reached; it is empty, the first start makes its schema")
    else:
        typer.echo(f"database: reached; its schema is this version's ({found})")
        _propose_entries(config)


def _propose_entries(config: Config) -> None:
    """Say which inside numbers a source's directory file should name, by what was seen of them."""
    from cdrhub.model.numbers import inside_number
    from cdrhub.store.calls import unnamed

    with opened(config) as database:
        found = database.run(unnamed(database.store))
    seen = [(source, inside_number(number), calls) for source, number, calls in found if source in config.sources]
    named = {(source, entry.number) for source, entries in config.entries.items() for entry in entries}
    for source, bare, calls in [row for row in seen if row[:2] not in named][:MAX_PROPOSED]:
        number = plain(bare)
        typer.echo(
            f"sources.{source}: {number} behaved like a queue or an IVR in {counted(calls, 'call')}, and nothing says "
            f"what it is: name it in the directory file, e.g. {number},queue,<name>,, or {number},ivr,<name>,,"
        )


def _port_failures(config: Config) -> list[str]:
    """Ports that cannot be had."""
    from cdrhub.listeners import bind

    wanted = {config.http.listen: "http.listen"}
    for name, source in config.sources.items():
        wanted.update(dict.fromkeys(source.listen_addresses(), f"sources.{name}.listen"))
    failures = []
    for address, key in wanted.items():
        try:
            bind(address, key=key).close()
        except (AddressUnavailable, ConfigError) as error:
            failures.append(spoken(error))
        else:
            typer.echo(f"{key}: {address} is free")
    return failures


def _source_failures(config: Config) -> list[str]:
    """Phone systems that cannot be reached, of those that can be tried without taking anything from them."""
    from cdrhub.sources.base import Probed
    from cdrhub.sources.registry import system

    failures = []
    for name, table in config.sources.items():
        try:
            source = system(table.type).source(table)
            if not isinstance(source, Probed):
                continue
            said = asyncio.run(source.probe())
        except SourceSignal as error:
            failures.append(f"sources.{name}: {spoken(error)}")
        else:
            typer.echo(f"sources.{name}: {plain(said)}")
    return failures
