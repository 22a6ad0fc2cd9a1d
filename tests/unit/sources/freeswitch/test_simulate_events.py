"""The events of the simulated switch have the headers, the order and the encoding of recorded ones."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from urllib.parse import unquote

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdrhub.sources.freeswitch.headers import PlainHeaders
from cdrhub.sources.freeswitch.simulate.documents import document
from cdrhub.sources.freeswitch.simulate.events import Core, Event, Happening
from cdrhub.sources.freeswitch.simulate.shapes import encoded, shape
from cdrhub.sources.freeswitch.simulate.switch import Switch, staffed
from cdrhub.sources.simulation.centre import Centre, staff
from support.freeswitch import CAPTURES, bodies_of
from support.simulated_switch import CORE, CROWDED, START, body, played

ROOT = Path(__file__).parents[4]
HANGUP = "CHANNEL_HANGUP_COMPLETE"


@cache
def day() -> tuple[Event, ...]:
    """The events of some hundred calls, and of a time when agents were scarce."""
    return tuple(played(Centre(seed=1, start=START), count=200)[0] + played(CROWDED, count=80)[0])


def kind_of(headers: PlainHeaders) -> str:
    """What an event is: two of one kind have headers from one choice of recordings."""
    name, action = headers.get("Event-Name") or "", headers.get("CC-Action")
    if action is None:
        return name
    if action != "member-queue-end":
        return action
    return f"{action} {headers.get('CC-Cause')} {'ended' if headers.get('Hangup-Cause') else 'alive'}"


@cache
def recorded() -> dict[str, set[tuple[str, ...]]]:
    """The header names of all recorded events, in order, by kind."""
    found: dict[str, set[tuple[str, ...]]] = {}
    for path in sorted([*CAPTURES.glob("*.plain.esl"), *CAPTURES.glob("*.channels.esl")]):
        for message in bodies_of(path.name):
            headers = PlainHeaders(message)
            found.setdefault(kind_of(headers), set()).add(tuple(headers.names()))
    return found


def test_the_shapes_are_what_the_tool_makes_of_the_recordings() -> None:
    tool = ROOT / "tools" / "freeswitch_shapes.py"
    checked = subprocess.run([sys.executable, tool, "--check"], check=False, capture_output=True)
    assert checked.returncode == 0, f"run: .venv/bin/python tools/freeswitch_shapes.py {checked.stderr.decode()}"


KINDS = (
    "member-queue-start",
    "members-count",
    "agent-status-change",
    "agent-state-change",
    "agent-offering",
    "bridge-agent-start",
    "bridge-agent-fail",
    "bridge-agent-end",
    "member-queue-end Terminated ended",
    "member-queue-end Terminated alive",
    "member-queue-end Cancel ended",
    "member-queue-end Cancel alive",
)


@pytest.mark.parametrize("kind", KINDS)
def test_each_action_has_the_headers_that_were_recorded(kind: str) -> None:
    headers = [PlainHeaders(body(event.plain)) for event in (*logged_in(), *day())]
    seen = {tuple(each.names()) for each in headers if kind_of(each) == kind}
    assert seen
    assert seen <= recorded()[kind]


@pytest.mark.parametrize("name", ["CHANNEL_CREATE", "CHANNEL_PROGRESS", "CHANNEL_ANSWER", "CHANNEL_BRIDGE", HANGUP])
def test_each_channel_event_has_the_headers_that_were_recorded(name: str) -> None:
    """Of queue calls and of clicks; calls past every queue, and customers whom nobody joined, were not recorded."""
    seen = set()
    for event in day():
        headers = PlainHeaders(body(event.plain))
        unjoined = event.get("Answer-State") == "hangup" and event.get("variable_originate_disposition") == ""
        ours = headers.get("variable_cc_side") or (headers.get("variable_origination_uuid") and not unjoined)
        if event.get("Event-Name") == name and ours:
            seen.add(tuple(headers.names()))
    assert seen
    assert seen <= recorded()[name]


@cache
def logged_in() -> tuple[Event, ...]:
    """The events of agents who log in."""
    centre = Centre(seed=1, start=START)
    switch = Switch(core=Core(CORE, zone=UTC))
    found = staffed(switch, queues=centre.queues, agents=staff(centre), at=START)
    return tuple(switch.fire(happening) for happening in found)


def test_every_placeholder_is_filled() -> None:
    for event in day():
        assert b"{" not in event.plain, event.get("Event-Name")


def test_nobody_of_the_recordings_is_left() -> None:
    written = b"".join(event.plain for event in day())
    for left in (
        b"06399800",
        b"06399810",
        b"0140300000",
        b"0170300000",
        b"alice",
        b"Jean",
        b"Dupont",
        b"3000%40",
        b"6844f513",
    ):
        assert left not in written, left


def test_both_encodings_say_the_same() -> None:
    for event in day()[::17]:
        json = orjson.loads(body(event.json))
        json.pop("_body", None)
        one_text = {
            name: "ARRAY::" + "|:".join(value) if isinstance(value, list) else value for name, value in json.items()
        }
        assert one_text == event.first


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40))
def test_a_value_is_encoded_so_that_it_stays_one_value(value: str) -> None:
    headers = PlainHeaders(f"A: {encoded(value)}\nB: 2\n\n".encode())
    assert headers.names() == ["A", "B"]
    assert headers.get("A") == value


@pytest.mark.parametrize(
    ("recorded_as", "value"),
    [
        ("Sat,%2021%20Nov%202026%2008%3A23%3A21%20GMT", "Sat, 21 Nov 2026 08:23:21 GMT"),
        ("sofia/external/0639980001%40127.0.0.1", "sofia/external/0639980001@127.0.0.1"),
        ("Chlo%C3%A9", "Chloé"),
        ("%22a%20b%22%20%3Csip%3A%2B33%3E", '"a b" <sip:+33>'),
        ("'Service%20clients',x%3D(1)", "'Service clients',x=(1)"),
    ],
)
def test_encoding_leaves_the_characters_that_freeswitch_leaves(recorded_as: str, value: str) -> None:
    assert encoded(value) == recorded_as


def test_every_recorded_value_is_encoded_as_it_was() -> None:
    recorded = list(CAPTURES.glob("*.plain.esl"))
    assert recorded
    for path in recorded:
        for message in bodies_of(path.name):
            for line in message.partition(b"\n\n")[0].decode().split("\n"):
                _, _, value = line.partition(": ")
                assert encoded(unquote(value)) == value


def test_the_core_numbers_its_events_and_dates_them() -> None:
    core = Core(CORE, zone=UTC)
    at = datetime(2026, 11, 21, 8, 23, 21, 867421, tzinfo=UTC)
    fields = {"agent.id": "101@default", "agent.state": "Waiting"}
    first = core.fire(Happening(at=at, shape="agent.state", fields=fields))
    second = core.heartbeat(at + timedelta(seconds=20), up=timedelta(hours=30), sessions=3, since_start=9)
    assert (first.get("Event-Sequence"), second.get("Event-Sequence")) == ("1", "2")
    assert first.get("Core-UUID") == second.get("Core-UUID") == CORE
    assert first.get("Event-Date-Timestamp") == "1795249401867421"
    assert first.get("Event-Date-GMT") == "Sat, 21 Nov 2026 08:23:21 GMT"
    assert first.get("Event-Date-Local") == "2026-11-21 08:23:21"
    assert (second.get("Event-Name"), second.get("Session-Count")) == ("HEARTBEAT", "3")
    assert second.get("Up-Time").startswith("0 years, 1 days, 6 hours")


def test_a_line_without_a_value_is_left_out() -> None:
    without = shape("agent.offering").plain({"agent.id": "101@default"})
    assert "CC-Agent: 101%40default\n" in without
    assert "CC-Member-DNIS" not in without


def test_a_hangup_repeats_its_cause_as_the_real_one_does() -> None:
    hangup = next(event for event in day() if event.get("Event-Name") == HANGUP)
    assert [name for name, _ in hangup.headers()].count("Hangup-Cause") == 2
    assert body(hangup.json).count(b'"Hangup-Cause"') == 2


RECORDED_DOCUMENTS: Sequence[tuple[str, int, str]] = (
    ("01-answered-caller-hangs-up", 0, "agent.gone"),
    ("01-answered-caller-hangs-up", 1, "caller.gone"),
    ("03-abandoned", 0, "abandoned.caller.gone"),
    ("03-abandoned", 2, "unanswered.agent.gone"),
    ("08-blind-transfer", 0, "transfer.agent.gone"),
    ("08-blind-transfer", 1, "transfer.caller.gone"),
    ("08-blind-transfer", 2, "target.gone"),
    ("13-agent-first-answered", 0, "agent_first.answered.call.gone"),
    ("13-agent-first-busy", 0, "agent_first.busy.leg.gone"),
    ("13-customer-first-no-answer", 0, "customer_first.no_answer.call.gone"),
)


@pytest.mark.parametrize(("scenario", "number", "of_shape"), RECORDED_DOCUMENTS)
def test_a_document_has_the_variables_that_were_recorded(scenario: str, number: int, of_shape: str) -> None:
    listed = orjson.loads((CAPTURES / f"{scenario}.json_cdr.json").read_bytes())
    filled = dict.fromkeys(_placeholders(), "1")
    simulated = orjson.loads(document(Event(shape(of_shape).plain(filled))))
    told, expected = set(simulated["variables"]), set(listed[number]["variables"])
    assert expected <= told
    assert told - expected <= {"bridge_hangup_cause"}  # noted on an agent's channel between the two
    assert set(simulated["callflow"][0]["times"]) == set(listed[number]["callflow"][0]["times"])


def _placeholders() -> set[str]:
    lines = orjson.loads((ROOT / "src/cdrhub/sources/freeswitch/simulate/shapes.json").read_bytes())["lines"]
    return {found for line in lines for found in re.findall(r"\{([a-z0-9_.]+)\}", line)}
