"""Every published and constructed message, pushed onto a real list before the real daemon, gives the calls that were
written down by hand; what is none is counted or kept, and the worker goes on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import orjson
import pytest
import redis

from cdrhub.sources.enigma import SYSTEM
from support.daemon import Daemon
from support.enigma import CAPTURES
from support.redis import RedisServer
from support.sql import rows_by_name

KEY = "enigma:notifications:campaigns"
EXPECTED = orjson.loads((CAPTURES / "expected.json").read_bytes())


@pytest.fixture
def daemon(tmp_path: Path, redis_server: RedisServer, dialler: redis.Redis) -> Iterator[Daemon]:
    """A daemon that reads the emptied Redis."""
    assert dialler.ping()
    daemon = Daemon(
        tmp_path,
        database=f"sqlite:///{tmp_path / 'hub.db'}",
        sources=f'[sources.dialler]\ntype = "enigma"\nredis = "{redis_server.url}"\nregion = "ZA"\n',
    )
    daemon.start()
    try:
        yield daemon
        assert daemon.stop() == 0
    finally:
        daemon.kill()


def lines(name: str) -> Sequence[bytes]:
    """The messages of a capture, one a line."""
    messages, _ = SYSTEM.split((CAPTURES / name).read_bytes(), final=True)
    return messages


def test_samples(daemon: Daemon, dialler: redis.Redis) -> None:
    cases = [case for case in EXPECTED["cases"] if case["calls"] or "ignored" in case]
    messages = [line for case in cases for name in case["files"] for line in lines(name)]
    foreign = [message for message in messages if b'"queue_calls"' in message]
    dialler.rpush(KEY, *messages)
    dialler.rpush(KEY, *(message for message in messages if b'"cdr"' in message))  # once more: the same records
    daemon.wait_for("cdrhub_source_events_total", 1, what="session_back_off")
    daemon.drained()

    calls = {row["call_key"]: row for row in rows_by_name(daemon.directory / "hub.db", "SELECT * FROM calls")}
    expected = {call["ids"]["call_ref"]: call for case in cases for call in case["calls"]}
    assert calls.keys() == expected.keys()
    for key, said in expected.items():
        call = calls[key]
        assert call["system"] == "enigma"
        assert (call["contact_ref"], call["campaign"]) == (said["ids"]["contact_ref"], said["ids"]["campaign"])
        assert (call["caller_number"], call["callee_number"]) == (said["caller"], said["callee"])
        assert (call["agent_id"], call["queue"], call["did"]) == (said["agent"], said["queue"], said["did"])
        assert call["direction"] == said["direction"]
        assert call["disposition"] == ("answered" if said["answered"] else "abandoned")
        assert call["started_at"][:19] == said["start_utc"].removesuffix("Z")
        assert call["answered_at"] is call["ended_at"] is call["wait_seconds"] is call["ring_seconds"] is None
        assert call["talk_seconds"] == said["talk_seconds"]
        assert call["recording_url"] == said.get("recording")
        assert call["record_count"] == 1

    (others,) = [case for case in cases if "ignored" in case]
    assert daemon.metric("cdrhub_records_stored_total", result="suspended") == len(others["rejected"])
    ignored = len(others["ignored"]) - len(foreign)
    assert daemon.metric("cdrhub_messages_ignored_total") == ignored
    # The dialler's own orders are still there for it, and everybody is told.
    assert dialler.lrange(KEY, 0, -1) == foreign
    assert "queue_calls" in daemon.get("/readyz")
    assert "wrong_redis" in daemon.log.read_text()
