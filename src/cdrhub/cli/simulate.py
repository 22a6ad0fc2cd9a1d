"""`cdrhub simulate`: a simulated phone system that sends believable records to a real hub."""

from __future__ import annotations

import asyncio
import contextlib
from datetime import UTC, datetime
from enum import StrEnum
from itertools import islice
from typing import Annotated

import typer

from cdrhub.addresses import split_address
from cdrhub.cli.failure import Exit, say
from cdrhub.errors import UsageError

MAX_RATE = 100_000.0


class Layout(StrEnum):
    """How many fields a line of the simulated PBX has."""

    WITH_TYPES = "27"
    SHORT = "20"


_simulate = typer.Typer(help="Simulated phone systems that send believable records to a hub.", no_args_is_help=True)

Rate = Annotated[float, typer.Option("--rate", min=0.01, max=MAX_RATE, help="Records a second.")]
Count = Annotated[int | None, typer.Option("--count", min=1, help="Stop after this many records.")]
Seconds = Annotated[float | None, typer.Option("--seconds", min=0.1, help="Stop after this time.")]
Seed = Annotated[int, typer.Option("--seed", help="One seed gives one stream of records.")]
Broken = Annotated[float, typer.Option("--broken", min=0.0, max=1.0, help="Share of records that nobody can read.")]


def register(app: typer.Typer) -> None:
    """Add this module's commands to `app`."""
    app.add_typer(_simulate, name="simulate")


@_simulate.command(
    "voicenter",
    epilog="Example: cdrhub simulate voicenter --to http://127.0.0.1:8080/ingest/voicenter/SECRET",
)
def voicenter(
    to: Annotated[str, typer.Option("--to", metavar="URL", help="Where to push: the source's whole URL.")],
    *,
    rate: Rate = 10.0,
    count: Count = None,
    seconds: Seconds = None,
    seed: Seed = 1,
    broken: Broken = 0.0,
) -> int:
    """A Voicenter account that pushes CDRs as JSON, XML-RPC and forms.

    It sends again what is not acknowledged, and now and then what is. Ends with a summary; exit 1 if pushes were
    given up. Without --count and --seconds it goes on until Ctrl-C.
    """
    if not to.startswith(("http://", "https://")):
        raise UsageError(f"--to: {to!r} is not a URL: write http://127.0.0.1:8080/ingest/voicenter/SECRET")
    from cdrhub.sources.voicenter.simulate import Ledger, Sent, pushes, send  # noqa: PLC0415 - aiohttp is heavy

    ledger, sent = Ledger(), Sent()
    stream = islice(pushes(seed=seed, start=_now(), broken=broken, clock=_now), count)

    async def work() -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await send(stream, url=to, rate=rate, ledger=ledger, sent=sent)

    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(work())
    typer.echo(
        f"{sent.pushes} pushes: {sent.acknowledged} acknowledged, {sent.not_understood} not understood, "
        f"{sent.resends} sent again, {sent.given_up} given up; {len(ledger.calls)} calls, {ledger.repeated} repeated"
    )
    if sent.last_error and sent.resends + sent.given_up:
        say(f"the last error: {sent.last_error}")
    return Exit.DIFFERENT if sent.given_up else Exit.OK


@_simulate.command("3cx", epilog="Example: cdrhub simulate 3cx --to 127.0.0.1:5555 --rate 50 --seconds 60")
def threecx(
    to: Annotated[str, typer.Option("--to", metavar="HOST:PORT", help="Where the source listens.")],
    *,
    rate: Rate = 10.0,
    count: Count = None,
    seconds: Seconds = None,
    seed: Seed = 1,
    region: Annotated[
        str, typer.Option("--region", metavar="COUNTRY", help="Country of the numbers outside, ISO 3166-1.")
    ] = "FR",
    layout: Annotated[
        Layout, typer.Option("--fields", help="The standard layout: 27 fields with types and names, or 20 without.")
    ] = Layout.WITH_TYPES,
) -> int:
    """A 3CX PBX as active socket client that sends CDR lines.

    It reconnects when the hub closes, as the real one does, and learns nothing of what arrived. Ends with a summary.
    Without --count and --seconds it goes on until Ctrl-C.

    Numbers are valid in --region: give the source the same one, and no call is flagged number_unparsed.
    """
    from cdrhub.sources.threecx.simulate import LAYOUTS, lines, numbers, send  # noqa: PLC0415

    try:
        host, port = split_address(to)
    except ValueError as error:
        raise UsageError(f"--to: {error}") from error
    try:
        numbers(region.upper())
    except ValueError as error:
        raise UsageError(f"--region: {error}") from error
    stream = lines(seed, _now(), fields=LAYOUTS[int(layout)], region=region.upper(), clock=_now)
    said: set[str] = set()

    def trouble(error: OSError | None) -> None:
        if (why := _spoken(error)) not in said:
            said.add(why)
            say(f"{to}: {why}; trying again")

    sent = asyncio.run(send(host, port, records=stream, rate=rate, amount=count, seconds=seconds, trouble=trouble))
    typer.echo(
        f"{sent.lines} lines in {sent.seconds:.1f} s over {sent.connections} connection"
        f"{'' if sent.connections == 1 else 's'}, {sent.bytes} bytes"
    )
    return Exit.OK if sent.lines else Exit.DIFFERENT


def _spoken(error: OSError | None) -> str:
    """Why there is no connection, and what to look at."""
    if error is None:
        return "the hub closed the connection: is this address in the source's `allow`?"
    if isinstance(error, ConnectionRefusedError):
        return "connection refused: does the hub run, and does the source listen there?"
    return error.strerror or str(error)


def _now() -> datetime:
    return datetime.now(UTC)
