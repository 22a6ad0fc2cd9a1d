"""`cdrhub simulate`: a simulated phone system that a real hub is connected to.

All of them play the same contact centre (docs/simulating.md). A command turns its options into a `Simulation`, and
hands it to the system's simulator.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from enum import StrEnum
from functools import partial
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from cdrhub.addresses import split_address
from cdrhub.cli.failure import Exit, say
from cdrhub.cli.moments import read_zone
from cdrhub.cli.output import counted
from cdrhub.errors import AddressUnavailable, UsageError

if TYPE_CHECKING:
    from cdrhub.sources.simulation.dialled import Ordering
    from cdrhub.sources.simulation.ledger import Sent
    from cdrhub.sources.simulation.planned import Course
    from cdrhub.sources.simulation.simulation import Simulation

MAX_RATE = 5_000.0  #: calls a second: more than that no centre with six-digit extensions makes
MAX_SPEED = 100_000.0
WARMING_CALLS = 10_000  #: at most, that are planned only to have the centre in full swing at the start
DAY_BEGINS = 8  #: o'clock, UTC, of the simulated day of --day
SHOW_EVERY_SECONDS = 0.25
PASSWORD_VARIABLE = "CDRHUB_SIMULATE_PASSWORD"  # noqa: S105 - the name of a variable
DEFAULT_PASSWORD = "ClueCon"  # noqa: S105 - that of every FreeSWITCH that nobody set up
LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})

T = TypeVar("T")


class Layout(StrEnum):
    """How many fields a line of the simulated PBX has."""

    WITH_TYPES = "27"
    SHORT = "20"


class PBXVersion(StrEnum):
    """Which 3CX is simulated."""

    ONE_LINE = "v18"
    SEVERAL_LINES = "v20"


class Calls(StrEnum):
    """Which calls a simulated FreeSWITCH has: see `calls` of a source of type freeswitch."""

    QUEUE = "queue"
    ALL = "all"


_simulate = typer.Typer(
    help="Simulated phone systems for a hub to work with.",
    no_args_is_help=True,
    epilog="Example: cdrhub simulate 3cx --to 127.0.0.1:5555 --region NG --seconds 10",
)

Rate = Annotated[float, typer.Option("--rate", min=0.01, max=MAX_RATE, help="Calls a second.")]
Speed = Annotated[
    float, typer.Option("--speed", min=0.01, max=MAX_SPEED, help="Simulated seconds that pass in a real one.")
]
Count = Annotated[int | None, typer.Option("--count", min=1, help="Begin no more than this many calls.")]
Seconds = Annotated[float | None, typer.Option("--seconds", min=0.1, help="Begin no call after this time.")]
Seed = Annotated[int, typer.Option("--seed", help="One seed gives one contact centre.")]
Day = Annotated[bool, typer.Option("--day", help="Follow an office day from 8 to 18 h; best with --speed 600.")]
LedgerFile = Annotated[
    Path | None, typer.Option("--ledger", metavar="FILE", help="Append what the hub must show, for demo --verify.")
]
Broken = Annotated[float, typer.Option("--broken", min=0.0, max=1.0, help="Share of records that cannot be read.")]
Region = Annotated[str, typer.Option("--region", metavar="COUNTRY", help="Country of all numbers, ISO 3166-1.")]
Dial = Annotated[
    str | None, typer.Option("--dial", metavar="HOST:PORT", help="Also take orders to dial there, for a dialler.")
]
Push = Annotated[str, typer.Option("--to", metavar="URL", help="Where to push: the source's whole URL.")]


def register(app: typer.Typer) -> None:
    """Add this module's commands to `app`."""
    app.add_typer(_simulate, name="simulate")


