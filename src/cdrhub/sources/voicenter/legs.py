"""The legs of a Voicenter CDR: an IVR, a pass through a queue, and the party that the CDR is about. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cdrhub.model.disposition import Direction, Disposition, Outcome, Role
from cdrhub.model.update import LegUpdate, bounded_key, storable
from cdrhub.sources.voicenter.reading import Reading
from cdrhub.sources.voicenter.times import Times, after
from cdrhub.sources.voicenter.words import UNKNOWN_STATUS, CdrType, Part, Status

_AGENT_IN_LEG_1 = frozenset({"click2callleg2", "productivecallleg2"})
"""Second legs of calls whose first one is our agent's; of the others, as a queue's call-back, it is an IVR's."""


class Legs:
    """The legs of one CDR."""

    def __init__(self, reading: Reading, status: Status, times: Times) -> None:
        self._reading = reading
        self._status = status
        self._times = times

    def of_call(
        self,
        kind: CdrType,
        disposition: Disposition,
        *,
        direction: Direction,
        who: dict[str, str],
        queue: tuple[str | None, str | None] | None,
    ) -> tuple[LegUpdate, ...]:
        """All of them, in the order of what happened: IVR, queue, the party that the CDR is about, its agent. `who` are
        the agent's columns, `queue` id and name of the one that the call passed through."""
        reading, times = self._reading, self._times
        legs: list[LegUpdate] = []
        if "IVR" in reading.known:
            outcome = Outcome.LEFT if disposition is Disposition.IVR else Outcome.ANSWERED
            legs.append(self._leg("ivr", Role.IVR, outcome, {"offered_at": times.started}))
        if queue is not None:
            legs.append(self._queue_leg(queue))
        key = bounded_key(kind.key)
        customer = kind.role is Role.CUSTOMER or (kind.role is Role.AGENT and direction is Direction.OUTBOUND)
        if kind.part is Part.OPENS:
            legs.append(self._person(key, Role.AGENT, who | {"number": reading.text("target")}))
        elif customer:
            legs.append(self._person(key, Role.CUSTOMER, {"number": reading.text("target")}))
            if who and kind.key not in _AGENT_IN_LEG_1 and disposition is Disposition.ANSWERED:
                served = who | {"answered_at": times.answered, "left_at": times.ended, "talk_seconds": times.talk}
                legs.append(self._leg(f"{key}.agent", Role.AGENT, Outcome.ANSWERED, served))
        elif kind.role is Role.VOICEMAIL:
            left = Outcome.LEFT if disposition is Disposition.VOICEMAIL else Outcome.UNKNOWN
            legs.append(self._leg(key, Role.VOICEMAIL, left, {"left_at": times.ended}))
        elif kind.role is not Role.AGENT:
            legs.append(self._person(key, kind.role, who | {"number": reading.text("target")}))
        elif who:
            legs.append(self._person(key, Role.AGENT, who))
        return tuple(legs)

    def _person(self, key: str, role: Role, values: Mapping[str, Any]) -> LegUpdate:
        reading, status, times = self._reading, self._status, self._times
        answered = status.person is Outcome.ANSWERED
        its: dict[str, Any] = {**values, "cause": reading.text("status")}
        if status.disposition is Disposition.NOT_DIALLED:
            return self._leg(key, role, status.person, its)  # a number never dialled did not ring
        its["ring_seconds"] = times.ring
        if answered:
            its["offered_at"] = after(times.answered, -times.ring) if times.ring is not None else None
            its["answered_at"] = times.answered
            its["left_at"] = times.ended
            its["talk_seconds"] = times.talk
        elif times.wait is None:
            its["offered_at"] = times.started
            its["left_at"] = after(times.started, times.ring)
        return self._leg(key, role, status.person, its)

    def _queue_leg(self, queue: tuple[str | None, str | None]) -> LegUpdate:
        """The pass through the queue: that of its name, which the Call Log has alone, else of its id; of a CDR with
        neither, the one that another CDR names. Its entry is the answer (or the end) less the wait where that can be
        told, else the start of the call, which an IVR before the queue makes too early; null without a status that is
        known."""
        reading, status, times = self._reading, self._status, self._times
        number, name = queue
        answered = status.queue is Outcome.ANSWERED
        left = times.answered if answered else times.ended
        if left is not None and times.wait is not None:
            entered = after(left, -times.wait)
        else:
            entered = times.started
            left = after(entered, times.wait) if left is None else left
        if status is UNKNOWN_STATUS:
            entered = left = None  # whether an agent answered is not said, so neither is when
        return self._leg(
            "queue.pass",
            Role.QUEUE,
            status.queue,
            {
                "queue_id": number,
                "queue": name,
                "team": reading.text("DepartmentName"),
                "offered_at": entered,
                "answered_at": times.answered if answered else None,
                "left_at": left,
                "cause": reading.text("status"),
            },
            attempt=name or number,
        )

    def _leg(
        self, key: str, role: Role, outcome: Outcome, values: Mapping[str, Any], *, attempt: str | None = None
    ) -> LegUpdate:
        its: dict[str, Any] = {"role": role}
        if outcome is not Outcome.UNKNOWN:  # left out, it hides no outcome that another CDR tells
            its["outcome"] = outcome
        its |= {name: value for name, value in values.items() if value is not None}
        return LegUpdate(
            leg_key=key,
            values=storable(its, self._reading.flags),
            # Without a status the CDR does not say what became of the agent; another CDR of the call may.
            yields=role is Role.AGENT and not self._reading.text("status"),
            attempt_id=attempt,
        )
