"""Channels of the simulated switch: what the placeholders of an event say of one of them.

A channel is planned with all its times; an event shows those that its shape asks for. Spans are FreeSWITCH's: whole
seconds are differences of whole seconds (`switch_channel_set_timestamps` of switch_channel.c), the others are exact.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from datetime import datetime, tzinfo
from uuid import UUID

from cdrhub.sources.freeswitch.simulate.events import microseconds, moment
from cdrhub.sources.simulation.centre import Centre

#: ITU-T Q.850 numbers of the causes that the simulation knows; FreeSWITCH's own causes are told as a normal clearing.
Q850 = {"NORMAL_CLEARING": 16, "USER_BUSY": 17, "NO_ANSWER": 19, "CALL_REJECTED": 21}
NORMAL_CLEARING = 16


class Identities:
    """Uuids and session numbers of a simulation. Another run has others, also of the same seed: a switch names no two
    channels alike, and the hub may have heard of the first ones. `of` tells those of one run apart."""

    def __init__(self, centre: Centre, of: str) -> None:
        self._chance = random.Random(f"{centre.start.isoformat()}/{centre.seed} {of}")  # noqa: S311 - no secret
        self.sessions = 0

    def uuid(self) -> str:
        """A random (version 4) uuid, RFC 9562."""
        return str(UUID(int=self._chance.getrandbits(128), version=4))

    def session(self) -> int:
        """The next session number."""
        self.sessions += 1
        return self.sessions


@dataclass(frozen=True, kw_only=True, slots=True)
class Channel:
    """One channel from its creation to its end. Times are aware; what does not happen is None.

    `number` is whose phone it is, `name` the name shown with it. `hung_up` is FreeSWITCH's sip_hangup_disposition.
    """

    uuid: str
    number: str
    created_at: datetime
    gone_at: datetime
    name: str = ""
    progress_at: datetime | None = None
    answered_at: datetime | None = None
    bridged_at: datetime | None = None
    profile_at: datetime | None = None  #: when its caller profile was last replaced; none: created_at
    cause: str = "NORMAL_CLEARING"
    hung_up: str = "send_bye"
    session: int = 0
    sip_call_id: str = ""
    inside: bool = False  #: a phone of ours, and not one beyond the carrier
    more: dict[str, str] = field(default_factory=dict)

    @property
    def path(self) -> str:
        """Channel-Name of a channel that called the switch."""
        return f"sofia/{'internal' if self.inside else 'external'}/{self.number}@127.0.0.1"

    def fields(self, role: str, *, zone: tzinfo) -> dict[str, str]:
        """The placeholders of this channel in the `role` that it plays in a shape: `call`, `leg` or `target`."""
        times = {
            "created": self.created_at,
            "profile": self.profile_at or self.created_at,
            "progress": self.progress_at,
            "answered": self.answered_at,
            "bridged": self.bridged_at,
            "gone": self.gone_at,
        }
        said = {
            "uuid": self.uuid,
            "number": self.number,
            "name": self.name or self.number,
            "channel": self.path,
            "cause": self.cause,
            "cause_q850": str(Q850.get(self.cause, NORMAL_CLEARING)),
            "hung_up": self.hung_up,
            "session_id": str(self.session),
            "sip_call_id": self.sip_call_id or self.uuid,
            **self._spans(),
            **self.more,
        }
        for name, at in times.items():
            said |= moment(name, at, zone=zone)
        return {f"{role}.{name}": value for name, value in said.items()}

    def _spans(self) -> dict[str, str]:
        answered = self.answered_at is not None
        ends = {
            "duration": (self.created_at, self.gone_at),
            "bill": (self.answered_at, self.gone_at),
            "progress": (self.created_at, self.progress_at if answered else None),
            "answer": (self.created_at, self.answered_at),
            "wait": (self.created_at, self.bridged_at),
            "progress_media": (self.created_at, None),
            "flow_bill": (self.created_at if answered else None, self.gone_at),
        }
        said: dict[str, str] = {}
        for name, (begin, end) in ends.items():
            exact = whole = 0
            if begin is not None and end is not None:
                first, last = microseconds(begin), microseconds(end)
                exact, whole = last - first, last // 1_000_000 - first // 1_000_000
            names = ("duration", "mduration", "uduration")
            if name != "duration":
                names = (f"{name}sec", f"{name}msec", f"{name}usec")
            said |= dict(zip(names, (str(whole), str(exact // 1_000), str(exact)), strict=True))
        return said