@_simulate.command("3cx", epilog="Example: cdrhub simulate 3cx --to 127.0.0.1:5555 --rate 50 --seconds 60")
def threecx(
    to: Annotated[str, typer.Option("--to", metavar="HOST:PORT", help="Where the source listens.")],
    *,
    rate: Rate = 10.0,
    speed: Speed = 1.0,
    count: Count = None,
    seconds: Seconds = None,
    seed: Seed = 1,
    day: Day = False,
    region: Region = "FR",
    layout: Annotated[
        Layout, typer.Option("--fields", help="The standard layout: 27 fields with types and names, or 20 without.")
    ] = Layout.WITH_TYPES,
    version: Annotated[
        PBXVersion, typer.Option("--pbx", help="v18: one line a call; v20: a line for each part, in its own words.")
    ] = PBXVersion.ONE_LINE,
    broken: Broken = 0.0,
    dial: Dial = None,
    ledger: LedgerFile = None,
    wait: Annotated[bool, typer.Option("--wait", help="Wait for a hub that does not listen yet.")] = False,
) -> int:
    """A 3CX PBX as active socket client that sends CDR lines.

    It reconnects when the hub closes, as the real one does, and learns nothing of what arrived. Ends with a summary;
    exit 69 where nobody listens, unless it is told to --wait. Without --count and --seconds it goes on until Ctrl-C.

    Numbers are valid in --region: give the source the same one, and no call is flagged number_unparsed.

    With --dial there are the Call Control API and the make_call link; any client, secret, PIN and extension is right.
    """
    from cdrhub.sources.threecx.simulate import LAYOUTS, MIX, PBX, simulate

    host, port = _address(to)
    simulation = _simulation(
        rate=rate, speed=speed, count=count, seconds=seconds, seed=seed, day=day, region=region, ledger=ledger, mix=MIX
    )
    pbx = PBX(simulation.centre, version=version.value, fields=LAYOUTS[int(layout)], broken=broken)

    def spoken(error: OSError | None) -> str:
        return f"{to}: {_spoken(error)}"

    trouble, ordering = _once(spoken), _ordering(dial)
    work = partial(simulate, simulation, pbx, host=host, port=port, trouble=trouble, wait=wait, ordering=ordering)
    try:
        sent = _played(simulation, seconds, work)
    except OSError as error:
        raise AddressUnavailable(f"{to}: {_spoken(error)}") from error
    typer.echo(f"{counted(sent.records, 'line')} of {counted(sent.calls, 'call')}")
    return Exit.OK if sent.records else Exit.DIFFERENT


@_simulate.command(
    "voicenter", epilog="Example: cdrhub simulate voicenter --to http://127.0.0.1:8080/ingest/voicenter/SECRET"
)
def voicenter(
    to: Push,
    *,
    rate: Rate = 10.0,
    speed: Speed = 1.0,
    count: Count = None,
    seconds: Seconds = None,
    seed: Seed = 1,
    day: Day = False,
    broken: Broken = 0.0,
    dial: Dial = None,
    ledger: LedgerFile = None,
) -> int:
    """A Voicenter account that pushes CDRs as JSON, XML-RPC and forms.

    It sends again what is not acknowledged, and now and then what is. Ends with a summary; exit 1 if pushes were
    given up. Without --count and --seconds it goes on until Ctrl-C.

    With --dial there is a Click2Call: an agent's `phone` is SIPSIP and an extension, as SIPSIP101, any `code` is right.
    """
    _pushed_to(to, "voicenter")
    from cdrhub.sources.voicenter.simulate import MIX, Account, simulate

    simulation = _simulation(
        rate=rate, speed=speed, count=count, seconds=seconds, seed=seed, day=day, region="IL", ledger=ledger, mix=MIX
    )
    account = Account(simulation.centre, broken=broken)
    trouble, ordering = _once(str, then=""), _ordering(dial)
    work = partial(simulate, simulation, account, url=to, ordering=ordering, trouble=trouble)
    return _pushes(_played(simulation, seconds, work))


@_simulate.command(
    "astercc", epilog="Example: cdrhub simulate astercc --to http://127.0.0.1:8080/ingest/astercc/SECRET"
)
def astercc(
    to: Push,
    *,
    rate: Rate = 5.0,
    speed: Speed = 1.0,
    count: Count = None,
    seconds: Seconds = None,
    seed: Seed = 1,
    day: Day = False,
    region: Region = "CN",
    timezone: Annotated[
        str, typer.Option("--timezone", metavar="ZONE", help="The server's IANA zone: that of the source.")
    ] = "UTC",
    broken: Broken = 0.0,
    dial: Dial = None,
    ledger: LedgerFile = None,
) -> int:
    """An asterCC server that pushes the events of its calls and agents, un-encoded as the real one does.

    Some events come late, some twice. Ends with a summary; exit 1 if events were not acknowledged. Without --count and
    --seconds it goes on until Ctrl-C.

    With --dial there is a MAKECALL: an agent's `user` is 7 and an extension, as 7101, any password is right.
    """
    _pushed_to(to, "astercc")
    read_zone(timezone)
    from cdrhub.sources.astercc.simulate import MIX, simulate

    simulation = _simulation(
        rate=rate, speed=speed, count=count, seconds=seconds, seed=seed, day=day, region=region, ledger=ledger, mix=MIX
    )
    trouble, ordering = _once(str, then=""), _ordering(dial)
    work = partial(simulate, simulation, url=to, timezone=timezone, broken=broken, ordering=ordering, trouble=trouble)
    return _pushes(_played(simulation, seconds, work))


