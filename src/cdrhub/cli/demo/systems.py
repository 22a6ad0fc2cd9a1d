"""The simulated phone systems of the demo: how each is configured in the hub, and how it works with it."""

from __future__ import annotations

import asyncio
import secrets
import socket
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, fields, replace
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from cdrhub.cli.demo.cases import PlannedCase
from cdrhub.cli.demo.redis import serving
from cdrhub.model.disposition import Disposition
from cdrhub.model.numbers import NumberPlan, read_number
from cdrhub.sources.astercc import simulate as astercc
from cdrhub.sources.enigma import simulate as enigma
from cdrhub.sources.freeswitch import simulate as freeswitch
from cdrhub.sources.simulation.centre import Centre
from cdrhub.sources.simulation.dialled import Ordering, Timing
from cdrhub.sources.simulation.ledger import Ledger, Sent
from cdrhub.sources.simulation.pace import LONGEST_CALL, Pace, start_for
from cdrhub.sources.simulation.simulation import Simulation
from cdrhub.sources.threecx import simulate as threecx
from cdrhub.sources.voicenter import simulate as voicenter

SPEED: Final = 30.0  #: simulated seconds that pass in a real one: half of the conversations last four seconds
CALLS_PER_SECOND: Final = 3.0  #: of each system, real ones
BROKEN: Final = 0.03  #: share of the records that nobody can read, where a system can send some
REPEATED: Final = 0.05  #: share of the 3CX lines that come twice
SETTLE_SECONDS: Final = 0.5  #: of 3CX and asterCC, whose calls have no last record
TIMING: Final = Timing(picked_up=1, given_up=1, talk=(1, 1))  #: of calls that the hub orders
NO_ANSWER, BUSY, FAILED = Disposition.NO_ANSWER, Disposition.BUSY, Disposition.FAILED


@dataclass(frozen=True, kw_only=True, slots=True)
class Ports:
    """Free loopback ports."""

    http: int
    threecx: int
    redis: int
    callcontrol: int
    click2call: int
    makecall: int


def free_ports() -> Ports:
    """Ports at which nobody listens at the moment."""
    names = [field.name for field in fields(Ports)]
    probes = [socket.socket() for _ in names]
    try:
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return Ports(**{name: probe.getsockname()[1] for name, probe in zip(names, probes, strict=True)})
    finally:
        for probe in probes:
            probe.close()


@dataclass(frozen=True, kw_only=True, slots=True)
class System:
    """One simulated phone system. `exact`: every record it sends is one that the hub receives, so their numbers can be
    compared; of FreeSWITCH's events the hub takes those that it asked for."""

    name: str  #: as in `calls.system`
    source: str  #: its name in the configuration
    table: str  #: of the configuration
    simulation: Simulation
    play: Callable[[], Coroutine[Any, Any, None]]
    exact: bool = True
    dialler: str = ""  #: the table of what dials for it, called as the source
    case: PlannedCase | None = None  #: that is dialled with it
    dials: asyncio.Event | None = None  #: set when it takes orders to dial

    @property
    def sent(self) -> Sent:
        """What it did so far."""
        return self.simulation.sent


@asynccontextmanager
async def systems(
    folder: Path, *, ports: Ports, redis_program: Path | None, ledger: Ledger, now: datetime, seconds: float | None
) -> AsyncIterator[list[System]]:
    """All of them; those to which the hub connects listen, and Redis runs, as long as the block lasts. Without a
    `redis_program` there is no Enigma. `seconds` (None: no end) is how long they are to play."""
    start = start_for(now=now, speed=SPEED, seconds=seconds)
    centre = Centre(start=start - LONGEST_CALL, calls_per_hour=CALLS_PER_SECOND / SPEED * 3600)
    hub = f"http://127.0.0.1:{ports.http}"

    def simulation(centre: Centre) -> Simulation:
        return Simulation(centre=centre, pace=Pace(start=start, speed=SPEED), ledger=ledger)

    async with AsyncExitStack() as stack:
        found = [
            _threecx(
                simulation(replace(centre, seed=1, mix=threecx.MIX)), port=ports.threecx, dial_port=ports.callcontrol
            ),
            _voicenter(
                simulation(replace(centre, seed=2, mix=voicenter.MIX, region="IL")), hub=hub, port=ports.click2call
            ),
            await _freeswitch(simulation(replace(centre, seed=3, region="DE")), stack),
            _astercc(simulation(replace(centre, seed=4, region="CN")), hub=hub, port=ports.makecall),
        ]
        if redis_program is not None:
            url = await stack.enter_async_context(serving(redis_program, folder / "redis", port=ports.redis))
            found.append(_enigma(simulation(replace(centre, seed=5, region="NG", mix=enigma.MIX)), url=url))
        yield found


