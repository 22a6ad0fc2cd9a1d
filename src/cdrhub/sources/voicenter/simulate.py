"""A simulated Voicenter account: believable CDRs in the three formats, and the HTTP client that pushes them.

`pushes` is a pure generator: one seed gives one stream. Every push says which call it belongs to and how that call must
end, so that a `Ledger` of what was pushed can be compared with what the hub stored. As the real one does, the account
re-sends what was not acknowledged, and now and then what was; later with more fields.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from urllib.parse import urlencode
from xml.sax.saxutils import escape

import aiohttp
import orjson

from cdrhub.model.disposition import Disposition
from cdrhub.sources.voicenter.bodies import Format

SENDS: Final = 5  #: attempts at one push
RESEND_SECONDS: Final = 1.0
ANSWER_SECONDS: Final = 5.0  #: that the account waits for an answer
REPEATED: Final = 0.03  #: share of CDRs that come twice, byte for byte
COMPLETED: Final = 0.05  #: share of CDRs that come again with more fields
CALLS_PER_SECOND: Final = 2.0  #: of the simulated call centre

_HINTS: Final = {
    401: ": the path needs no token; is the URL that of the source?",
    403: ": this address is not in the source's `allow`",
    404: ": no source has this path; is the secret right?",
    405: ": there is no source at this path",
    413: ": the push is longer than `max_body`",
    503: ": the hub cannot keep records at the moment; its log says why",
}

_AGENTS: Final = tuple((f"SIPSIP{number}", f"Agent {number}", f"{12340000 + number}") for number in range(1, 13))
_QUEUES: Final = ((30101, "Sales"), (30102, "Support"), (30103, "Billing"))
_DIDS: Final = ("0722776772", "0722776773", "0722776774")
_LAYERS: Final = ("Main menu", "Sales department", "Opening hours", "Callback offer")


@dataclass(frozen=True, kw_only=True, slots=True)
class Push:
    """One HTTP request of the account. `call_key` is None for a body that no receiver can understand."""

    body: bytes
    content_type: str
    call_key: str | None
    disposition: Disposition | None  #: of the call once all its CDRs are in


@dataclass(kw_only=True, slots=True)
class Ledger:
    """What was pushed, to compare with what was stored."""

    pushes: int = 0
    broken: int = 0
    repeated: int = 0  #: pushes whose bytes had been pushed before
    bodies: set[bytes] = field(default_factory=set)
    calls: dict[str, Disposition] = field(default_factory=dict)

    def note(self, push: Push) -> None:
        """Count `push`."""
        self.pushes += 1
        if push.body in self.bodies:
            self.repeated += 1
        self.bodies.add(push.body)
        if push.call_key is None:
            self.broken += 1
        elif push.disposition is not None:
            self.calls[push.call_key] = push.disposition


@dataclass(kw_only=True, slots=True)
class Sent:
    """What became of the pushes. Every push is acknowledged, not understood or given up in the end."""

    pushes: int = 0
    acknowledged: int = 0  #: err 0
    not_understood: int = 0  #: err 1: kept by the receiver, not sent again
    resends: int = 0
    given_up: int = 0
    last_error: str = ""  #: why the last push that was not acknowledged was not


def pushes(
    *,
    seed: int,
    start: datetime,
    broken: float = 0.0,
    over: Callable[[], bool] = lambda: False,
    clock: Callable[[], datetime] | None = None,
) -> Iterator[Push]:
    """The stream of an account whose first call may end at `start` (aware), until `over`; calls under way are finished.
    With a `clock` (aware) no call ends later than it says when the call is made.

    `broken` is the share of bodies that cannot be understood. Legs of a call may come in either order, mixed with those
    of other calls.
    """
    chance = random.Random(seed)  # noqa: S311 - repeatable, not secret
    at = start.astimezone(UTC)
    waiting: list[Push] = []
    number = 0
    while not over():
        number += 1
        at += timedelta(seconds=chance.expovariate(CALLS_PER_SECOND))
        if clock is not None:
            at = min(at, clock().astimezone(UTC))
        waiting.extend(_call(chance, number=number, at=at))
        if chance.random() < broken:
            waiting.append(_broken(chance, number))
        while len(waiting) > 8:
            yield waiting.pop(chance.randrange(len(waiting)))
    yield from waiting


def _call(chance: random.Random, *, number: int, at: datetime) -> Iterable[Push]:
    """The pushes of one call that ends at `at`."""
    key = f"{at:%Y%m%d%H%M%S%f}"[:17] + f"{number:08x}"
    make = chance.choices(
        (_incoming, _queue, _outgoing, _click2call, _voicemail, _ivr, _auto_forward),
        weights=(20, 25, 25, 15, 5, 7, 3),
    )[0]
    disposition, cdrs = make(chance, _Base(key=key, at=at))
    longest = max(cdr["time"] + cdr["dialtime"] + cdr["duration"] for cdr in cdrs) - int(at.timestamp())
    for cdr in cdrs:
        cdr["time"] -= longest
        written = chance.choices(tuple(Format), weights=(70, 15, 15))[0]
        body = render(cdr, written)
        push = Push(body=body, content_type=written.value, call_key=key, disposition=disposition)
        yield push
        if chance.random() < REPEATED:
            yield push
        if written is Format.JSON and chance.random() < COMPLETED:
            fuller = cdr | {"aiData": {"insights": {"summary": "Short call", "sentiment": 0.4}, "emotions": None}}
            yield Push(body=render(fuller, written), content_type=written.value, call_key=key, disposition=disposition)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Base:
    key: str
    at: datetime

    def cdr(self, kind: str, status: str, *, after: int = 0, **fields: Any) -> dict[str, Any]:
        """A CDR with the fields that all have."""
        common: dict[str, Any] = {
            "caller": "",
            "target": "",
            "time": int(self.at.timestamp()) + after,
            "duration": 0,
            "ivruniqueid": self.key,
            "type": kind,
            "status": status,
            "targetextension": "",
            "callerextension": "",
            "did": "",
            "queueid": 0,
            "queuename": "",
            "record": "",
            "price": 0,
            "dialtime": 0,
            "representative_name": "",
            "representative_code": "",
        }
        return common | fields


_Made = tuple[Disposition, list[dict[str, Any]]]


def _customer(chance: random.Random) -> str:
    return f"05{chance.choice('02348')}{chance.randrange(2_000_000, 9_999_999)}"


def _agent(chance: random.Random, *, side: str) -> dict[str, Any]:
    code, name, representative = chance.choice(_AGENTS)
    return {side: code, "representative_name": name, "representative_code": representative}


def _record(key: str) -> str:
    return f"https://cpanel.voicenter.co.il/CallsHistory/PlayRecord/{key}-aws.mp3"


def _incoming(chance: random.Random, base: _Base) -> _Made:
    did = chance.choice(_DIDS)
    who = {"caller": _customer(chance), "target": did, "did": did} | _agent(chance, side="targetextension")
    ring = chance.randrange(2, 40)
    if chance.random() < 0.7:
        talk = chance.randrange(5, 900)
        cdr = base.cdr("Incoming Call", "ANSWER", duration=talk, dialtime=ring, record=_record(base.key), **who)
        return Disposition.ANSWERED, [cdr]
    status, disposition = chance.choice(
        (("NOANSWER", Disposition.NO_ANSWER), ("BUSY", Disposition.BUSY), ("CANCEL", Disposition.CANCELLED))
    )
    return disposition, [base.cdr("Incoming Call", status, dialtime=ring, **who)]


def _queue(chance: random.Random, base: _Base) -> _Made:
    number, name = chance.choice(_QUEUES)
    wait = chance.randrange(1, 240)
    did = chance.choice(_DIDS)
    who = {
        "caller": _customer(chance),
        "did": did,
        "queueid": number,
        "queuename": name,
        "seconds_waiting_in_queue": wait,
        "direction": "incoming",
        "IVR": _layers(chance, as_text=chance.random() < 0.3),
    }
    if chance.random() < 0.75:
        ring, talk = chance.randrange(1, 20), chance.randrange(10, 900)
        who |= _agent(chance, side="extenUser") | {"isAnswer": 1, "actualCallDialtime": ring}
        cdr = base.cdr(
            "Queue", "ANSWER", duration=wait + talk, actualCallDuration=talk, record=_record(base.key), price=7, **who
        )
        return Disposition.ANSWERED, [cdr]
    status = chance.choice(("ABANDONE", "ABANDONE", "TIMEOUT", "EXIT", "JOINEMPTY", "FULL"))
    cdr = base.cdr("Queue", status, duration=wait, actualCallDuration=0, isAnswer=0, **who)
    return Disposition.ABANDONED, [cdr]


def _outgoing(chance: random.Random, base: _Base) -> _Made:
    who = {"caller": chance.choice(_DIDS), "target": _customer(chance)} | _agent(chance, side="callerextension")
    ring = chance.randrange(2, 45)
    if chance.random() < 0.55:
        cdr = base.cdr(
            "Extension Outgoing", "ANSWER", duration=chance.randrange(3, 1200), dialtime=ring, price=14, **who
        )
        return Disposition.ANSWERED, [cdr]
    status, disposition = chance.choice(
        (
            ("NOANSWER", Disposition.NO_ANSWER),
            ("BUSY", Disposition.BUSY),
            ("CANCEL", Disposition.CANCELLED),
            ("CONGESTION", Disposition.FAILED),
        )
    )
    return disposition, [base.cdr("Extension Outgoing", status, dialtime=ring, **who)]


def _click2call(chance: random.Random, base: _Base) -> _Made:
    caller, customer = chance.choice(_DIDS), _customer(chance)
    agent = _agent(chance, side="targetextension")
    custom = {"var_case": f"C-{chance.randrange(10_000)}", "var_attempt": "1"}
    pick_up = chance.randrange(1, 9)
    if chance.random() < 0.15:
        leg1 = base.cdr(
            "Click2Call leg1",
            "NOANSWER",
            caller=caller,
            target=agent["targetextension"],
            dialtime=60,
            CustomData=custom,
            **agent,
        )
        return Disposition.NOT_DIALLED, [leg1]
    reached = chance.random() < 0.5
    ring, talk = chance.randrange(3, 40), chance.randrange(5, 600) if reached else 0
    leg1 = base.cdr(
        "Click2Call leg1",
        "ANSWER",
        caller=caller,
        target=agent["targetextension"],
        duration=ring + talk,
        dialtime=pick_up,
        CustomData=custom,
        **agent,
    )
    side = {
        "callerextension": agent["targetextension"],
        "representative_name": agent["representative_name"],
        "representative_code": agent["representative_code"],
    }
    leg2 = base.cdr(
        "Click2Call leg2",
        "ANSWER" if reached else "NOANSWER",
        after=pick_up,
        caller=caller,
        target="972" + customer[1:],
        duration=ring + talk,
        actualCallDuration=talk,
        actualCallDialtime=ring,
        isAnswer=int(reached),
        direction="outgoing",
        CustomData=custom,
        **side,
    )
    return (Disposition.ANSWERED if reached else Disposition.NO_ANSWER), [leg1, leg2]


def _voicemail(chance: random.Random, base: _Base) -> _Made:
    cdr = base.cdr(
        "VoiceMail",
        "VOICEMAIL",
        caller=_customer(chance),
        did=chance.choice(_DIDS),
        duration=chance.randrange(3, 90),
        dialtime=chance.randrange(10, 30),
        record=_record(base.key),
    )
    return Disposition.VOICEMAIL, [cdr]


def _ivr(chance: random.Random, base: _Base) -> _Made:
    cdr = base.cdr(
        "Incoming Call",
        chance.choice(("VOEND", "TE")),
        caller=_customer(chance),
        did=chance.choice(_DIDS),
        duration=chance.randrange(3, 60),
        IVR=_layers(chance, as_text=chance.random() < 0.3),
    )
    return Disposition.IVR, [cdr]


def _auto_forward(chance: random.Random, base: _Base) -> _Made:
    cdr = base.cdr(
        "Auto forward",
        "ANSWER",
        caller=_customer(chance),
        target=_customer(chance),
        duration=chance.randrange(5, 300),
        dialtime=chance.randrange(3, 20),
        price=21,
    )
    return Disposition.ANSWERED, [cdr]


def _layers(chance: random.Random, *, as_text: bool) -> Any:
    layers = [
        {"layer_id": 8000 + place, "layer_name": name, "layer_number": place, "Dtmf": chance.randrange(10)}
        | {"dtmf_order": place + 1}
        for place, name in enumerate(_LAYERS[: chance.randrange(1, len(_LAYERS) + 1)])
    ]
    return json.dumps(layers) if as_text else layers


def _broken(chance: random.Random, number: int) -> Push:
    body = chance.choice(
        (
            f'{{"caller":"05{number}',
            f'<!DOCTYPE methodCall [<!ENTITY n "{number}">]><methodCall/>',
            f'{{"caller":"0500000000","duration":{number}}}',
        )
    ).encode()
    return Push(body=body, content_type=Format.JSON.value, call_key=None, disposition=None)


def render(cdr: Mapping[str, Any], written: Format) -> bytes:
    """The body of a push of `cdr` in one of the vendor's formats."""
    match written:
        case Format.JSON:
            return orjson.dumps(cdr)
        case Format.FORM:
            return urlencode({key: _flat(value) for key, value in cdr.items()}).encode()
        case Format.XMLRPC:
            members = "".join(
                f"<member><name>{key}</name><value>{_xml_value(value)}</value></member>" for key, value in cdr.items()
            )
            return (
                '<?xml version="1.0"?>\n<methodCall><methodName>CDR</methodName><params><param><value>'
                f"<struct>{members}</struct></value></param></params></methodCall>"
            ).encode()


