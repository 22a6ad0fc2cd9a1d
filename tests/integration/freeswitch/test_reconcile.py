"""What no event told, end to end: a switch that is asked over its Event Socket, the real hub and database."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cdrhub.config import Config
from cdrhub.errors import NotFound
from cdrhub.hub.hub import Hub
from cdrhub.store import Store
from cdrhub.store.calls import legs_of, one
from cdrhub.store.coverage import stretches
from support.esl import PASSWORD, EventSocketServer
from support.freeswitch import Switch
from support.hubs import configured, written_of
from support.intake import WAIT_SECONDS

QUEUE = "support@default"
COLUMNS = (
    "queue|instance_id|uuid|session_uuid|cid_number|cid_name|system_epoch|joined_epoch|rejoined_epoch|bridge_epoch"
    "|abandoned_epoch|base_score|skill_score|serving_agent|serving_system|state|score"
)


def story(switch: Switch, key: str, *, left: bool) -> list[bytes]:
    """A caller who enters the queue, and perhaps gives up."""
    member = {"CC-Queue": QUEUE, "CC-Member-UUID": f"m-{key}", "CC-Member-Session-UUID": key}
    member |= {"Caller-Channel-Created-Time": switch.micro(0), "Unique-ID": key}
    events = [switch.callcenter("member-queue-start", member, at=1)]
    if left:
        end = {"CC-Cause": "Cancel", "CC-Cancel-Reason": "BREAK_OUT", "Hangup-Cause": "NORMAL_CLEARING"}
        end |= {"CC-Member-Joined-Time": switch.second(1), "CC-Member-Leaving-Time": switch.second(9)}
        events.append(
            switch.callcenter("member-queue-end", member | end | {"Caller-Channel-Hangup-Time": switch.micro(9)}, at=9)
        )
    return events


async def heard_before(config: Config, store: Store, bodies: Sequence[bytes]) -> None:
    """Store what a hub had heard five minutes ago, before it lost the switch."""
    await store.prepare()
    at = datetime.now(UTC) - timedelta(minutes=5)
    for body in bodies:
        await store.write([written_of(config, "callcentre", body, content_type="text/event-plain", received_at=at)])


async def stored(store: Store, key: str, state: str) -> dict[str, Any]:
    """The call, as soon as it is in this state."""
    async with asyncio.timeout(WAIT_SECONDS):
        while True:
            try:
                if (call := dict(await one(store, key)))["state"] == state:
                    return call
            except NotFound:
                pass
            await asyncio.sleep(0.05)


def out_of_time(switch: Switch, key: str) -> list[bytes]:
    """A caller whose time in the queue is over, and whose channel lives on."""
    member = {"CC-Queue": QUEUE, "CC-Member-UUID": f"m-{key}", "CC-Member-Session-UUID": key}
    member |= {"Caller-Channel-Created-Time": switch.micro(0), "Unique-ID": key}
    end = {"CC-Cause": "Cancel", "CC-Cancel-Reason": "TIMEOUT"}
    end |= {"CC-Member-Joined-Time": switch.second(1), "CC-Member-Leaving-Time": switch.second(31)}
    return [
        switch.callcenter("member-queue-start", member, at=1),
        switch.callcenter("member-queue-end", member | end, at=31),
    ]


async def test_who_left_a_queue_is_in_the_call_as_long_as_the_switch_has_the_channel(tmp_path: Path) -> None:
    said = Switch()
    answers = {"uuid_exists gone": "false", "uuid_exists lives": "true"}
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(EventSocketServer(answers=answers))
        source = f'[sources.callcentre]\ntype = "freeswitch"\nport = {server.port}\npassword = "{PASSWORD}"\n'
        config = configured(tmp_path, source)
        stack.push_async_callback((store := Store.open(config.database.url.get_secret_value())).close)
        await heard_before(config, store, [*out_of_time(said, "gone"), *out_of_time(said, "lives")])
        hub = await Hub.start(config, sweep_seconds=0.05)
        try:
            gone = await stored(store, "gone", "ended")
            assert (gone["disposition"], gone["ended_at"]) == ("abandoned", said.moment(31))
            assert gone["flags"] == ["end_inferred", "reconciled"]
            lives = dict(await one(store, "lives"))
            assert (lives["state"], lives["ended_at"], lives["flags"]) == ("queued", None, [])

            left = {"Unique-ID": "lives", "variable_cc_side": "member", "variable_cc_member_uuid": "m-lives"}
            left |= {"Caller-Channel-Hangup-Time": said.micro(95), "Hangup-Cause": "NORMAL_CLEARING"}
            await server.say(said.event("CHANNEL_HANGUP_COMPLETE", left, at=95))
            lives = await stored(store, "lives", "ended")
        finally:
            await hub.stop()
        assert (lives["disposition"], lives["ended_at"], lives["flags"]) == ("abandoned", said.moment(95), [])


async def test_after_a_blind_time_calls_are_closed_and_told_and_events_outrank_it(tmp_path: Path) -> None:
    said = Switch()
    row = f"{QUEUE}|single_box|m-waits|waits|0639980001|Jane|{said.second(2)}|{said.second(3)}|0|0|0|0|0|||Waiting|1"
    answers = {
        "callcenter_config queue list": f"name|strategy\n{QUEUE}|ring-all\n+OK\n",
        f"callcenter_config queue list members {QUEUE}": f"{COLUMNS}\n{row}\n+OK\n",
        "uuid_exists left": "false",
        "uuid_exists stays": "true",
        "uuid_exists waits": "true",
    }
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(EventSocketServer(answers=answers))
        source = f'[sources.callcentre]\ntype = "freeswitch"\nport = {server.port}\npassword = "{PASSWORD}"\n'
        config = configured(tmp_path, source)
        stack.push_async_callback((store := Store.open(config.database.url.get_secret_value())).close)
        left, stays = story(said, "left", left=True), story(said, "stays", left=False)
        await heard_before(config, store, [left[0], *stays])
        hub = await Hub.start(config)
        try:
            gone = await stored(store, "left", "ended")
            assert (gone["disposition"], gone["ended_at"], gone["wait_seconds"]) == ("unknown", None, None)
            assert gone["flags"] == ["end_inferred", "reconciled"]

            waits = await stored(store, "waits", "queued")
            assert (waits["caller_number"], waits["queue"]) == ("0639980001", QUEUE)
            assert (waits["queued_at"], waits["flags"]) == (said.moment(3), ["number_unparsed", "reconciled"])
            assert [leg["role"] for leg in await legs_of(store, waits["id"])] == ["queue"]

            assert (await stored(store, "stays", "queued"))["flags"] == []

            await server.say(left[1], *story(said, "waits", left=True))
            await stored(store, "waits", "ended")
        finally:
            await hub.stop()
        gone, waits = await stored(store, "left", "ended"), await stored(store, "waits", "ended")
        assert (gone["disposition"], gone["ended_at"], gone["flags"]) == ("abandoned", said.moment(9), [])
        assert (waits["disposition"], waits["ended_at"]) == ("abandoned", said.moment(9))
        seen = await stretches(store)
    assert {stretch.state for stretch in seen} == {"connected", "blind"}
