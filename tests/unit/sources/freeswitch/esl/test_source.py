"""One session with a switch: what is handed over, what is said of the link, and how it ends."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest
from pydantic import SecretStr

from cdrhub.errors import BackOff, NotConnected
from cdrhub.sources.freeswitch.config import FreeSwitchConfig
from cdrhub.sources.freeswitch.esl.handoff import MAX_BYTES
from cdrhub.sources.freeswitch.source import GROUP_EVENTS, SUBSCRIPTION, EventSocketSource
from support.esl import HEARTBEAT, PASSWORD, REJECTION, Connection, EventSocketServer, encode_plain, event
from support.freeswitch import Switch
from support.intake import RecordingIntake, until

LEFT_OUT = {
    "heartbeat": HEARTBEAT,
    "background_job": encode_plain({"Event-Name": "BACKGROUND_JOB", "Job-UUID": "1"}) + b"+OK 1\n",
    "members_count": Switch().callcenter("members-count", {"CC-Count": "1"}, at=0),
}


def configured(port: int, **changes: object) -> FreeSwitchConfig:
    config = FreeSwitchConfig(type="freeswitch", host="127.0.0.1", port=port, password=SecretStr(PASSWORD))
    return config.model_copy(update=changes)


def offering(switch: Switch, number: int) -> bytes:
    return switch.callcenter("agent-offering", {"CC-Member-Session-UUID": f"call-{number}"}, at=number)


@contextlib.asynccontextmanager
async def session(source: EventSocketSource, intake: RecordingIntake) -> AsyncIterator[asyncio.Task[None]]:
    """A session that is cancelled at the end, if it has not ended by itself."""
    task = asyncio.create_task(source.session(intake))
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.wait({task})
        if not task.cancelled():
            task.exception()


def test_the_subclass_stands_last() -> None:
    """mod_event_socket takes every word after CUSTOM for a subclass, and answers +OK."""
    assert SUBSCRIPTION.endswith(" CUSTOM callcenter::info")
    assert " HEARTBEAT " in SUBSCRIPTION
    assert " CHANNEL_HANGUP_COMPLETE " in SUBSCRIPTION


async def test_what_says_nothing_of_a_call_is_counted_and_the_rest_handed_over() -> None:
    switch, intake = Switch(), RecordingIntake()
    state = switch.callcenter("agent-status-change", {"CC-Agent": "1001"}, at=0)
    offered = offering(switch, 1)
    unnumbered = encode_plain({"Event-Name": "CHANNEL_CREATE"})
    async with EventSocketServer() as server, session(EventSocketSource(configured(server.port)), intake):
        await server.say(*LEFT_OUT.values(), state, offered, unnumbered)
        await until(lambda: len(intake.bodies) == 3)
        assert intake.links == {f"127.0.0.1:{server.port}": ""}
        assert server.commands[0] == SUBSCRIPTION
    assert intake.bodies == [state, offered, unnumbered]
    assert [accepted.event_id for accepted in intake.accepted] == [f"{switch.core}/1", f"{switch.core}/2", None]
    assert {accepted.content_type for accepted in intake.accepted} == {"text/event-plain"}
    assert intake.accepted[0].attributes == {"peer": f"127.0.0.1:{server.port}"}
    assert {name: intake.counts[name] for name in LEFT_OUT} == dict.fromkeys(LEFT_OUT, 1)
    assert intake.links == {}


async def test_what_is_there_becomes_durable_in_groups() -> None:
    switch, intake = Switch(), RecordingIntake()
    intake.slow_seconds = 0.05
    events = [offering(switch, number) for number in range(1_000)]
    async with EventSocketServer() as server, session(EventSocketSource(configured(server.port)), intake):
        await server.send(b"".join(map(event, events)))
        await until(lambda: len(intake.bodies) == len(events))
    assert intake.bodies == events
    assert max(intake.groups) == GROUP_EVENTS


async def test_a_refusal_is_answered_by_ever_longer_pauses_until_the_switch_takes_us() -> None:
    intake = RecordingIntake()

    async def reject(switch: Connection) -> None:
        await switch.send(REJECTION)

    async with EventSocketServer(script=reject) as server:
        source = EventSocketSource(configured(server.port))
        pauses = []
        for _ in range(7):
            with pytest.raises(BackOff, match="Access Denied") as refused:
                await source.session(intake)
            pauses.append(refused.value.seconds)
        assert pauses == [15, 30, 60, 120, 240, 300, 300]
        server.script = None
        async with session(source, intake):
            await until(lambda: intake.links)
        server.password = "another"
        with pytest.raises(BackOff, match="refuses the password") as refused:
            await source.session(intake)
    assert refused.value.seconds == 15
    assert PASSWORD not in str(refused.value)
    assert intake.link_log.count(("up", f"127.0.0.1:{server.port}")) == 1


async def test_a_switch_that_falls_silent_was_not_seen_since_it_spoke_last() -> None:
    intake = RecordingIntake()
    async with EventSocketServer() as server:
        source = EventSocketSource(configured(server.port, idle_timeout=timedelta(seconds=0.5)))
        began = datetime.now(UTC)
        with pytest.raises(NotConnected, match="nothing was heard"):
            await source.session(intake)
        ended = datetime.now(UTC)
    (blind,) = [said for said in intake.inferences if said["infers"] == "coverage"]
    assert blind["state"] == "blind"
    assert began <= datetime.fromisoformat(blind["since"])
    assert datetime.fromisoformat(blind["until"]) <= ended
    assert datetime.fromisoformat(blind["until"]) - datetime.fromisoformat(blind["since"]) >= timedelta(seconds=0.4)
    assert intake.links == {}


async def test_a_journal_that_takes_nothing_for_long_closes_the_link_and_keeps_what_was_read() -> None:
    switch, intake = Switch(), RecordingIntake()
    intake.full = True
    events = [offering(switch, number) for number in range(50)]
    async with EventSocketServer() as server:
        source = EventSocketSource(configured(server.port), hold_seconds=0.2)
        task = asyncio.create_task(source.session(intake))
        await server.say(*events)
        await until(lambda: intake.counts["closed_on_purpose"])
        await until(lambda: not intake.links)
        assert intake.bodies == []
        assert not task.done()
        intake.full = False
        with pytest.raises(NotConnected):
            await task
    assert set(intake.bodies) == set(events)


async def test_what_was_not_read_of_a_link_that_is_closed_on_purpose_was_not_seen() -> None:
    intake, large = RecordingIntake(), Switch().event("CHANNEL_CREATE", {"Unique-ID": "a" * 500_000}, at=0)
    intake.full = True
    async with EventSocketServer() as server:
        source = EventSocketSource(configured(server.port), hold_seconds=2.0)
        task = asyncio.create_task(source.session(intake))
        flood = asyncio.create_task(server.say(*[large] * (3 * MAX_BYTES // len(large))))
        await until(lambda: intake.counts["closed_on_purpose"])
        await until(lambda: intake.inferences)
        intake.full = False
        with pytest.raises(NotConnected):
            await task
        await flood
    (blind,) = [said for said in intake.inferences if said["infers"] == "coverage"]
    since, ended = (datetime.fromisoformat(blind[name]) for name in ("since", "until"))
    assert (blind["state"], blind["detail"]) == ("blind", "closed, for the journal takes nothing")
    assert ended - since > timedelta(seconds=0.2), "it begins when reading was held back, and not at the close"


async def test_a_session_that_is_stopped_hands_over_what_it_has_read() -> None:
    switch, intake = Switch(), RecordingIntake()
    events = [offering(switch, number) for number in range(600)]
    async with EventSocketServer() as server:
        intake.full = True
        task = asyncio.create_task(EventSocketSource(configured(server.port)).session(intake))
        await server.say(*events)
        await until(lambda: intake.offered)
        task.cancel()
        await until(lambda: not intake.links)
        assert not task.done()
        intake.full = False
        await asyncio.wait({task})
    assert task.cancelled()
    assert intake.bodies == events


async def test_a_session_that_is_cancelled_twice_counts_what_it_drops() -> None:
    switch, intake = Switch(), RecordingIntake()
    async with EventSocketServer() as server:
        intake.full = True
        task = asyncio.create_task(EventSocketSource(configured(server.port)).session(intake))
        await server.say(*(offering(switch, number) for number in range(10)))
        await until(lambda: intake.offered)
        task.cancel()
        await until(lambda: not intake.links)
        task.cancel()
        await asyncio.wait({task})
    assert task.cancelled()
    assert intake.bodies == []
    assert intake.counts["not_kept"] == 10


async def test_a_reconciliation_that_fails_is_counted_and_tried_again_and_the_events_go_on() -> None:
    switch, intake = Switch(), RecordingIntake()
    intake.database_away = True
    async with EventSocketServer() as server:
        config = configured(server.port, reconcile_every=timedelta(seconds=0.05))
        async with session(EventSocketSource(config), intake) as task:
            await until(lambda: intake.counts["reconcile_failed"] >= 3)
            await server.say(offering(switch, 1))
            await until(lambda: intake.bodies)
            assert "api show channels count" not in server.commands  # what is open is read first
            intake.database_away = False
            await until(lambda: "api show channels count" in server.commands)
            assert not task.done()


async def test_losing_the_connection_for_commands_does_not_touch_the_events() -> None:
    switch, intake = Switch(), RecordingIntake()
    async with EventSocketServer() as server:
        config = configured(server.port, reconcile_every=timedelta(seconds=0.02))
        async with session(EventSocketSource(config), intake):
            for number in range(3):
                await until(lambda: len(server.open) == 2)
                await server.drop_commanders()
                await server.say(offering(switch, number))
            await until(lambda: len(intake.bodies) == 3)
    assert [what for what, _ in intake.link_log] == ["up", "down"]


async def test_a_probe_tells_what_it_found_and_leaves() -> None:
    answers = {"version": "FreeSWITCH Version 1.10.12\n", "module_exists mod_callcenter": "true"}
    async with EventSocketServer(answers=answers) as server:
        source = EventSocketSource(configured(server.port))
        assert await source.probe() == "reached, FreeSWITCH Version 1.10.12; mod_callcenter is loaded"
        await until(lambda: not server.open)
        server.answers.pop("version")
        with pytest.raises(NotConnected, match="no reply"):
            await source.probe()
        server.password = "another"
        with pytest.raises(BackOff, match="refuses the password"):
            await source.probe()
