"""One channel as an event or a CDR document describes it: the same questions, two ways to answer them.

An event names a channel in `Caller-*` headers and `variable_*`; mod_json_cdr and mod_xml_cdr write `variables` and a
`callflow` with one caller profile per transfer. Times are microseconds since 1970, UTC; a zero means "not yet".
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any, Protocol
from urllib.parse import unquote

from cdrhub.sources.digits import whole
from cdrhub.sources.freeswitch.headers import UNDEFINED, Headers

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MAX_DIGITS = 16  #: of a time in microseconds: the year 2286


def microseconds(text: str | None) -> datetime | None:
    """The moment of a count of microseconds; None for zero, nothing and what is no number."""
    count = whole(text, digits=_MAX_DIGITS)
    return _EPOCH + timedelta(microseconds=count) if count else None


def seconds(text: str | None) -> datetime | None:
    """The moment of a count of seconds; None for zero, nothing and what is no number."""
    count = whole(text, digits=_MAX_DIGITS - 6)
    return _EPOCH + timedelta(seconds=count) if count else None


def in_seconds(at: datetime | None) -> datetime | None:
    """`at` in whole seconds, rounded down as mod_callcenter does."""
    return at.replace(microsecond=0) if at is not None else None


def inner_side(name: str | None) -> bool:
    """Whether a channel's name is that of the side of a loopback on which the dialplan runs, `loopback/1001-b`: the
    other side, `loopback/1001-a`, is a leg of the call and tells the same."""
    return name is not None and name.startswith("loopback/") and name.endswith("-b")


class Channel(Protocol):
    """What is asked of a channel, whatever described it."""

    def variable(self, name: str) -> str | None: ...
    @property
    def uuid(self) -> str | None: ...
    @property
    def outbound(self) -> bool:
        """Whether the switch placed it (and did not receive it)."""

    @property
    def call_uuid(self) -> str | None: ...
    @property
    def created(self) -> datetime | None: ...
    @property
    def answered(self) -> datetime | None: ...
    @property
    def bridged(self) -> datetime | None:
        """The last time that it was joined to another channel."""

    @property
    def gone(self) -> datetime | None:
        """When it was hung up; None while it lives."""

    @property
    def cause(self) -> str | None:
        """Why it was hung up; None while it lives."""

    @property
    def source(self) -> str | None:
        """The module that the call came from. A channel has that of the channel which asked for it."""

    @property
    def partner(self) -> str | None:
        """The channel that it was joined to, or parted from, just now."""

    @property
    def parted(self) -> datetime | None:
        """When that was, where it was parted."""

    @property
    def caller_number(self) -> str | None: ...
    @property
    def caller_name(self) -> str | None: ...
    @property
    def destination(self) -> str | None:
        """Where it is now: after a transfer, its target."""

    @property
    def dialled(self) -> str | None:
        """What was dialled first, before any transfer; None where that cannot be told."""

    @property
    def parent_originated(self) -> bool:
        """Whether the channel that asked for this one was itself placed by the switch (a click to call)."""

    @property
    def parent_number(self) -> str | None:
        """The number of the channel that asked for this one, wherever that was transferred since."""

    def destination_of(self, uuid: str) -> str | None:
        """The number of another channel that this one was joined to: the dialled one or, if it called in, its own."""


class EventChannel:
    """The channel of an event's `Unique-ID`."""

    def __init__(self, headers: Headers) -> None:
        self._get = headers.get

    def variable(self, name: str) -> str | None:
        return self._get("variable_" + name)

    @property
    def uuid(self) -> str | None:
        return self._get("Unique-ID")

    @property
    def outbound(self) -> bool:
        return self._get("Call-Direction") == "outbound"

    @property
    def call_uuid(self) -> str | None:
        return self._get("Channel-Call-UUID")

    @property
    def created(self) -> datetime | None:
        return microseconds(self._get("Caller-Channel-Created-Time"))

    @property
    def answered(self) -> datetime | None:
        return microseconds(self._get("Caller-Channel-Answered-Time"))

    @property
    def bridged(self) -> datetime | None:
        return microseconds(self._get("Caller-Channel-Bridged-Time"))

    @property
    def gone(self) -> datetime | None:
        if self._get("Hangup-Cause") is None or self.partner is not None:  # parted, the channel knows no time yet
            return None
        # The callcenter application notices the hang-up before the channel has stamped it.
        return microseconds(self._get("Caller-Channel-Hangup-Time")) or microseconds(self._get("Event-Date-Timestamp"))

    @property
    def cause(self) -> str | None:
        return self._get("Hangup-Cause")

    @property
    def source(self) -> str | None:
        return self._get("Caller-Source")

    @property
    def partner(self) -> str | None:
        return self._get("Bridge-B-Unique-ID") if self._get("Bridge-A-Unique-ID") == self.uuid else None

    @property
    def parted(self) -> datetime | None:
        parted = self._get("Event-Name") == "CHANNEL_UNBRIDGE"
        return microseconds(self._get("Event-Date-Timestamp")) if parted else None

    @property
    def caller_number(self) -> str | None:
        return self._get("Caller-Caller-ID-Number")

    @property
    def caller_name(self) -> str | None:
        return self._get("Caller-Caller-ID-Name")

    @property
    def destination(self) -> str | None:
        return self._get("Caller-Destination-Number")

    @property
    def dialled(self) -> str | None:
        if self._get("variable_transfer_history") is None:
            return self._get("Caller-Destination-Number")
        return self._get("variable_sip_req_user")

    @property
    def parent_originated(self) -> bool:
        # The customer of an agent's own call is outbound as well; his profile stems from the agent's incoming channel.
        placed = "originate" in (self._get("Other-Leg-Source") or "")
        return placed and self._get("Other-Leg-Direction") == "outbound"

    @property
    def parent_number(self) -> str | None:
        get = self._get
        return _user_of(get("Other-Leg-Channel-Name")) or get("Other-Leg-RDNIS") or get("Other-Leg-Destination-Number")

    def destination_of(self, uuid: str) -> str | None:
        if self._get("Other-Leg-Unique-ID") != uuid:
            return None
        called_in = self._get("Other-Leg-Direction") == "inbound"
        return self._get("Other-Leg-Caller-ID-Number" if called_in else "Other-Leg-Destination-Number")


