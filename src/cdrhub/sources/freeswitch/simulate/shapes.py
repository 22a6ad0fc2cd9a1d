"""Shapes of events: the header lines of a real FreeSWITCH with placeholders where calls differ.

`shapes.json` holds them; tools/freeswitch_shapes.py makes it from recorded traffic. A line is `Name: value` with the
value url-encoded as FreeSWITCH does it, and `{placeholder}`s. A line one of whose placeholders has no value is left
out, as the real event leaves out what is not known yet.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cache, lru_cache
from importlib.resources import files
from urllib.parse import quote

import orjson

CACHED_VALUES = 16_384  #: encoded values kept: numbers and names come again with every header
UNENCODED = "/,()!*$~'"  #: what FreeSWITCH leaves as it is, beside letters, digits and `_.-`

HEARTBEAT = "heartbeat"
_HEARTBEAT_LINES = """\
Event-Name: HEARTBEAT
Core-UUID: {core}
FreeSWITCH-Hostname: {hostname}
FreeSWITCH-Switchname: {switchname}
FreeSWITCH-IPv4: 192.0.2.2
FreeSWITCH-IPv6: fd00%3A%3A2
Event-Date-Local: {now.local}
Event-Date-GMT: {now.gmt}
Event-Date-Timestamp: {now}
Event-Calling-File: switch_core.c
Event-Calling-Function: send_heartbeat
Event-Calling-Line-Number: 95
Event-Sequence: {sequence}
Event-Info: System%20Ready
Up-Time: {uptime}
FreeSWITCH-Version: 1.10.12-release~64bit
Uptime-msec: {uptime.ms}
Session-Count: {sessions}
Max-Sessions: 1000
Session-Per-Sec: 30
Session-Per-Sec-Last: 0
Session-Per-Sec-Max: 5
Session-Per-Sec-FiveMin: 1
Session-Since-Startup: {sessions.since_start}
Session-Peak-Max: {sessions}
Session-Peak-FiveMin: {sessions}
Idle-CPU: 96.333333
"""
#: HEARTBEAT is in no recording; these are the headers that send_heartbeat of switch_core.c adds.

_PLACEHOLDER = re.compile(r"\{([a-z0-9_.]+)\}")

Fields = Mapping[str, str]
"""Values of placeholders, decoded; an empty or missing one takes its line out."""


@lru_cache(maxsize=CACHED_VALUES)
def encoded(value: str) -> str:
    """`value` as a plain event writes it: `switch_url_encode` of FreeSWITCH's switch_utils.c."""
    return quote(value, safe=UNENCODED)


class Line:
    """One header line: constant texts with placeholders between them."""

    __slots__ = ("name", "names", "texts")

    def __init__(self, written: str) -> None:
        self.name, _, value = written.partition(": ")
        parts = _PLACEHOLDER.split(value)
        self.texts, self.names = parts[0::2], parts[1::2]

    def plain(self, fields: Fields) -> str | None:
        """The encoded value; None where a placeholder has none."""
        said = [self.texts[0]]
        for name, text in zip(self.names, self.texts[1:], strict=True):
            value = fields.get(name)
            if not value:
                return None
            said += (encoded(value), text)
        return "".join(said)


class Shape:
    """The lines of one kind of event."""

    __slots__ = ("_runs", "name")

    def __init__(self, name: str, lines: Sequence[str]) -> None:
        self.name = name
        self._runs: list[str | Line] = []
        for written in lines:
            line = Line(written)
            if line.names:
                self._runs.append(line)
            elif self._runs and isinstance(self._runs[-1], str):
                self._runs[-1] += f"{written}\n"
            else:
                self._runs.append(f"{written}\n")

    def plain(self, fields: Fields) -> str:
        """The lines as a plain event has them, each ended by a newline."""
        said: list[str] = []
        for run in self._runs:
            if isinstance(run, str):
                said.append(run)
            elif (value := run.plain(fields)) is not None:
                said.append(f"{run.name}: {value}\n")
        return "".join(said)


@cache
def shape(name: str) -> Shape:
    """The shape called `name`. Raises KeyError where there is none."""
    if name == HEARTBEAT:
        return Shape(name, _HEARTBEAT_LINES.splitlines())
    lines, shapes = _shipped()
    found: list[str] = []
    for run in shapes[name].split():
        first, _, last = run.partition("-")
        found += lines[int(first) : int(last or first) + 1]
    return Shape(name, found)


@cache
def _shipped() -> tuple[list[str], dict[str, str]]:
    body = orjson.loads(files(__package__).joinpath("shapes.json").read_bytes())
    return body["lines"], body["shapes"]
