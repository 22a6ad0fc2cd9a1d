"""A simulated 3CX: believable lines of a contact centre, and a sender that behaves like an active socket.

The lines are seeded: the same seed gives the same bytes, unless a clock holds them back. historyid rises by one per
line, callid holds the start in the form of the simulated PBX, a line comes when its call ends. Numbers outside are
valid in a country. The sender connects, holds the connection and writes one record per line with CR LF,
as captures of real PBXs show.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from itertools import count, islice
from typing import Final, Literal, NamedTuple

import phonenumbers

from cdrhub.model.numbers import NumberPlan, read_number
from cdrhub.sources.threecx.callid import EPOCH, MILLISECONDS_1601_TO_1970
from cdrhub.sources.threecx.layout import PREFIX, STANDARD_20, STANDARD_27

CallidForm = Literal["windows", "linux16", "linux20"]

CALLS_PER_MINUTE: Final = 40.0  #: of the simulated contact centre, in simulated time
RECONNECT_SECONDS: Final = 0.4  #: a real PBX is back this long after its peer closed
CHUNK_SECONDS: Final = 0.02  #: lines are written in groups this far apart when a rate is given
UNLIMITED_CHUNK: Final = 500  #: lines written at once without a rate
RENDERED_AHEAD: Final = 5_000  #: lines rendered at once, so that rendering does not throttle the socket

CALLERS: Final = 1_000  #: numbers outside, at most
VARIED_DIGITS: Final = 6  #: at the end of a country's example number

AGENTS: Final = tuple(range(101, 141))
QUEUES: Final = ((611, "Sales"), (612, "Support"), (615, "Billing"))
IVR: Final = (8000, "Main Number")
VOICEMAIL: Final = 999
TRUNKS: Final = (10000, 10001)
_NAMES: Final = ("Ada", "Björn", "Chidi", "Dana", "Émile", "Farid", "Grace", "Hanna", "Ines", "Joe")


@dataclass(frozen=True, kw_only=True, slots=True)
class Sent:
    """What a sender did. `lines` were written to a socket that took them; 3CX never learns more than that."""

    lines: int
    bytes: int
    connections: int
    seconds: float


def lines(
    seed: int = 1,
    start: datetime | None = None,
    *,
    fields: Sequence[str] = STANDARD_27,
    callid: CallidForm = "linux16",
    first_historyid: int = 1,
    region: str = "FR",
    clock: Callable[[], datetime] | None = None,
) -> Iterator[bytes]:
    """Endless records with `Call ` and CR LF, in the order in which their calls end.

    `start` is when the first call may end (default: a fixed Monday), `region` the country of the numbers outside. With
    a `clock` (aware) no call ends later than it says when the line is made. Raises ValueError for a country without an
    example number.
    """
    chance = random.Random(seed)  # noqa: S311 - a simulation, no secret
    callers = numbers(region)
    at = start or datetime(2026, 3, 2, 8, 0, tzinfo=UTC)
    for historyid in count(first_historyid):
        at += timedelta(seconds=chance.expovariate(CALLS_PER_MINUTE / 60))
        if clock is not None:
            at = min(at, clock())
        started_at, call = _call(chance, at, chance.choice(callers))
        call["historyid"] = str(historyid)
        call["callid"] = _callid(started_at, historyid, callid)
        yield PREFIX + ",".join([call.get(name, "") for name in fields]).encode() + b"\r\n"


@cache
def numbers(region: str) -> tuple[str, ...]:
    """Valid (mobile) numbers of a country (ISO 3166-1 alpha-2) as they are dialled there: libphonenumber's example with
    other last digits, always the same ones. ValueError where it has none."""
    mobile = phonenumbers.example_number_for_type(region, phonenumbers.PhoneNumberType.MOBILE)
    example = mobile or phonenumbers.example_number(region)
    if example is None:
        raise ValueError(f"{region!r} has no numbers: write a two-letter country such as 'NG'")
    plan = NumberPlan(region=region)
    written = phonenumbers.format_number(example, phonenumbers.PhoneNumberFormat.NATIONAL)
    forms = (re.sub(r"\D", "", written), phonenumbers.format_number(example, phonenumbers.PhoneNumberFormat.E164))
    dialled = next(form for form in forms if read_number(form, plan).e164 is not None)
    chance = random.Random(0)  # noqa: S311 - a simulation, no secret
    kept = dialled[:-VARIED_DIGITS]
    found = {dialled}
    for _ in range(CALLERS - 1):
        number = f"{kept}{chance.randrange(10**VARIED_DIGITS):0{VARIED_DIGITS}}"
        if read_number(number, plan).e164 is not None:
            found.add(number)
    return tuple(sorted(found))


async def send(
    host: str,
    port: int,
    *,
    records: Iterator[bytes],
    rate: float | None = None,
    amount: int | None = None,
    seconds: float | None = None,
    trouble: Callable[[OSError | None], None] = lambda _: None,
) -> Sent:
    """Write `records` to a listening hub over one held connection, `rate` a second (None: as fast as it takes them),
    until `amount` lines or `seconds` are over, or for ever.

    Comes back after RECONNECT_SECONDS when the hub closed; what was being written then is lost, as on a real PBX.
    `trouble` is told why there is no connection (None: the hub closed it).
    """
    loop = asyncio.get_running_loop()
    began = loop.time()
    sent = sent_bytes = connections = 0
    rendered: list[bytes] = []
    position = 0

    def over() -> bool:
        return (amount is not None and sent >= amount) or (seconds is not None and loop.time() - began >= seconds)

    while not over():
        try:
            reader, writer = await asyncio.open_connection(host, port)
        except OSError as error:
            trouble(error)
            await asyncio.sleep(RECONNECT_SECONDS)
            continue
        connections += 1
        try:
            while not over() and not reader.at_eof():
                wanted = UNLIMITED_CHUNK if rate is None else int(rate * (loop.time() - began)) - sent
                if amount is not None:
                    wanted = min(wanted, amount - sent)
                if position >= len(rendered):
                    rendered, position = list(islice(records, _ahead(rate, amount, sent))), 0
                chunk = rendered[position : position + max(0, wanted)]
                if chunk:
                    position += len(chunk)
                    body = b"".join(chunk)
                    writer.write(body)
                    await writer.drain()
                    sent += len(chunk)
                    sent_bytes += len(body)
                elif not rendered:
                    amount = sent  # the records are used up
                if rate is not None:
                    await asyncio.sleep(CHUNK_SECONDS)
            if not over():
                trouble(None)
        except (ConnectionError, TimeoutError) as error:
            trouble(error)
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()
        if not over():
            await asyncio.sleep(RECONNECT_SECONDS)
    return Sent(lines=sent, bytes=sent_bytes, connections=connections, seconds=loop.time() - began)


def _ahead(rate: float | None, amount: int | None, sent: int) -> int:
    ahead = RENDERED_AHEAD if rate is None else min(RENDERED_AHEAD, max(1, int(rate)))
    return ahead if amount is None else min(ahead, amount - sent)


def _callid(at: datetime, number: int, form: CallidForm) -> str:
    milliseconds = (at - EPOCH) // timedelta(milliseconds=1)
    if form == "windows":
        return f"{milliseconds + MILLISECONDS_1601_TO_1970:016X}_{number % 100_000}"
    if form == "linux20":
        return f"{milliseconds.to_bytes(8, 'little').hex()}_{number % 100_000}"
    return f"{milliseconds:016X}_{number % 100_000}"


class _Call(NamedTuple):
    """One call: when it started, and its fields without the two ids."""

    started_at: datetime
    fields: dict[str, str]


def _call(chance: random.Random, at: datetime, outside: str) -> _Call:
    """A call with the number `outside`, if it is not an internal one, that ends at `at`."""
    agent, colleague = chance.sample(AGENTS, 2)
    talk = min(3_600, int(chance.expovariate(1 / 150)) + 4)
    ring = chance.randrange(3, 20)
    kind = chance.random()
    if kind < 0.34:
        return _queue_call(chance, at, outside, agent, talk)
    if kind < 0.48:
        return _direct_call(chance, at, outside, agent=agent, colleague=colleague, ring=ring, talk=talk)
    if kind < 0.82:
        return _outbound_call(chance, at, outside, agent=agent, colleague=colleague, ring=ring, talk=talk)
    if kind < 0.92:
        answered = chance.random() < 0.8
        return _line(
            at,
            ring if answered else None,
            talk if answered else ring,
            src=("Extension", f"Ext.{agent}", str(agent), _name(agent)),
            to=("Extension", f"Ext.{colleague}", str(colleague), _name(colleague)),
            reason=chance.choice(("TerminatedBySrc", "TerminatedByDst")) if answered else "Failed_Cancelled",
        )
    if kind < 0.96:
        return _line(
            at,
            20,
            chance.randrange(2, 40),
            src=_trunk(chance, outside),
            to=("VMail", f"Ext.{VOICEMAIL}", str(agent), ""),
            dialled=str(agent),
            reason="TerminatedBySrc",
        )
    return _line(
        at,
        0,
        chance.randrange(3, 60),
        src=_trunk(chance, outside),
        to=("Ivr", f"Ext.{IVR[0]}", str(IVR[0]), IVR[1]),
        reason=chance.choice(("TerminatedBySrc", "TerminatedByDst")),
    )


_Party = tuple[str, str, str, str]  #: type, number, DN, display name


def _trunk(chance: random.Random, outside: str) -> _Party:
    return ("Line", outside, str(chance.choice(TRUNKS)), f"{outside}:Main Number")


def _name(agent: int) -> str:
    return f"{_NAMES[agent % len(_NAMES)]} {agent}"


def _queue_call(chance: random.Random, at: datetime, outside: str, agent: int, talk: int) -> _Call:
    number, name = chance.choice(QUEUES)
    queue = ("Queue", f"Ext.{number}", str(number), name)
    missed = "".join(f"{chance.choice(AGENTS)};" for _ in range(chance.choice((0, 0, 0, 1, 2))))
    if chance.random() < 0.2:
        waited = chance.randrange(5, 180)
        return _line(at, 0, waited, src=_trunk(chance, outside), to=queue, reason="TerminatedBySrc", missed=missed)
    return _line(
        at,
        0,
        talk + chance.randrange(5, 90),
        src=_trunk(chance, outside),
        to=queue,
        final=("Extension", f"Ext.{agent}", str(agent), _name(agent)),
        changed="ReplacedDst",
        reason=chance.choice(("TerminatedBySrc", "TerminatedByDst")),
        missed=missed,
    )


def _direct_call(
    chance: random.Random, at: datetime, outside: str, *, agent: int, colleague: int, ring: int, talk: int
) -> _Call:
    to = ("Extension", f"Ext.{agent}", str(agent), _name(agent))
    outcome = chance.random()
    if outcome < 0.25:
        reason = chance.choice(("Failed_Cancelled", "Failed_Cancelled", "NotAvailable", "TargetBusy"))
        return _line(at, None, ring, src=_trunk(chance, outside), to=to, reason=reason)
    transferred = outcome < 0.35
    return _line(
        at,
        ring,
        talk,
        src=_trunk(chance, outside),
        to=to,
        final=("Extension", f"Ext.{colleague}", str(colleague), _name(colleague)) if transferred else None,
        changed="ReplacedDst" if transferred else "",
        reason=chance.choice(("TerminatedBySrc", "TerminatedByDst")),
    )


def _outbound_call(
    chance: random.Random, at: datetime, outside: str, *, agent: int, colleague: int, ring: int, talk: int
) -> _Call:
    src = ("Extension", f"Ext.{agent}", str(agent), _name(agent))
    outcome = chance.random()
    if outcome < 0.4:
        reason = chance.choice(
            ("Failed", "Failed", "TargetBusy", "NoAnswerTimeout", "Failed_Cancelled", "NoRouteExists")
        )
        return _line(at, None, ring, src=src, to=("LineSet", outside, outside, outside), reason=reason)
    transferred = outcome < 0.45
    return _line(
        at,
        ring,
        talk,
        src=src,
        to=("Line", outside, str(TRUNKS[1]), outside),
        final=("Extension", f"Ext.{colleague}", str(colleague), _name(colleague)) if transferred else None,
        changed="ReplacedSrc" if transferred else "",
        reason=chance.choice(("TerminatedBySrc", "TerminatedByDst")),
        cost=f"{talk / 60:.2f}",
    )


def _line(
    at: datetime,
    ring: int | None,
    rest: int,
    *,
    src: _Party,
    to: _Party,
    reason: str,
    final: _Party | None = None,
    changed: str = "",
    dialled: str = "",
    missed: str = "",
    cost: str = "",
) -> _Call:
    """One call that ends at `at`; `ring` is None where nobody and nothing picked up, and `rest` then the ringing."""
    start = at - timedelta(seconds=(ring or 0) + rest)
    answered = None if ring is None else start + timedelta(seconds=ring)
    number, dn, name = (final[1], final[2], final[3]) if final is not None else ("", "", "")
    fields = {
        "duration": "" if answered is None else f"{rest // 3600:02}:{rest // 60 % 60:02}:{rest % 60:02}",
        "time-start": f"{start:%Y/%m/%d %H:%M:%S}",
        "time-answered": "" if answered is None else f"{answered:%Y/%m/%d %H:%M:%S}",
        "time-end": f"{at:%Y/%m/%d %H:%M:%S}",
        "reason-terminated": reason,
        "from-no": src[1],
        "to-no": to[1],
        "from-dn": src[2],
        "to-dn": to[2],
        "dial-no": dialled or to[1].removeprefix("Ext."),
        "reason-changed": changed,
        "final-number": number,
        "final-dn": dn,
        "bill-rate": "1" if cost else "",
        "bill-cost": cost,
        "bill-name": "default" if cost else "",
        "chain": "" if answered is None else f"Chain: {src[1]};{to[1]};" + (f"{number};" if number else ""),
        "from-type": src[0],
        "to-type": to[0],
        "final-type": final[0] if final is not None else "",
        "from-dispname": src[3],
        "to-dispname": to[3],
        "final-dispname": name,
        "missed-queue-calls": missed,
    }
    return _Call(start, fields)


LAYOUTS: Final = {20: STANDARD_20, 27: STANDARD_27}
"""The layouts that `cdrhub simulate 3cx` offers."""