@_simulate.command("enigma", epilog="Example: cdrhub simulate enigma --to redis://127.0.0.1:6379/0 --rate 20")
def enigma(
    to: Annotated[str, typer.Option("--to", metavar="URL", help="The Redis of the source: redis://host:port/db.")],
    *,
    rate: Rate = 10.0,
    speed: Speed = 1.0,
    count: Count = None,
    seconds: Seconds = None,
    seed: Seed = 1,
    day: Day = False,
    region: Region = "FR",
    broken: Broken = 0.0,
    ledger: LedgerFile = None,
) -> int:
    """An Enigma dialler that pushes the CDRs of its campaigns and of Click2Dial onto the lists of a Redis.

    Each number tried is a call; those of one contact share its reference. Ends with a summary. Without --count and
    --seconds it goes on until Ctrl-C.
    """
    from cdrhub.sources.enigma.simulate import MIX, simulate
    from cdrhub.sources.transports.redis_client import is_redis_url

    if not is_redis_url(to):
        raise UsageError("--to: this is not the URL of a Redis: write redis://127.0.0.1:6379/0")
    simulation = _simulation(
        rate=rate, speed=speed, count=count, seconds=seconds, seed=seed, day=day, region=region, ledger=ledger, mix=MIX
    )
    trouble = _once(str)  # not the URL: it may hold a password
    sent = _played(simulation, seconds, partial(simulate, simulation, url=to, broken=broken, trouble=trouble))
    entries = counted(sent.records, "entry", "entries")
    typer.echo(f"{entries} of {counted(sent.calls, 'call')}, {sent.repeated} repeated")
    if sent.last_error:
        say(f"the last error: {sent.last_error}")
    return Exit.OK if sent.calls else Exit.DIFFERENT


@_simulate.command("freeswitch", epilog="Example: cdrhub simulate freeswitch --listen 127.0.0.1:8021 --speed 10")
def freeswitch(
    listen: Annotated[
        str, typer.Option("--listen", metavar="HOST:PORT", help="Where the source connects to.")
    ] = "127.0.0.1:8021",
    *,
    rate: Rate = 1.0,
    speed: Speed = 1.0,
    count: Count = None,
    seconds: Seconds = None,
    seed: Seed = 1,
    day: Day = False,
    region: Region = "FR",
    calls: Annotated[Calls, typer.Option("--calls", help="As the source's `calls`: queue calls only, or all.")] = (
        Calls.QUEUE
    ),
    cdr_to: Annotated[
        str | None, typer.Option("--cdr-to", metavar="URL", help="Also post the documents of mod_json_cdr there.")
    ] = None,
    ledger: LedgerFile = None,
) -> int:
    """A FreeSWITCH with mod_callcenter: an Event Socket that the hub connects to.

    The calls begin when the first client listens. The password is that of the variable CDRHUB_SIMULATE_PASSWORD, else
    ClueCon. Without --count and --seconds it goes on until Ctrl-C.
    """
    from cdrhub.sources.freeswitch.simulate import Setup, simulate

    host, port = _address(listen, option="--listen")
    if cdr_to is not None:
        _pushed_to(cdr_to, "freeswitch", option="--cdr-to")
    password = os.environ.get(PASSWORD_VARIABLE)
    if password is None and host not in LOOPBACK:
        raise UsageError(f"--listen: beyond loopback the switch needs a password: set {PASSWORD_VARIABLE}")
    setup = Setup(
        host=host,
        port=port,
        password=password or DEFAULT_PASSWORD,
        calls=calls.value,
        cdr_to=cdr_to,
    )
    simulation = _simulation(
        rate=rate, speed=speed, count=count, seconds=seconds, seed=seed, day=day, region=region, ledger=ledger
    )
    work = partial(simulate, simulation, setup, ready=lambda at: say(f"listening on {at}"), trouble=_once(str))
    sent = _played(simulation, seconds, work)
    if cdr_to is None:
        typer.echo(f"{counted(sent.records, 'event')} of {counted(sent.calls, 'call')}")
    else:
        typer.echo(
            f"{counted(sent.records, 'event or document', 'events and documents')} of {counted(sent.calls, 'call')}: "
            f"{counted(sent.acknowledged or 0, 'document')} acknowledged, {sent.given_up} given up"
        )
    if sent.last_error:
        say(f"the last error: {sent.last_error}")
    return Exit.OK if sent.calls and not sent.given_up else Exit.DIFFERENT


