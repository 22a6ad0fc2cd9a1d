#!/usr/bin/env python3
"""Writes the shapes of the simulated FreeSWITCH from the recorded traffic of a real one (tests/captures/freeswitch).

    .venv/bin/python tools/freeswitch_shapes.py           rewrite shapes.json
    .venv/bin/python tools/freeswitch_shapes.py --check   exit 1 if it is not up to date

A shape is one recorded event in which what differs from call to call (channels, numbers, names, times)
became a `{placeholder}`. Order, names and encoding of the headers stay as they were recorded, so the simulated switch
sends what a real one does without anybody having typed 300 headers.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import orjson

from cdrhub.sources.freeswitch import SYSTEM

ROOT = Path(__file__).parents[1]
CAPTURES = ROOT / "tests" / "captures" / "freeswitch"
SHAPES = ROOT / "src" / "cdrhub" / "sources" / "freeswitch" / "simulate" / "shapes.json"

UNENCODED = "/,()!*$~'"  #: what FreeSWITCH leaves as it is, beside letters, digits and `_.-`

_UUID = re.compile(r"(?<![0-9a-f-])[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}(?![0-9a-f-])")
_SECONDS = re.compile(r"(?<!\d)17952[45]\d{4}(?!\d)")
_BEFORE = r"(?:(?<![0-9A-Za-z])|(?<=%[0-9A-F][0-9A-F])|(?<=%3Dg))"  #: where a text of a call may begin
_AFTER = r"(?!\d)"
_MOMENTS = {
    "Profile-Created": "profile",
    "Channel-Created": "created",
    "Channel-Answered": "answered",
    "Channel-Progress": "progress",
    "Channel-Hangup": "gone",
    "Channel-Transfer": "profile",
    "Channel-Bridged": "bridged",
}
_STAMPS = {
    "start": "created",
    "profile_start": "profile",
    "answer": "answered",
    "bridge": "bridged",
    "progress": "progress",
    "end": "gone",
}
_FLOW_TIMES = {
    "created_time": "created",
    "profile_created_time": "profile",
    "progress_time": "progress",
    "answered_time": "answered",
    "bridged_time": "bridged",
    "hangup_time": "gone",
    "transfer_time": "profile",
}
_SPANS = re.compile(r"[mu]?duration|(?:(?:flow_)?bill|progress_media|progress|answer|wait)[mu]?sec")
#: Headers and variables whose value is the simulation's, whatever it was.
_NAMED = {
    "Core-UUID": "{core}",
    "FreeSWITCH-Hostname": "{hostname}",
    "FreeSWITCH-Switchname": "{switchname}",
    "Event-Date-Local": "{now.local}",
    "Event-Date-GMT": "{now.gmt}",
    "Event-Date-Timestamp": "{now}",
    "Event-Sequence": "{sequence}",
    "CC-Count": "{count}",
    "CC-Agent-State": "{agent.state}",
    "CC-Agent-Status": "{agent.status}",
    "CC-Agent-Called-Time": "{agent.called.s}",
    "CC-Agent-Answered-Time": "{agent.answered.s}",
    "CC-Agent-Aborted-Time": "{agent.gone.s}",
    "CC-Bridge-Terminated-Time": "{agent.gone.s}",
    "CC-Member-Leaving-Time": "{member.gone.s}",
    "CC-Cancel-Reason": "{cancel_reason}",
    "variable_cc_cancel_reason": "{cancel_reason}",
    "variable_cc_queue_answered_epoch": "{agent.answered.s}",
    "variable_cc_queue_terminated_epoch": "{agent.gone.s}",
    "variable_cc_queue_canceled_epoch": "{member.gone.s}",
    "variable_Event-Date-Local": "{now.local}",
    "variable_Event-Date-GMT": "{now.gmt}",
    "variable_Event-Date-Timestamp": "{now}",
    "variable_Event-Sequence": "{sequence}",
    "variable_originate_timeout": "{originate_timeout}",
    "Job-UUID": "{job.uuid}",
    "Job-Command": "{job.command}",
    "Job-Command-Arg": "{job.arguments}",
    "Content-Length": "{job.length}",
}
#: The same, of the channel that the event speaks of.
_NAMED_OF_CHANNEL = {
    "variable_session_id": "session_id",
    "variable_sip_call_id": "sip_call_id",
    "variable_sip_hangup_disposition": "hung_up",
    "variable_sip_invite_stamp": "created",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Capture:
    """A recorded scenario: what in it is whose."""

    name: str
    channels: Mapping[str, str]  #: role -> the first eight digits of its uuid
    texts: Mapping[str, str]  #: value, decoded -> placeholder without braces


@dataclass(frozen=True, kw_only=True, slots=True)
class Shape:
    """A recorded event, by its Event-Sequence."""

    name: str
    capture: Capture
    number: int
    stream: str = "channels.esl"
    cause: str | None = None  #: the hang-up cause that was recorded, where it is to be the simulation's
    without: str | None = None  #: pattern of headers to leave out
    values: Mapping[str, str] = field(default_factory=dict)  #: headers that get another value, decoded


_QUEUE = {"3000@default": "queue", "3000": "queue.number", "0140300000": "did"}
_AGENT = {"1001": "leg.number", "Alice Martin": "leg.name"}
_FIRST = {"1001": "call.number", "Alice Martin": "call.name"}  #: of a click to call that rings the agent first


def _click(name: str, call: str, leg: str, customer: str, *, agent_first: bool) -> Capture:
    texts = {customer: "leg.number" if agent_first else "call.number"}
    if agent_first:
        texts |= {f"Rappel {customer}": "shown.name", **_FIRST}
    else:
        texts |= {"Service clients": "shown.name", "0199000300": "shown.number", **_AGENT}
    return Capture(name=f"13-{name}", channels={"call": call, "leg": leg}, texts=texts)


def _caller(number: str, name: str) -> dict[str, str]:
    return {f"sofia/external/{number}@127.0.0.1": "call.channel", number: "call.number", name: "call.name"}


ANSWERED = Capture(
    name="01-answered-caller-hangs-up",
    channels={"call": "6844f513", "leg": "b4f3a6e9"},
    texts={**_QUEUE, **_AGENT, **_caller("0639980001", "Jean Dupont"), "1001@default": "agent.id"},
)
AGENT_HANGS_UP = Capture(
    name="02-answered-agent-hangs-up",
    channels={"call": "dc1fa0a3", "leg": "ea73b1ac"},
    texts={
        **_QUEUE,
        **_AGENT,
        **_caller("0639980002", "Marie Curie"),
        "alice@default": "agent.id",
        "0170300000": "did",
    },
)
ABANDONED = Capture(
    name="03-abandoned",
    channels={"call": "474428e6"},
    texts={**_QUEUE, **_caller("0639980003", "Paul Abandon"), "alice@default": "agent.id"},
)
ABANDONED_RINGING = Capture(
    name="03-abandoned",
    channels={"call": "979a88a9", "leg": "24db18d1"},
    texts={**_QUEUE, **_AGENT, **_caller("0639980033", "Luc Raccroche"), "alice@default": "agent.id"},
)
TIMEOUT = Capture(
    name="04-timeout",
    channels={"call": "9abf9125"},
    texts={**_QUEUE, **_caller("0639980004", "Anne Attend")},
)
_TRANSFER = {**_caller("0639980008", "Hugo Transfert"), "1003": "target.number", "Chloe Petit": "target.name"}
TRANSFER = Capture(
    name="08-blind-transfer",
    channels={"call": "d2e71707", "leg": "193dda7b", "target": "8eabbf21"},
    texts={**_QUEUE, **_AGENT, **_TRANSFER, "alice@default": "agent.id", "2000": "target.entry"},
)
#: The same recording read as a call that never was in a queue: what came after the transfer.
DIRECT = Capture(
    name="08-blind-transfer",
    channels={"call": "d2e71707", "leg": "8eabbf21"},
    texts={
        **_caller("0639980008", "Hugo Transfert"),
        "0140300000": "did",
        "3000": "did",
        "1001": "leg.number",
        "2000": "leg.number",
        "1003": "leg.number",
        "Chloe Petit": "leg.name",
    },
)
_DIRECT_HISTORY = "{call.profile.s}:{transfer}:bl_xfer:{leg.number}/default/XML"
_DIRECT_VALUES = {
    "variable_transfer_history": _DIRECT_HISTORY,
    "variable_DP_MATCH": "{did}",
    "variable_originate_disposition": "{leg.reached}",
    "variable_DIALSTATUS": "{leg.reached}",
    "variable_originate_causes": "{leg.uuid};NONE",
    "variable_originated_legs": "{leg.uuid};Outbound Call;{leg.number}",
    "Caller-Profile-Index": "2",
}
_NO_QUEUE = r"variable_(cc_|original_|playback_)"
_NO_BRIDGE = (
    r"variable_(bridge_|last_bridge|signal_bond|last_sent|sip_reason|sip_term|sip_hangup_phrase|proto_specific|rtp_)"
)

_NO_LEG = (
    r"Other-|Caller-Callee-|variable_(dialed_|originated_|originate_causes|originate_disp|DIALSTATUS|last_a|current_)"
)

_CLICKS = {
    "answered": _click("agent-first-answered", "277d7207", "d58bc764", "0639981001", agent_first=True),
    "busy": _click("agent-first-busy", "e9a819df", "51be2638", "0639981002", agent_first=True),
    "no_answer": _click("agent-first-no-answer", "f22dc363", "8afd54b5", "0639981003", agent_first=True),
    "rejected": _click("agent-first-rejected", "30ef7add", "6ea14f9d", "0639981004", agent_first=True),
    "not_dialled": _click("agent-first-agent-no-answer", "a4f792d7", "", "0639981009", agent_first=True),
}
_CUSTOMER_FIRST = {
    "answered": _click("customer-first-answered", "4d899e89", "0c0b867b", "0639981001", agent_first=False),
    "busy": _click("customer-first-busy", "ab44d8d0", "", "0639981002", agent_first=False),
    "no_answer": _click("customer-first-no-answer", "198e627a", "", "0639981003", agent_first=False),
    "rejected": _click("customer-first-rejected", "985ec4f0", "", "0639981004", agent_first=False),
}


_CAUSES = {
    "answered": "NORMAL_CLEARING",
    "busy": "USER_BUSY",
    "no_answer": "NO_ANSWER",
    "rejected": "CALL_REJECTED",
    "not_dialled": "NO_ANSWER",
}


def _event(name: str, capture: Capture, number: int, stream: str = "channels.esl", **more: Any) -> Shape:
    return Shape(name=name, capture=capture, number=number, stream=stream, **more)


def _clicks(way: str, captures: Mapping[str, Capture], numbers: Mapping[str, Mapping[str, int]]) -> list[Shape]:
    return [
        _event(f"{way}.{outcome}.{event}", captures[outcome], number, "plain.esl", cause=_CAUSES.get(outcome))
        for outcome, events in numbers.items()
        for event, number in events.items()
    ]


EVENTS = [
    # a queue, and what becomes of its calls
    _event("agent.status", ABANDONED, 987),
    _event("agent.state", ABANDONED_RINGING, 1013),
    _event("members.count", ABANDONED, 971),
    _event("caller.create", ANSWERED, 741),
    _event("caller.answer", ANSWERED, 752),
    _event("queue.start", ANSWERED, 758),
    _event("queue.resume", ANSWERED, 758, values={"CC-Action": "member-queue-resume"}),
    _event("agent.offering", ANSWERED, 763),
    _event("agent.create", ANSWERED, 769),
    _event("agent.progress", ANSWERED, 774),
    _event("agent.answer", ANSWERED, 778),
    _event("bridge.start", ANSWERED, 782),
    _event("caller.bridge", ANSWERED, 795),
    _event("agent.gone", ANSWERED, 808),
    _event("caller.gone", ANSWERED, 812),
    _event("caller_hung_up.bridge.end", ANSWERED, 813),
    _event("caller_hung_up.queue.end", ANSWERED, 814),
    _event("agent_hung_up.bridge.end", AGENT_HANGS_UP, 1715, "plain.esl"),
    _event("agent_hung_up.queue.end", AGENT_HANGS_UP, 1716, "plain.esl"),
    _event("abandoned.queue.end", ABANDONED, 976),
    _event("abandoned.caller.gone", ABANDONED, 983),
    _event("timeout.queue.end", TIMEOUT, 1101, "plain.esl"),
    _event("unanswered.agent.gone", ABANDONED_RINGING, 1042, cause="ORIGINATOR_CANCEL"),
    _event("bridge.fail", ABANDONED_RINGING, 1045, cause="ORIGINATOR_CANCEL"),
    # a blind transfer out of a queue call
    _event("transfer.agent.gone", TRANSFER, 1566),
    _event("transfer.bridge.end", TRANSFER, 1590),
    _event("transfer.queue.end", TRANSFER, 1591),
    _event("target.create", TRANSFER, 1583),
    _event("target.progress", TRANSFER, 1588),
    _event("target.answer", TRANSFER, 1597),
    _event("target.caller.bridge", TRANSFER, 1602),
    _event("target.gone", TRANSFER, 1615),
    _event("transfer.caller.gone", TRANSFER, 1623),
    # a call past every queue
    _event("direct.caller.create", DIRECT, 1499),
    _event("direct.caller.answer", DIRECT, 1510),
    _event("direct.leg.create", DIRECT, 1583, without="Other-Leg-Callee"),
    _event("direct.leg.progress", DIRECT, 1588, without="Other-Leg-Callee"),
    _event("direct.leg.answer", DIRECT, 1597),
    _event("direct.caller.bridge", DIRECT, 1602, without=_NO_QUEUE, values=_DIRECT_VALUES),
    _event("direct.leg.gone", DIRECT, 1615),
    _event("direct.caller.gone", DIRECT, 1623, without=_NO_QUEUE, values=_DIRECT_VALUES),
    _event("direct.unanswered.leg.gone", DIRECT, 1615, cause="NORMAL_CLEARING", without=_NO_BRIDGE),
    _event(
        "direct.unanswered.caller.gone",
        DIRECT,
        1623,
        cause="NORMAL_CLEARING",
        without=f"{_NO_QUEUE}|{_NO_BRIDGE}|Other-",
        values=_DIRECT_VALUES | {"variable_last_app": "{call.last_app}", "variable_last_arg": "{call.last_arg}"},
    ),
    _event("menu.caller.gone", ABANDONED, 983, without=_NO_QUEUE, values={"variable_last_app": "playback"}),
    # clicks to call
    _event("job", _CUSTOMER_FIRST["answered"], 1852, "plain.esl"),
    *_clicks(
        "agent_first",
        _CLICKS,
        {
            "answered": {
                "call.create": 1955,
                "call.progress": 1960,
                "call.answer": 1964,
                "leg.create": 1984,
                "leg.progress": 1988,
                "leg.answer": 1992,
                "call.bridge": 1995,
                "leg.gone": 2011,
                "call.gone": 2014,
            },
            "busy": {"leg.gone": 2061, "call.gone": 2071},
            "no_answer": {"leg.gone": 2129, "call.gone": 2132},
            "rejected": {"leg.gone": 2181, "call.gone": 2190},
            "not_dialled": {"call.gone": 2214},
        },
    ),
    *_clicks(
        "customer_first",
        _CUSTOMER_FIRST,
        {
            "answered": {
                "call.create": 1835,
                "call.progress": 1839,
                "call.answer": 1843,
                "leg.create": 1854,
                "leg.progress": 1859,
                "leg.answer": 1863,
                "call.bridge": 1868,
                "leg.gone": 1879,
                "call.gone": 1887,
            },
            "busy": {"call.gone": 1903},
            "no_answer": {"call.gone": 1926},
            "rejected": {"call.gone": 1944},
        },
    ),
    _event(
        "customer_first.unjoined.call.gone",
        _CUSTOMER_FIRST["answered"],
        1887,
        "plain.esl",
        cause="NORMAL_CLEARING",
        without=f"{_NO_BRIDGE}|{_NO_LEG}",
    ),
]


_LEFT_UNANSWERED = ("abandoned.queue.end", "timeout.queue.end")


class Reading:
    """Takes what belongs to one call out of recorded values."""

    def __init__(self, shape: Shape) -> None:
        self.shape = shape
        texts = sorted(shape.capture.texts.items(), key=lambda text: -len(text[0]))
        written = [(quote(text, safe=UNENCODED), name) for text, name in texts]
        self._texts = [(re.compile(f"{_BEFORE}{re.escape(text)}{_AFTER}"), name) for text, name in written]
        self._channels = {start: role for role, start in shape.capture.channels.items() if start}

    def role(self, uuid: str) -> str | None:
        """Whose channel this is."""
        return self._channels.get(uuid[:8])

    def value(self, name: str, value: str, role: str | None, other: str | None) -> str:
        """`value` of the header (or `variable_…`) `name` with placeholders; `role` is the channel's, `other` that of
        the leg it is joined to."""
        if name in self.shape.values:
            return quote(self.shape.values[name], safe=UNENCODED + "{}")
        if (named := self._named(name, value, role, other)) is not None:
            return named
        if name in ("CC-Member-Joined-Time", "variable_cc_queue_joined_epoch"):
            return self._joined(name, role)
        if name in ("CC-Member-UUID", "variable_cc_member_uuid", "variable_cc_member_pre_answer_uuid"):
            return "{member.uuid}"
        value = _UUID.sub(lambda found: f"{{{role}.uuid}}" if (role := self.role(found[0])) else "{transfer}", value)
        for pattern, placeholder in self._texts:
            value = pattern.sub(f"{{{placeholder}}}", value)
        if self.shape.cause is not None:
            value = value.replace(self.shape.cause, f"{{{role or 'leg'}.cause}}")
        if not name.endswith("sdp_str") and "sdp" not in name:
            value = _SECONDS.sub("{call.profile.s}", value)
        return value

    def _joined(self, name: str, role: str | None) -> str:
        """mod_callcenter's table of members keeps the first entry of one who resumed, and what it knows of the agent
        shows that one; the caller's channel, and leaving unanswered, show this entry."""
        if name.startswith("variable_"):
            return "{member.created.s}" if role == "call" else "{member.first.s}"
        return "{member.created.s}" if self.shape.name in _LEFT_UNANSWERED else "{member.first.s}"

    def _named(self, name: str, value: str, role: str | None, other: str | None) -> str | None:
        if name in _NAMED:
            return _NAMED[name]
        if name in _NAMED_OF_CHANNEL:
            return f"{{{role}.{_NAMED_OF_CHANNEL[name]}}}"
        found = re.fullmatch(r"(Caller|Other-Leg)-(.+)-Time", name)
        if found and found[2] in _MOMENTS:
            owner = role if found[1] == "Caller" else other
            return value if value == "0" else f"{{{owner}.{_MOMENTS[found[2]]}}}"
        if not name.startswith("variable_"):
            return None
        bare = name.removeprefix("variable_")
        found = re.fullmatch(r"(.+)_(stamp|epoch|uepoch)", bare)
        if found and found[1] in _STAMPS:
            return f"{{{role}.{_STAMPS[found[1]]}{ {'stamp': '.local', 'epoch': '.s', 'uepoch': ''}[found[2]] }}}"
        if _SPANS.fullmatch(bare):
            return f"{{{role}.{bare}}}"
        if self.shape.cause is not None and bare == "hangup_cause_q850":
            return f"{{{role}.cause_q850}}"
        return None


