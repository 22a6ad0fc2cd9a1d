"""A simulated Enigma dialler: the CDRs of a believable contact centre, pushed onto the lists of a real Redis.

Of the common centre it makes what the dialler makes: its campaigns, of which every number tried is a call with the
contact's reference, and the agents' own calls as Click2Dial. A CDR is pushed when its call ends, in the form of
revision 36 (https://tforge.atlassian.net/wiki/pages/viewpage.action?pageId=3441754). Some are pushed twice, and status
messages stand between them. The ledger holds what a CDR lets anyone know: no moment but the start, and talk only where
an agent was joined.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from hashlib import blake2b
from types import MappingProxyType
from typing import Any, Final

import orjson
from redis.asyncio import Redis

from cdrhub.errors import SourceSignal
from cdrhub.model.disposition import Direction, Disposition, EndedBy, Outcome, Role, State
from cdrhub.sources.enigma.decode import CLICK2DIAL
from cdrhub.sources.simulation.centre import Centre
from cdrhub.sources.simulation.ledger import Entry, Expected, Person
from cdrhub.sources.simulation.numbers import Number
from cdrhub.sources.simulation.planned import Course, PlannedCall, Side, to_second
from cdrhub.sources.simulation.simulation import Due, Simulation
from cdrhub.sources.transports.redis_client import connected, signalled
from cdrhub.sources.transports.redis_list import Side as End

SYSTEM: Final = "enigma"
MIX: Final[Mapping[Course, float]] = MappingProxyType({Course.CAMPAIGN: 0.8, Course.OUTBOUND: 0.2})
"""Of the courses of the centre's calls, those that the dialler makes."""
CAMPAIGNS: Final = "enigma:notifications:campaigns"
CLICK2DIAL_CDRS: Final = "enigma:notifications:cdr"

REPEATED: Final = 0.02  #: share of CDRs that are pushed twice, byte for byte
STATUS: Final = 0.02  #: share of calls beside which the list carries another message
ANSWER_SECONDS: Final = 5.0  #: that Redis has to answer
AGAIN_SECONDS: Final = 0.5  #: until a push that failed is tried again
CALLS_OF_A_RUN: Final = 1_000_000  #: between the first call_ref of one run and that of another, at least

_ENDS: Final[dict[Disposition, tuple[str, int | None]]] = {
    Disposition.ABANDONED: ("callee_hungup", 16),
    Disposition.VOICEMAIL: ("voicemail", 16),
    Disposition.BUSY: ("busy", 17),
    Disposition.REJECTED: ("reject", 21),
    Disposition.NO_ANSWER: ("timeout", 18),
    Disposition.FAILED: ("error", 34),
    Disposition.CANCELLED: ("hungup", 0),
}
_AGENTS_WORDS: Final = ("agent_hungup", "closed", "retry", "remove_number")
"""How a call ends that the agent ended: by hanging up, or with a disposition of his."""
_ENDED_BY: Final = {"callee_hungup": EndedBy.CALLEE}


@dataclass(frozen=True, kw_only=True, slots=True)
class Packet:
    """One entry pushed onto a list."""

    key: str
    body: bytes
    repeated: bool = False  #: the same bytes were pushed before
    silent: bool = False  #: says nothing of a call
    broken: bool = False  #: nobody can read it