def _simulation(
    *,
    rate: float,
    speed: float,
    count: int | None,
    seconds: float | None,
    seed: int,
    day: bool,
    region: str,
    ledger: Path | None,
    mix: Mapping[Course, float] | None = None,
) -> Simulation:
    """The simulation that the options describe. UsageError for a country without numbers."""
    from cdrhub.sources.simulation import centre as centres
    from cdrhub.sources.simulation.ledger import Ledger
    from cdrhub.sources.simulation.numbers import customers
    from cdrhub.sources.simulation.pace import LONGEST_CALL, Pace, seconds_for, start_for
    from cdrhub.sources.simulation.simulation import Simulation

    try:
        customers(region.upper())
    except ValueError as error:
        raise UsageError(f"--region: {error}") from error
    per_hour = rate / speed * 3600
    if count is not None and not day:  # a day has hours in which hardly anybody calls
        seconds = min(seconds_for(count=count, rate=rate), seconds or inf)
    start = start_for(now=datetime.now(UTC), speed=speed, seconds=seconds)
    if day and speed > 1:
        start = start.replace(hour=DAY_BEGINS, minute=0, second=0, microsecond=0)
    warming = min(LONGEST_CALL, LONGEST_CALL * (WARMING_CALLS / per_hour))
    centre = centres.Centre(
        seed=seed,
        start=start - warming,
        calls_per_hour=per_hour,
        region=region.upper(),
        day=centres.OFFICE_DAY if day else centres.ALL_DAY,
        mix=centres.MIX if mix is None else mix,
    )
    return Simulation(centre=centre, pace=Pace(start=start, speed=speed), ledger=Ledger(ledger), count=count)


def _played(simulation: Simulation, seconds: float | None, work: Callable[[], Awaitable[None]]) -> Sent:
    """Let `work` go on for `seconds` or until Ctrl-C: then it finishes what it began; a second Ctrl-C ends it at once.
    What was sent."""

    async def play() -> None:
        loop = asyncio.get_running_loop()
        task = asyncio.ensure_future(work())

        def stop() -> None:
            if simulation.pace.finishing:
                task.cancel()
            simulation.pace.finish()

        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, stop)

        def over() -> None:
            late, simulation.planning_seconds = simulation.planning_seconds, 0.0
            if late:
                loop.call_later(late, over)
            else:
                simulation.pace.finish()

        if seconds is not None:
            loop.call_later(seconds, over)
        showing = asyncio.create_task(_show(simulation))
        try:
            await task
        finally:
            showing.cancel()
            await asyncio.wait({showing})

    with contextlib.suppress(asyncio.CancelledError), simulation.ledger:
        asyncio.run(play())
    return simulation.sent


async def _show(simulation: Simulation) -> None:
    """Show a person at a terminal how many calls were played to their end, until cancelled: in real time the first one
    takes a while, and the last one some minutes."""
    if not sys.stderr.isatty():
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        shown = bar.add_task("calls that ended (Ctrl-C ends the others at once)", total=simulation.count)
        while True:
            bar.update(shown, completed=simulation.sent.calls)
            await asyncio.sleep(SHOW_EVERY_SECONDS)


def _pushes(sent: Sent) -> int:
    """The summary of a system that pushes over HTTP, and its exit code."""
    pushes = counted(sent.records, "push", "pushes")
    typer.echo(
        f"{pushes} of {counted(sent.calls, 'call')}: {sent.acknowledged} acknowledged, {sent.broken} broken, "
        f"{sent.repeated} repeated, {sent.given_up} given up"
    )
    if sent.last_error:
        say(f"the last error: {sent.last_error}")
    return Exit.DIFFERENT if sent.given_up else Exit.OK


def _pushed_to(to: str, system: str, *, option: str = "--to") -> None:
    if not to.startswith(("http://", "https://")):
        raise UsageError(f"{option}: {to!r} is not a URL: write http://127.0.0.1:8080/ingest/{system}/SECRET")


def _address(text: str, *, option: str = "--to") -> tuple[str, int]:
    try:
        return split_address(text)
    except ValueError as error:
        raise UsageError(f"{option}: {error}") from error


def _ordering(dial: str | None) -> Ordering | None:
    """Where orders are taken, said once they are."""
    from cdrhub.sources.simulation.dialled import Ordering

    if dial is None:
        return None
    host, port = _address(dial, option="--dial")
    return Ordering(host=host, port=port, ready=lambda url: say(f"takes orders to dial at {url}"))


def _once(spoken: Callable[[T], str], *, then: str = "; trying again") -> Callable[[T], None]:
    """Says each trouble once, and what is done `then`."""
    said: set[str] = set()

    def trouble(error: T) -> None:
        if (why := spoken(error)) not in said:
            said.add(why)
            say(why + then)

    return trouble


def _spoken(error: OSError | None) -> str:
    """Why there is no connection, and what to look at."""
    if error is None:
        return "the hub closed the connection: is this address in the source's `allow`?"
    if isinstance(error, ConnectionRefusedError):
        return "connection refused: does the hub run, and does the source listen there?"
    return error.strerror or str(error)
