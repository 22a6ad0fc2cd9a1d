"""Events as the simulated switch fires them: numbered, dated, and rendered as plain text or as JSON.

A Happening is planned: what happens when, without a number. The core that fires it gives it the next Event-Sequence;
each rendering is made once, however many clients listen.
https://developer.signalwire.com/freeswitch/FreeSWITCH-Explained/Modules/mod_event_socket_1048924/
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from functools import cached_property
from urllib.parse import unquote

import orjson

from cdrhub.sources.freeswitch.esl.frames import EVENT_PLAIN, encode_frame
from cdrhub.sources.freeswitch.headers import PlainHeaders
from cdrhub.sources.freeswitch.simulate.shapes import HEARTBEAT, Fields, shape

HOSTNAME = "simulated"
SWITCHNAME = "cdrhub"
EVENT_JSON = "text/event-json"

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_ARRAY = "ARRAY::"  #: before the values of a variable that has several, with `|:` between them


@dataclass(frozen=True, kw_only=True, slots=True)
class Happening:
    """One event to come: the shape it has and the values that belong to it. `at` is aware."""

    at: datetime
    shape: str
    fields: Fields
    body: str = ""  #: of a BACKGROUND_JOB: its result


class Event:
    """An event that was fired: its header lines as a plain event has them, and perhaps a body."""

    def __init__(self, written: str, body: str = "") -> None:
        self._written = written
        self._body = body

    @cached_property
    def plain(self) -> bytes:
        """The frame for a client that asked for `event plain`. The body is not url-encoded."""
        return encode_frame(EVENT_PLAIN, f"{self._written}\n{self._body}".encode())

    @cached_property
    def json(self) -> bytes:
        """The frame for a client that asked for `event json`: a repeated header is a repeated key."""
        members = [f"{_json(name)}:{_json(_several(value))}" for name, value in self.headers()]
        if self._body:
            members.append(f'"_body":{_json(self._body)}')
        return encode_frame(EVENT_JSON, f"{{{','.join(members)}}}".encode())

    def headers(self) -> list[tuple[str, str]]:
        """Names and decoded values, in order; a name may come twice."""
        split = (line.partition(": ") for line in self._written.split("\n") if line)
        return [(name, unquote(value) if "%" in value else value) for name, _, value in split]

    def get(self, name: str) -> str:
        """The first value of one header; empty where it is not there."""
        return self._lazy.get(name) or ""

    @cached_property
    def _lazy(self) -> PlainHeaders:
        return PlainHeaders(self._written.encode())

    @cached_property
    def first(self) -> Mapping[str, str]:
        """The first value of each header."""
        return dict(reversed(self.headers()))


class Core:
    """One run of a FreeSWITCH: its Core-UUID and its counter of events. `zone` is that of Event-Date-Local."""

    def __init__(self, uuid: str, *, zone: tzinfo) -> None:
        self.uuid = uuid
        self.zone = zone
        self.fired = 0
        self._own = {"core": uuid, "hostname": HOSTNAME, "switchname": SWITCHNAME}

    def fire(self, happening: Happening, more: Fields | None = None) -> Event:
        """`happening` as the next event; `more` are values that only the moment of firing knows."""
        self.fired += 1
        now = {"sequence": str(self.fired), **moment("now", happening.at, zone=self.zone)}
        now["now.gmt"] = f"{happening.at.astimezone(UTC):%a, %d %b %Y %H:%M:%S} GMT"
        fields = {**self._own, **happening.fields, **(more or {}), **now}
        return Event(shape(happening.shape).plain(fields), happening.body)

    def heartbeat(self, at: datetime, *, up: timedelta, sessions: int, since_start: int) -> Event:
        """A HEARTBEAT. `up`: how long the core has been running; `sessions`: channels now, and since its start."""
        whole = int(up.total_seconds())
        days, hours = divmod(whole // 3_600, 24)
        clock = f"{hours} hours, {whole // 60 % 60} minutes, {whole % 60} seconds"
        fields = {
            "uptime": f"0 years, {days} days, {clock}, {up.microseconds // 1_000} milliseconds, "
            f"{up.microseconds % 1_000} microseconds",
            "uptime.ms": str(up // timedelta(milliseconds=1)),
            "sessions": str(sessions),
            "sessions.since_start": str(since_start),
        }
        return self.fire(Happening(at=at, shape=HEARTBEAT, fields=fields))


def microseconds(at: datetime) -> int:
    """Microseconds since 1970, UTC."""
    return (at - _EPOCH) // _MICROSECOND


def moment(name: str, at: datetime | None, *, zone: tzinfo) -> dict[str, str]:
    """The placeholders of a time: `name` in microseconds, `name.s` in seconds, `name.local` in words of `zone`. What
    did not happen is zero, and has no words."""
    if at is None:
        return {name: "0", f"{name}.s": "0", f"{name}.local": ""}
    exact = microseconds(at)
    local = at.astimezone(zone)
    return {name: str(exact), f"{name}.s": str(exact // 1_000_000), f"{name}.local": f"{local:%Y-%m-%d %H:%M:%S}"}


def _several(value: str) -> str | list[str]:
    return value.removeprefix(_ARRAY).split("|:") if value.startswith(_ARRAY) else value


def _json(value: str | list[str]) -> str:
    return orjson.dumps(value).decode()