class Dialler:
    """Renders planned calls. `broken` is the share of calls beside which an entry is pushed that nobody can read."""

    def __init__(self, centre: Centre, *, broken: float = 0.0) -> None:
        self._broken = broken
        self._chance = random.Random(centre.seed)  # noqa: S311 - repeatable, not secret
        run = blake2b(f"{centre.start.isoformat()}/{centre.seed}".encode(), digest_size=4).digest()
        self._first_ref = int.from_bytes(run) * CALLS_OF_A_RUN

    def render(self, call: PlannedCall) -> Iterable[Due[Packet]]:
        """The CDR of a call of a campaign or of an agent, at its end, with its entry; nothing for other calls."""
        if call.customer is None or call.course not in MIX:
            return ()
        payload = self._payload(call, call.customer)
        key = CAMPAIGNS if call.contact is not None else CLICK2DIAL_CDRS
        packet = Packet(key=key, body=orjson.dumps({"type": "cdr", "payload": payload}))
        pushed = [Due(at=call.ended_at, what=packet, entry=_entry(call, call.customer, payload))]
        if self._chance.random() < REPEATED:
            again = Packet(key=key, body=packet.body, repeated=True)
            pushed.append(Due(at=call.ended_at + timedelta(seconds=1), what=again))
        if self._chance.random() < STATUS:
            said = {"type": "status", "payload": {"status": "started", "ref": payload["ref"]}}
            pushed.append(Due(at=call.started_at, what=Packet(key=key, body=orjson.dumps(said), silent=True)))
        if self._chance.random() < self._broken:
            half = packet.body[: len(packet.body) // 2]
            pushed.append(Due(at=call.ended_at, what=Packet(key=key, body=half, broken=True)))
        return pushed

    def _payload(self, call: PlannedCall, customer: Number) -> dict[str, Any]:
        reason, code = self._end(call)
        agent = call.caller or call.agent
        payload: dict[str, Any] = {
            "extension": agent.extension if agent is not None else None,
            "number": customer.dialled,
            "dial_number": call.line.international,
            "recording_url": None,
            "call_ref": self._first_ref + call.number,
            "contact_ref": call.contact.ref if call.contact is not None else f"c2d-{call.number}",
            "dialed_at": int(call.started_at.timestamp()),
            "call_time": call.talk_seconds,
            "end_reason": reason,
            "end_code": code,
            "call_dir": "outbound",
            "ref": call.contact.campaign if call.contact is not None else CLICK2DIAL,
        }
        if call.answered_at is not None:
            payload["recording_url"] = f"/dev/recordings/ENIG00034~{call.number}~{payload['ref']}.wav"
        if call.contact is None:
            payload["hold_time"] = 0
        return payload

    def _end(self, call: PlannedCall) -> tuple[str, int | None]:
        if call.disposition is not Disposition.ANSWERED:
            return _ENDS[call.disposition]
        if call.contact is None:
            return "hungup", 16
        return ("callee_hungup" if call.hung_up is Side.CALLEE else self._chance.choice(_AGENTS_WORDS)), 16


def _entry(call: PlannedCall, customer: Number, payload: dict[str, Any]) -> Entry:
    """What the hub must show of `call`, of which the dialler says `payload`."""
    agent = call.agent.extension if call.agent is not None else None
    reason = payload["end_reason"]
    ended_by = EndedBy.AGENT if reason in _AGENTS_WORDS else _ENDED_BY.get(reason, EndedBy.UNKNOWN)
    columns: dict[str, Expected] = {
        "direction": Direction.OUTBOUND,
        "state": State.ENDED,
        "disposition": call.disposition,
        "disposition_raw": reason,
        "cause": str(payload["end_code"]),
        "ended_by": ended_by,
        "campaign": call.contact.campaign if call.contact is not None else None,
        "contact_ref": payload["contact_ref"],
        "caller_number": payload["dial_number"],
        "caller_e164": call.line.e164,
        "callee_number": customer.dialled,
        "callee_e164": customer.e164,
        "external_number": customer.e164,
        "dialed_number": customer.dialled,
        "agent_id": agent,
        "agent_extension": agent,
        "started_at": to_second(call.started_at),
        "answered_at": None,
        "ended_at": None,
        "wait_seconds": None,
        "ring_seconds": None,
        "talk_seconds": call.talk_seconds,
        "duration_seconds": None,
        "recording_url": payload["recording_url"],
    }
    people = (Person(role=Role.AGENT, agent_id=agent, outcome=Outcome.ANSWERED),) if agent is not None else ()
    return Entry(system=SYSTEM, call_key=str(payload["call_ref"]), columns=columns, people=people)


async def simulate(
    simulation: Simulation,
    *,
    url: str,
    end: End = "right",
    broken: float = 0.0,
    trouble: Callable[[str], None] = lambda _: None,
) -> None:
    """Push what the simulated centre makes onto the lists of the Redis at `url`, until it is over.

    `end` is the one that is pushed onto: the dialler's source does RPUSH, the vendor's pages say "push left". A push
    that fails is made again until the simulation is to finish; it may then be there twice, as with any client.
    `trouble` is told each time why. `broken` is that of `Dialler`.
    """
    sent = simulation.sent
    sent.acknowledged = sent.acknowledged or 0
    dialler = Dialler(simulation.centre, broken=broken)
    async with connected(url) as client:
        async for due in simulation.play(dialler.render):
            sent.records += 1
            sent.repeated += due.what.repeated
            sent.broken += due.what.broken
            sent.silent += due.what.silent
            while (why := await _failure(client, due.what, end=end)) is not None and not simulation.pace.finishing:
                sent.last_error = why
                trouble(why)
                await asyncio.sleep(AGAIN_SECONDS)
            if why is None:
                sent.acknowledged += 1
                simulation.settle(due)
            else:
                sent.given_up += 1
                sent.last_error = why


async def _failure(client: Redis, packet: Packet, *, end: End) -> str | None:
    """Push `packet`; None, or why that failed."""
    try:
        with signalled():
            async with asyncio.timeout(ANSWER_SECONDS):
                push = client.rpush if end == "right" else client.lpush
                reply: Any = push(packet.key, packet.body)
                await reply
    except SourceSignal as error:
        return str(error)
    return None