def _flat(value: Any) -> str:
    return json.dumps(value) if isinstance(value, (dict, list)) else str(value)


def _xml_value(value: Any) -> str:
    if isinstance(value, int):
        return f"<{'i8' if value >= 2**31 else 'i4'}>{value}</{'i8' if value >= 2**31 else 'i4'}>"
    text = _flat(value)
    return f"<string>{escape(text)}</string>" if text else "<string />"


async def send(
    stream: Iterable[Push],
    *,
    url: str,
    rate: float | None = None,
    concurrency: int = 8,
    ledger: Ledger | None = None,
    sent: Sent | None = None,
    resend_seconds: float = RESEND_SECONDS,
) -> Sent:
    """Push all of `stream` to `url` and return what became of it; endless streams are ended by cancelling.

    `rate` is in pushes a second (None: as fast as answers come), `concurrency` the connections. `ledger` and `sent` may
    be handed in to watch the progress.
    """
    counts = sent if sent is not None else Sent()
    queue: asyncio.Queue[Push] = asyncio.Queue(maxsize=concurrency)
    async with _session(concurrency) as session, asyncio.TaskGroup() as tasks:
        workers = [
            tasks.create_task(_work(queue, session=session, url=url, counts=counts, resend_seconds=resend_seconds))
            for _ in range(concurrency)
        ]
        loop = asyncio.get_running_loop()
        due = loop.time()
        for push in stream:
            if rate is not None:
                due = max(due + 1 / rate, loop.time() - 1.0)
                await asyncio.sleep(due - loop.time())
            if ledger is not None:
                ledger.note(push)
            await queue.put(push)
        await queue.join()
        for worker in workers:
            worker.cancel()
    return counts