class DocumentChannel:
    """The channel of a CDR document: `variables`, and `profiles` of the callflow, the first of the call first.

    mod_xml_cdr url-encodes every variable; mod_json_cdr does unless `encode-values` is false. `start_stamp` tells. An
    empty value that a channel took over from an event stands there as `_undef_`.
    """

    def __init__(self, variables: Mapping[str, Any], profiles: list[Mapping[str, Any]]) -> None:
        self._variables = variables
        self._profiles = profiles
        stamp = variables.get("start_stamp")
        self._encoded = isinstance(stamp, str) and "%" in stamp

    def variable(self, name: str) -> str | None:
        value = self._variables.get(name)
        if isinstance(value, list):
            value = value[0] if value else None
        if not isinstance(value, str) or not value or value == UNDEFINED:
            return None
        return unquote(value, errors="replace") if self._encoded and "%" in value else value

    @property
    def uuid(self) -> str | None:
        return self.variable("uuid")

    @property
    def outbound(self) -> bool:
        return self.variable("direction") == "outbound"

    @property
    def call_uuid(self) -> str | None:
        return self.variable("call_uuid")

    @property
    def created(self) -> datetime | None:
        return self._moment("start")

    @property
    def answered(self) -> datetime | None:
        return self._moment("answer")

    @property
    def bridged(self) -> datetime | None:
        return self._moment("bridge")

    @property
    def gone(self) -> datetime | None:
        return self._moment("end")

    @property
    def cause(self) -> str | None:
        return self.variable("hangup_cause")

    @property
    def source(self) -> str | None:
        return self._first("source")

    @property
    def partner(self) -> str | None:
        return None

    @property
    def parted(self) -> datetime | None:
        return None

    @property
    def caller_number(self) -> str | None:
        return self._first("caller_id_number") or self.variable("sip_from_user")

    @property
    def caller_name(self) -> str | None:
        return self._first("caller_id_name")

    @property
    def destination(self) -> str | None:
        return _text(self._profiles[-1].get("destination_number")) if self._profiles else None

    @property
    def dialled(self) -> str | None:
        return self._first("destination_number") or self.variable("sip_req_user")

    @property
    def parent_originated(self) -> bool:
        return any("originate" in (_text(profile.get("source")) or "") for profile in self._others("originator"))

    @property
    def parent_number(self) -> str | None:
        others = self._others("originator")
        if not others:
            return None
        name, *numbers = (_text(others[-1].get(each)) for each in ("chan_name", "rdnis", "destination_number"))
        return _user_of(name) or next(filter(None, numbers), None)

    def destination_of(self, uuid: str) -> str | None:
        for profile in (*self._others("originatee"), *self._others("originator")):
            if profile.get("uuid") == uuid:
                return _text(profile.get("destination_number"))
        return None

    def _moment(self, name: str) -> datetime | None:
        exact = self.variable(f"{name}_uepoch")
        return microseconds(exact) if exact is not None else seconds(self.variable(f"{name}_epoch"))

    def _first(self, name: str) -> str | None:
        return _text(self._profiles[0].get(name)) if self._profiles else None

    @cached_property
    def _other_profiles(self) -> dict[str, list[Mapping[str, Any]]]:
        found: dict[str, list[Mapping[str, Any]]] = {"originator": [], "originatee": []}
        for profile in self._profiles:
            for side, others in found.items():
                members = profile.get(side)
                listed = members.get(f"{side}_caller_profiles") if isinstance(members, Mapping) else None
                if isinstance(listed, list):
                    others.extend(other for other in listed if isinstance(other, Mapping))
        return found

    def _others(self, side: str) -> list[Mapping[str, Any]]:
        return self._other_profiles[side]


def _user_of(name: str | None) -> str | None:
    """The number in a channel's name, `sofia/internal/1001@192.0.2.1:5060`; None where it holds none."""
    user = (name or "").rpartition("/")[2].partition("@")[0]
    return user if user.removeprefix("+").isdecimal() else None


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None