def written() -> bytes:
    """shapes.json: every header line once, and of each shape the runs of lines that it is made of."""
    lines: dict[str, int] = {}
    shapes: dict[str, str] = {}
    for shape in EVENTS:
        numbers = [lines.setdefault(line, len(lines)) for line in _lines(shape)]
        shapes[shape.name] = " ".join(_runs(numbers))
    body = {
        "origin": "written by tools/freeswitch_shapes.py from tests/captures/freeswitch: do not edit",
        "shapes": shapes,
        "lines": list(lines),
    }
    return orjson.dumps(body, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)


def _runs(numbers: Sequence[int]) -> Iterator[str]:
    """`numbers` as words: `7` or `7-19`."""
    at = 0
    while at < len(numbers):
        end = at
        while end + 1 < len(numbers) and numbers[end + 1] == numbers[end] + 1:
            end += 1
        yield str(numbers[at]) if end == at else f"{numbers[at]}-{numbers[end]}"
        at = end + 1


def _lines(shape: Shape) -> list[str]:
    recorded = _recorded(shape)
    headers = dict(reversed(recorded))
    reading = Reading(shape)
    role, other = reading.role(headers.get("Unique-ID", "")), reading.role(headers.get("Other-Leg-Unique-ID", ""))
    return [
        f"{name}: {reading.value(name, value, role, other)}"
        for name, value in recorded
        if shape.without is None or re.match(shape.without, name) is None
    ]


def _recorded(shape: Shape) -> list[tuple[str, str]]:
    messages, _ = SYSTEM.split((CAPTURES / f"{shape.capture.name}.{shape.stream}").read_bytes(), final=True)
    wanted = f"\nEvent-Sequence: {shape.number}\n".encode()
    (body,) = [message for message in messages if wanted in message]
    lines = body.partition(b"\n\n")[0].decode().split("\n")
    return [(name, value) for name, _, value in (line.partition(": ") for line in lines)]


def main(arguments: Sequence[str]) -> int:
    """Write or check; the exit code."""
    if "--check" in arguments:
        return int(not SHAPES.exists() or SHAPES.read_bytes() != written())
    SHAPES.write_bytes(written())
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