@asynccontextmanager
async def _session(concurrency: int) -> AsyncIterator[aiohttp.ClientSession]:
    connector = aiohttp.TCPConnector(limit=concurrency)
    timeout = aiohttp.ClientTimeout(total=ANSWER_SECONDS)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
        yield session


async def _work(
    queue: asyncio.Queue[Push], *, session: aiohttp.ClientSession, url: str, counts: Sent, resend_seconds: float
) -> None:
    while True:
        push = await queue.get()
        try:
            await _deliver(push, session=session, url=url, counts=counts, resend_seconds=resend_seconds)
        finally:
            queue.task_done()


async def _deliver(
    push: Push, *, session: aiohttp.ClientSession, url: str, counts: Sent, resend_seconds: float
) -> None:
    counts.pushes += 1
    for attempt in range(SENDS):
        if attempt:
            counts.resends += 1
            await asyncio.sleep(resend_seconds * attempt)
        try:
            async with session.post(url, data=push.body, headers={"Content-Type": push.content_type}) as answer:
                text = await answer.read()
                if answer.status == 200:
                    if b'"err":0' in text or b"<int>0</int>" in text:
                        counts.acknowledged += 1
                    else:
                        counts.not_understood += 1
                    return
                counts.last_error = f"HTTP {answer.status}{_HINTS.get(answer.status, '')}"
        except aiohttp.ClientConnectorError as error:
            counts.last_error = f"{error.os_error.strerror or error}: does the hub run, and listen there?"
        except TimeoutError:
            counts.last_error = f"no answer in {ANSWER_SECONDS:g} s"
        except aiohttp.ClientError as error:
            counts.last_error = str(error) or type(error).__name__
    counts.given_up += 1
