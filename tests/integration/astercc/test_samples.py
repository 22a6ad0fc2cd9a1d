"""Every published and constructed event, pushed to the real daemon, gives the calls that were written down by hand:
posted in order, in any order and more than once, and as query strings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from random import Random
from typing import Any
from urllib.parse import quote

import orjson
import pytest

from support.astercc import CAPTURES, SETTINGS, bodies_of, event, push
from support.daemon import Daemon
from support.sql import rows_by_name

EXPECTED = orjson.loads((CAPTURES / "expected.json").read_bytes())
FILES = sorted({name for case in EXPECTED["cases"] for name in case["files"]})
CALLS = {call["ids"]["sessionid"]: call for case in EXPECTED["cases"] for call in case["calls"]}
EVENTS = [body for name in FILES for body in bodies_of(name)]
WAYS = ("posted", "shuffled", "asked")
SECRET = "0123456789abcdef-secret"


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """A daemon with one source for each way of pushing."""
    folder = tmp_path_factory.mktemp("daemon")
    phones = ", ".join(f'{agent} = "{phone}"' for agent, phone in SETTINGS["agent_phones"].items())
    daemon = Daemon(
        folder,
        database=f"sqlite:///{folder / 'hub.db'}",
        sources="".join(
            f'[sources.{way}]\ntype = "astercc"\npath = "/ingest/{way}/{SECRET}"\n'
            f'timezone = "{SETTINGS["timezone"]}"\nagent_phones = {{ {phones} }}\n'
            for way in (*WAYS, "live")
        ),
    )
    daemon.start()
    try:
        yield daemon
        assert daemon.stop() == 0
    finally:
        daemon.kill()


def rows(daemon: Daemon, query: str, *values: str) -> Sequence[Mapping[str, Any]]:
    """The rows of a query on the daemon's database."""
    return rows_by_name(daemon.directory / "hub.db", query, *values)


async def tell(daemon: Daemon, way: str, bodies: Sequence[bytes]) -> None:
    """Push these and wait until they are in the database; everything is answered with OK."""
    url = f"http://127.0.0.1:{daemon.http_port}/ingest/{way}/{SECRET}"
    for body in bodies:
        if way == "asked":
            answer = await push(url, None, method="GET", query=quote(body, safe="=&|"))
        else:
            answer = await push(url, body)
        assert answer == (200, "text/plain", b"OK")
    daemon.drained()


def seconds(text: str | None) -> str | None:
    """A time of expected.json as SQLite keeps it, to the second."""
    return text.removesuffix("Z") if text else None


@pytest.mark.parametrize("way", WAYS)
async def test_the_samples_end_to_end(daemon: Daemon, way: str) -> None:
    bodies = EVENTS
    if way == "shuffled":
        bodies = Random(7).sample(EVENTS * 3, len(EVENTS) * 3)
    await tell(daemon, way, bodies)

    suspended = "SELECT reason, detail FROM records WHERE source = ? AND state = 'suspended'"
    assert rows(daemon, suspended, way) == []
    calls = rows(daemon, "SELECT * FROM calls WHERE source = ?", way)
    assert {call["call_key"] for call in calls} == set(CALLS)
    for call in calls:
        expected = CALLS[call["call_key"]]
        said = {
            "caller": call["caller_number"],
            "callee": call["callee_number"],
            "agent": call["agent_id"],
            "queue": call["queue"],
            "did": call["did"],
            "direction": call["direction"],
            "answered": call["disposition"] == "answered",
            "wait_seconds": call["wait_seconds"],
            "ring_seconds": call["ring_seconds"],
            "talk_seconds": call["talk_seconds"],
        }
        assert said == {key: expected[key] for key in said}
        assert call["contact_ref"] == expected.get("userdata")
        assert call["ended_by"] == ("callee" if "customer" in expected["disposition"] else "caller")
        for column, key in (("started_at", "start_utc"), ("answered_at", "answer_utc"), ("ended_at", "end_utc")):
            assert str(call[column])[:19] == seconds(expected[key])
        assert call["record_count"] == sum(expected["ids"]["sessionid"].encode() in body for body in EVENTS)
        legs = rows(daemon, "SELECT * FROM call_legs WHERE call_id = ? AND role = 'agent' ORDER BY seq", call["id"])
        for leg, attempt in zip(legs, expected.get("attempts", ()), strict="attempts" in expected):
            assert leg["agent_id"] == attempt["agent"]
            assert (leg["outcome"] == "answered") == attempt["answered"]
            assert str(leg["offered_at"])[:19] == seconds(attempt["start_utc"])


async def test_a_call_is_seen_while_it_lives(daemon: Daemon) -> None:
    query = "SELECT state, disposition, answered_at FROM calls WHERE source = 'live'"
    seen = []
    for word, source, second in (
        ("ringing", "AGENT", 0),
        ("answer", "AGENT", 3),
        ("ringing", "CALLEE", 5),
        ("answer", "CALLEE", 15),
        ("hangup", "CALLEE", 75),
    ):
        await tell(daemon, "live", [event(source, word, second)])
        seen.append([(call["state"], call["disposition"], bool(call["answered_at"])) for call in rows(daemon, query)])
    assert seen == [
        [],
        [],
        [("ringing", None, False)],
        [("answered", None, True)],
        [("ended", "answered", True)],
    ]