def _threecx(simulation: Simulation, *, port: int, dial_port: int) -> System:
    pbx = threecx.PBX(simulation.centre, version="v20", repeated=REPEATED, broken=BROKEN)
    case = _case("C-101", "paris", "901", "0745550101", "0745550102", but=(BUSY,))
    ordering, dials = _ordering(case, region="FR", port=dial_port)
    return System(
        name="3cx",
        source="paris",
        table=f'type = "3cx"\nmode = "listen"\nlisten = "127.0.0.1:{port}"\nallow = ["127.0.0.1"]\nregion = "FR"\n'
        f'dialler = "paris"\nsettle_seconds = {SETTLE_SECONDS}\n',
        simulation=simulation,
        play=lambda: threecx.simulate(simulation, pbx, host="127.0.0.1", port=port, ordering=ordering),
        dialler=f'type = "3cx"\nurl = "http://127.0.0.1:{dial_port}"\nclient_id = "900"\nclient_secret = "demo"\n',
        case=case,
        dials=dials,
    )


def _voicenter(simulation: Simulation, *, hub: str, port: int) -> System:
    path = f"/ingest/voicenter/{secrets.token_urlsafe(16)}"
    account = voicenter.Account(simulation.centre, broken=BROKEN)
    case = _case("C-102", "tel-aviv", "SIPSIP901", "0545550101", "0545550102", "0545550103", but=(NO_ANSWER, BUSY))
    ordering, dials = _ordering(case, region="IL", port=port)
    return System(
        name="voicenter",
        source="tel-aviv",
        table=f'type = "voicenter"\npath = "{path}"\nregion = "IL"\ndialler = "tel-aviv"\n',
        simulation=simulation,
        play=lambda: voicenter.simulate(simulation, account, url=hub + path, ordering=ordering),
        dialler=f'type = "voicenter"\nurl = "http://127.0.0.1:{port}{voicenter.PATH}"\ncode = "demo"\n',
        case=case,
        dials=dials,
    )


async def _freeswitch(simulation: Simulation, stack: AsyncExitStack) -> System:
    password = secrets.token_urlsafe(16)
    setup = freeswitch.Setup(port=0, password=password)
    switch = await stack.enter_async_context(freeswitch.listening(simulation, setup))
    host, port = switch.address
    return System(
        name="freeswitch",
        source="hamburg",
        table=f'type = "freeswitch"\nhost = "{host}"\nport = {port}\npassword = "{password}"\nregion = "DE"\n',
        simulation=simulation,
        play=switch.play,
        exact=False,
    )


def _astercc(simulation: Simulation, *, hub: str, port: int) -> System:
    path = f"/ingest/astercc/{secrets.token_urlsafe(16)}"
    case = _case("C-103", "shanghai", "7901", "13955550101", "13955550102", "13955550103", but=(FAILED, NO_ANSWER))
    ordering, dials = _ordering(case, region="CN", port=port)
    zone = "Asia/Shanghai"
    return System(
        name="astercc",
        source="shanghai",
        table=f'type = "astercc"\npath = "{path}"\ntimezone = "{zone}"\nregion = "CN"\ndialler = "shanghai"\n'
        f"settle_seconds = {SETTLE_SECONDS}\n",
        simulation=simulation,
        play=lambda: astercc.simulate(simulation, url=hub + path, timezone=zone, broken=BROKEN, ordering=ordering),
        dialler=f'type = "astercc"\nurl = "http://127.0.0.1:{port}{astercc.PATH}"\nteam = "demo"\nmodel_id = "10"\n'
        'password = "demo"\nregion = "CN"\n',
        case=case,
        dials=dials,
    )


def _case(code: str, source: str, agent: str, *numbers: str, but: Sequence[Disposition]) -> PlannedCase:
    """A case whose last number answers; `but` is what becomes of the others."""
    return PlannedCase(
        code=code, source=source, agent=agent, numbers=dict(zip(numbers, (*but, Disposition.ANSWERED), strict=True))
    )


def _ordering(case: PlannedCase, *, region: str, port: int) -> tuple[Ordering, asyncio.Event]:
    """Where a simulated system takes orders for this case, and what is set once it does."""
    plan, dials = NumberPlan(region=region, unassigned=True), asyncio.Event()
    fates = {read_number(number, plan).e164: fate for number, fate in case.numbers.items()}
    ordering = Ordering(
        host="127.0.0.1", port=port, fate=lambda number: fates[number], timing=TIMING, ready=lambda _: dials.set()
    )
    return ordering, dials


def _enigma(simulation: Simulation, *, url: str) -> System:
    keys = f'["{enigma.CAMPAIGNS}", "{enigma.CLICK2DIAL_CDRS}"]'
    return System(
        name="enigma",
        source="dialler",
        table=f'type = "enigma"\nredis = "{url}"\nkeys = {keys}\nregion = "NG"\n',
        simulation=simulation,
        play=lambda: enigma.simulate(simulation, url=url, broken=BROKEN),
    )
