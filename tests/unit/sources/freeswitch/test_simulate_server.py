"""The simulated switch's Event Socket: it answers, refuses, tells and throws out as mod_event_socket does."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC
from itertools import pairwise
from math import inf
from pathlib import Path

import orjson
import pytest
from aiohttp import web

from cdrhub.errors import AddressUnavailable
from cdrhub.model.disposition import Disposition, Outcome, Role
from cdrhub.sources.freeswitch import listings
from cdrhub.sources.freeswitch.headers import PlainHeaders
from cdrhub.sources.freeswitch.simulate import Setup, simulate
from cdrhub.sources.freeswitch.simulate.api import Commands
from cdrhub.sources.freeswitch.simulate.events import Event, Happening
from cdrhub.sources.freeswitch.simulate.originate import parse
from cdrhub.sources.freeswitch.simulate.posting import Posting
from cdrhub.sources.freeswitch.simulate.server import Limits
from cdrhub.sources.freeswitch.simulate.subscription import Subscription
from cdrhub.sources.freeswitch.simulate.switch import Switch
from cdrhub.sources.simulation.centre import Centre
from cdrhub.sources.simulation.ledger import Ledger, read
from cdrhub.sources.simulation.pace import Pace
from cdrhub.sources.simulation.simulation import Simulation
from support.servers import free_port
from support.simulated_switch import (
    CROWDED,
    SECONDS,
    START,
    Client,
    client_of,
    differences,
    folded,
    played,
    simulated,
    switch_of,
)

ALL = (
    "event plain HEARTBEAT BACKGROUND_JOB CHANNEL_CREATE CHANNEL_PROGRESS CHANNEL_ANSWER CHANNEL_BRIDGE "
    "CHANNEL_HANGUP_COMPLETE CUSTOM callcenter::info"
)
SETUP = Setup(port=0)
GOODBYE = b"Disconnected, goodbye.\nSee you at ClueCon! http://www.cluecon.com/\n"


def event(name: str, **headers: str) -> Event:
    lines = {"Event-Name": name} | {key.replace("_", "-"): value for key, value in headers.items()}
    return Event("".join(f"{key}: {value}\n" for key, value in lines.items()))


CALLCENTER = event("CUSTOM", Event_Subclass="callcenter%3A%3Ainfo", CC_Action="agent-offering")
SOFIA = event("CUSTOM", Event_Subclass="sofia%3A%3Aregister")
HEARTBEAT = event("HEARTBEAT")


# -- subscriptions -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("command", "reply", "hears", "is_deaf_to"),
    [
        ("plain HEARTBEAT CUSTOM callcenter::info", "plain", [HEARTBEAT, CALLCENTER], [SOFIA]),
        ("plain CUSTOM callcenter::info HEARTBEAT", "plain", [CALLCENTER], [HEARTBEAT]),
        ("json ALL", "json", [HEARTBEAT, CALLCENTER, SOFIA], []),
        ("heartbeat nonsense", "plain", [HEARTBEAT], [CALLCENTER]),
        ("plain CUSTOM", "plain", [], [CALLCENTER]),
    ],
)
def test_what_a_subscription_hears(command: str, reply: str, hears: list[Event], is_deaf_to: list[Event]) -> None:
    subscription = Subscription()
    assert subscription.event(command.split()) == f"+OK event listener enabled {reply}"
    assert all(subscription.wants(each) for each in hears)
    assert not any(subscription.wants(each) for each in is_deaf_to)


@pytest.mark.parametrize("command", ["", "plain", "plain nonsense", "json no such thing"])
def test_a_subscription_without_a_known_word_is_an_error(command: str) -> None:
    subscription = Subscription()
    assert subscription.event(command.split()) == "-ERR no keywords supplied"
    assert not subscription.wants(HEARTBEAT)


def test_subscriptions_add_up_and_are_taken_back() -> None:
    subscription = Subscription()
    assert subscription.noevents() == "-ERR not listening for events"
    subscription.event(["plain", "HEARTBEAT"])
    subscription.event(["json", "CUSTOM", "callcenter::info", "sofia::register"])
    assert (subscription.wants(HEARTBEAT), subscription.format) == (True, "json")
    assert subscription.nixevent(["CUSTOM", "sofia::register"]) == "+OK events nixed"
    assert (subscription.wants(CALLCENTER), subscription.wants(SOFIA)) == (True, False)
    assert subscription.nixevent(["nonsense"]) == "-ERR no keywords supplied"
    assert subscription.noevents() == "+OK no longer listening for events"
    assert not subscription.wants(HEARTBEAT)
    subscription.event(["ALL"])
    subscription.nixevent(["HEARTBEAT"])
    assert (subscription.wants(HEARTBEAT), subscription.wants(event("API"))) == (False, True)
    subscription.nixevent(["ALL"])
    assert not subscription.wants(event("API"))


def test_a_filter_lets_through_what_one_of_them_names() -> None:
    subscription = Subscription()
    subscription.event(["plain", "HEARTBEAT", "CUSTOM", "callcenter::info"])
    assert subscription.filter(["CC-Action", "AGENT-offering"]) == "+OK filter added. [CC-Action]=[AGENT-offering]"
    assert (subscription.wants(CALLCENTER), subscription.wants(HEARTBEAT)) == (True, False)
    subscription.filter(["add", "Event-Name", "HEARTBEAT"])
    assert subscription.wants(HEARTBEAT)
    assert subscription.filter(["delete", "CC-Action"]) == "+OK filter deleted. [CC-Action][]"
    assert not subscription.wants(CALLCENTER)
    subscription.filter(["delete", "all"])
    assert subscription.wants(CALLCENTER)
    assert subscription.filter(["Unique-ID"]) == "-ERR invalid syntax"


# -- a connection ------------------------------------------------------------------------------------------------------


async def test_a_client_is_asked_for_its_password_and_may_then_ask() -> None:
    setup = Setup(port=0, password="right")
    async with simulated(setup) as (switch, _), client_of(switch, password=None) as client:
        assert await client.reply("api version") == "-ERR command not found"
        assert await client.reply("auth right") == "+OK accepted"
        assert await client.reply("linger") == "-ERR not controlling a session"
        assert await client.reply("no such thing") == "-ERR command not found"
        assert "Command not found!" in await client.api("nonsense 1 2")


async def test_a_wrong_password_ends_the_connection() -> None:
    async with simulated(SETUP) as (switch, _), client_of(switch, password=None) as client:
        assert await client.reply("auth wrong") == "-ERR invalid"
        assert [body async for _, body in client.frames()] == [GOODBYE]


async def test_exit_is_answered_and_noticed() -> None:
    async with simulated(SETUP) as (switch, _), client_of(switch) as client:
        assert await client.reply("exit") == "+OK bye"
        headers, body = await client.frame()
        assert list(headers) == ["Content-Type", "Content-Length"]
        assert (headers["Content-Type"], body) == ("text/disconnect-notice", GOODBYE)
        assert [frame async for frame in client.frames()] == []


@pytest.mark.parametrize(
    "sent",
    [
        b"\n\r\n\napi version\r\n\r\n",
        b"api version\nContent-Length: 5\n\nbody\n",
        b"api version\nJob-UUID: a\nconsole_execute: false\n\n",
    ],
)
async def test_a_command_ends_with_an_empty_line_and_may_have_a_body(sent: bytes) -> None:
    async with simulated(SETUP) as (switch, _), client_of(switch) as client:
        client.writer.write(sent)
        _, body = await client.frame()
        assert body.startswith(b"FreeSWITCH Version")
        assert await client.api("uuid_exists nobody") == "false"


@pytest.mark.parametrize(
    "sent", [b"x" * 200_000, b"api version\nContent-Length: 9999999\n\n", b"a\n" + b"b: c\n" * 100]
)
async def test_what_is_too_long_ends_the_connection(sent: bytes) -> None:
    async with simulated(SETUP) as (switch, _), client_of(switch) as client:
        client.writer.write(sent)
        with contextlib.suppress(ConnectionError):  # what was sent and not read may reset the connection
            assert [body async for _, body in client.frames()] == [GOODBYE]
        async with client_of(switch) as another:
            assert await another.api("uuid_exists nobody") == "false"


async def test_hearts_beat_before_anything_happens() -> None:
    async with simulated(Setup(port=0, heartbeat_seconds=0.02)) as (switch, _), client_of(switch) as client:
        assert await client.reply("event plain HEARTBEAT") == "+OK event listener enabled plain"
        beats = [PlainHeaders((await client.frame())[1]) for _ in range(3)]
        assert [beat.get("Event-Info") for beat in beats] == ["System Ready"] * 3
        numbers = [int(beat.get("Event-Sequence") or 0) for beat in beats]
        assert all(later == earlier + 1 for earlier, later in pairwise(numbers))


async def test_an_address_that_is_taken_is_said() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(AddressUnavailable, match=f"cannot listen on 127.0.0.1:{port}: Address already in use"):
            async with simulated(Setup(port=port)):
                pass


async def test_a_simulation_that_ends_before_anybody_listened_does_nothing() -> None:
    simulation = Simulation(centre=Centre(start=START), pace=Pace(start=START))
    simulation.pace.finish()
    addresses: list[str] = []
    async with asyncio.timeout(SECONDS):
        await simulate(simulation, SETUP, ready=addresses.append)
    assert (simulation.sent.calls, len(addresses)) == (0, 1)


# -- a working switch --------------------------------------------------------------------------------------------------


async def heard_of(client: Client) -> list[bytes]:
    """The bodies of all events until the switch shuts down."""
    found = []
    async for headers, body in client.frames():
        if headers["Content-Type"].startswith("text/event-"):
            found.append(body)
        else:
            assert (headers["Content-Type"], body) == ("text/disconnect-notice", b"The system is being shut down.\n")
    return found


async def test_two_clients_hear_the_same_calls_in_their_own_formats(tmp_path: Path) -> None:
    with Ledger(tmp_path / "ledger") as ledger:
        simulation = Simulation(
            centre=Centre(seed=6, start=START), pace=Pace(start=START, speed=inf), count=40, ledger=ledger
        )
        addresses: asyncio.Queue[str] = asyncio.Queue()
        work = asyncio.create_task(simulate(simulation, SETUP, ready=addresses.put_nowait))
        host, _, port = (await addresses.get()).rpartition(":")
        clients = []
        for command in (ALL.replace("plain", "json"), ALL):
            client = Client(*await asyncio.open_connection(host, int(port)))
            await client.frame()
            assert await client.reply("auth ClueCon") == "+OK accepted"
            client.writer.write(f"{command}\n\n".encode())
            assert (await client.frame())[0]["Reply-Text"].startswith("+OK event listener enabled")
            clients.append(client)
        json_bodies, plain_bodies = await asyncio.gather(*(heard_of(client) for client in clients))
        await work
        for client in clients:
            client.writer.close()
    entries = {key: entry for (_, key), entry in read(tmp_path / "ledger").items()}
    assert simulation.sent.calls == len(entries) > 0
    assert differences(entries, folded(json_bodies, mode="queue")) == []
    late = len(json_bodies) - len(plain_bodies)
    sequences = [json.loads(body)["Event-Sequence"] for body in json_bodies[late:]]
    assert sequences == [PlainHeaders(body).get("Event-Sequence") for body in plain_bodies]


async def test_a_client_that_does_not_read_is_thrown_out_for_lost_events() -> None:
    limits = Limits(queue_events=50, missed_events=10)
    async with simulated(Setup(port=0, limits=limits)) as (switch, _), client_of(switch) as client:
        assert (await client.reply("event plain ALL")).startswith("+OK")
        beat = Happening(at=START, shape="agent.state", fields={"agent.id": "x" * 60_000, "agent.state": "Waiting"})
        for number in range(2_000):
            switch.switch.fire(beat)
            if number % 20 == 0:
                await asyncio.sleep(0)
        frames = [frame async for frame in client.frames()]
        assert frames[-1][0]["Content-Type"] == "text/disconnect-notice"
        assert frames[-1][1] == b"killed listener because of lost events\n"
        assert 50 < len(frames) < 2_000
        async with client_of(switch) as another:
            assert await another.api("uuid_exists nobody") == "false"


def test_what_the_switch_lists_agrees_with_what_it_told() -> None:
    """At every moment: members, agents and channels, read as the hub reads them."""
    switches: list[Switch] = []
    seen = {"members": 0, "channels": 0}

    def look(switch: Switch) -> None:
        members = listings.members(switch.list_members())
        channels = listings.channels(switch.show_channels())
        waiting = {member.session_uuid for member in members if member.state != "Answered"}
        assert waiting <= {channel.uuid for channel in channels}  # of a talk the queue hears last that it is over
        for member in members:
            assert member.caller_number is not None
            assert member.joined_at is not None
            assert (member.state == "Answered") == (member.bridged_at is not None)
        seen["members"], seen["channels"] = max(seen["members"], len(members)), max(seen["channels"], len(channels))
        switches.append(switch)

    events, _, _ = played(CROWDED, count=40, look=look)
    assert len(switches) == len(events)
    assert seen["members"] > 3
    assert seen["channels"] > 6
    end = switches[-1]
    assert listings.members(end.list_members()) == []
    assert listings.channels(end.show_channels()) == []
    assert listings.queue_names(end.list_queues()) == ["sales@default", "support@default", "billing@default"]
    agents = listings.rows(end.list_agents("sales@default"))
    assert {agent["state"] for agent in agents} == {"Waiting"}
    assert {tier["agent"] for tier in listings.rows(end.list_tiers("sales@default"))} == {a["name"] for a in agents}


async def test_the_switch_answers_what_it_is_asked() -> None:
    async with simulated(SETUP, count=5) as (switch, _), client_of(switch) as client:
        async with client_of(switch) as listener:
            assert (await listener.reply("event plain HEARTBEAT")).startswith("+OK")
            await switch.play()
        assert listings.channel_count(await client.api("show channels count")) == 0
        assert (await client.api("status")).startswith("UP 0 years")
        assert await client.api("module_exists mod_callcenter") == "true"
        assert await client.api("module_exists mod_nonsense") == "false"
        for queue in listings.queue_names(await client.api("callcenter_config queue list")):
            assert listings.members(await client.api(f"callcenter_config queue list members {queue}")) == []
            idle = listings.rows(await client.api(f"callcenter_config queue list agents {queue} Available Waiting"))
            tiers = listings.rows(await client.api(f"callcenter_config queue list tiers {queue}"))
            assert len(idle) == len(tiers) > 0
        everyone = listings.rows(await client.api("callcenter_config agent list"))
        assert len(everyone) == len(listings.rows(await client.api("callcenter_config tier list")))
        alone = listings.rows(await client.api(f"callcenter_config agent list {everyone[0]['name']}"))
        assert [agent["name"] for agent in alone] == [everyone[0]["name"]]


# -- calls that are asked for ------------------------------------------------------------------------------------------

AGENT_FIRST = (
    "{{origination_uuid={uuid},origination_caller_id_number={number},originate_timeout=30}}user/101@127.0.0.1 "
    "{number} XML default 'Desk' 0123456789"
)
CUSTOMER_FIRST = (
    "{{origination_uuid={uuid},origination_caller_id_number=0123456789}}sofia/gateway/carrier/{number} "
    "&bridge({{x=y}}user/101@127.0.0.1)"
)
UUID = "7d7f1a2c-8a0c-4a8e-9d54-7f6f0f3c1b11"
NUMBER = "0612345678"


@pytest.mark.parametrize(
    ("command", "fate", "result", "disposition"),
    [
        (AGENT_FIRST, Disposition.ANSWERED, f"+OK {UUID}\n", Disposition.ANSWERED),
        (AGENT_FIRST, Disposition.BUSY, f"+OK {UUID}\n", Disposition.BUSY),
        (AGENT_FIRST, Disposition.NO_ANSWER, f"+OK {UUID}\n", Disposition.NO_ANSWER),
        (AGENT_FIRST, Disposition.REJECTED, f"+OK {UUID}\n", Disposition.REJECTED),
        (AGENT_FIRST, Disposition.FAILED, f"+OK {UUID}\n", Disposition.FAILED),
        (AGENT_FIRST, Disposition.NOT_DIALLED, "-ERR NO_ANSWER\n", Disposition.NOT_DIALLED),
        (CUSTOMER_FIRST, Disposition.ANSWERED, f"+OK {UUID}\n", Disposition.ANSWERED),
        (CUSTOMER_FIRST, Disposition.BUSY, "-ERR USER_BUSY\n", Disposition.BUSY),
        (CUSTOMER_FIRST, Disposition.NO_ANSWER, "-ERR NO_ANSWER\n", Disposition.NO_ANSWER),
        (CUSTOMER_FIRST, Disposition.REJECTED, "-ERR CALL_REJECTED\n", Disposition.REJECTED),
        (CUSTOMER_FIRST, Disposition.FAILED, "-ERR UNALLOCATED_NUMBER\n", Disposition.FAILED),
        (CUSTOMER_FIRST, Disposition.NOT_DIALLED, f"+OK {UUID}\n", Disposition.ABANDONED),
    ],
)
async def test_an_originate_ends_as_fate_will(
    tmp_path: Path, command: str, fate: Disposition, result: str, disposition: Disposition
) -> None:
    numbers: list[str] = []

    def decide(number: str) -> Disposition:
        numbers.append(number)
        return fate

    async with working(Setup(port=0, fate=decide), tmp_path) as (client, _):
        headers, _ = await client.ask(f"bgapi originate {command.format(uuid=UUID, number=NUMBER)}\nJob-UUID: job-1")
        assert headers == {
            "Content-Type": "command/reply",
            "Reply-Text": "+OK Job-UUID: job-1",
            "Job-UUID": "job-1",
        }
        bodies: list[bytes] = []
        jobs: list[bytes] = []
        over = False
        while not (over and jobs):
            _, body = await client.frame()
            bodies.append(body)
            said = PlainHeaders(body)
            if said.get("Event-Name") == "BACKGROUND_JOB":
                jobs.append(body)
            over |= (said.get("Event-Name"), said.get("Unique-ID")) == ("CHANNEL_HANGUP_COMPLETE", UUID)
        assert [body.split(b"\n\n", 1)[1].decode() for body in jobs] == [result]
        assert PlainHeaders(jobs[0]).get("Job-UUID") == "job-1"
        assert PlainHeaders(jobs[0]).get("Job-Command-Arg") == command.format(uuid=UUID, number=NUMBER)
    assert numbers == [NUMBER]
    entries = {key: entry for (_, key), entry in read(tmp_path / "ledger").items()}
    calls = folded(bodies, mode="queue")
    assert differences(entries, calls) == []
    assert calls[UUID].disposition == disposition
    if disposition == Disposition.ANSWERED:
        (agent,) = [leg for leg in calls[UUID].legs if leg.role == Role.AGENT]
        assert (agent.agent_extension, agent.outcome) == ("101", Outcome.ANSWERED)


@asynccontextmanager
async def working(setup: Setup, directory: Path) -> AsyncIterator[tuple[Client, Simulation]]:
    """A listening client of a switch whose agents have logged in and to which nobody calls, with a ledger."""
    with Ledger(directory / "ledger") as ledger:
        async with simulated(setup, ledger=ledger, count=0) as (switch, simulation):
            async with client_of(switch) as first:
                assert (await first.reply("event plain HEARTBEAT")).startswith("+OK")
                await switch.play()
            async with client_of(switch) as client:
                assert (await client.reply(ALL)).startswith("+OK")
                yield client, simulation


@pytest.mark.parametrize(
    ("arguments", "answer"),
    [
        ("nonsense", "-USAGE"),
        ("user/101@127.0.0.1", "-USAGE"),
        ("{origination_uuid=a}user/999999@127.0.0.1 0612345678 XML default", "-ERR USER_NOT_REGISTERED"),
        ("user/101@127.0.0.1 &park()", "-USAGE"),
    ],
)
async def test_an_originate_that_dials_nobody_is_refused(tmp_path: Path, arguments: str, answer: str) -> None:
    async with working(SETUP, tmp_path) as (client, _):
        assert (await client.api(f"originate {arguments}")).startswith(answer)


async def test_a_uuid_that_is_in_use_is_refused_and_api_waits_for_the_first_phone(tmp_path: Path) -> None:
    setup = Setup(port=0, fate=lambda _number: Disposition.ANSWERED)
    command = AGENT_FIRST.format(uuid=UUID, number=NUMBER)
    async with working(setup, tmp_path) as (client, _):
        assert (await client.reply("noevents")).startswith("+OK")
        assert await client.api(f"originate {command}") == f"+OK {UUID}\n"
        assert await client.api(f"originate {command}") == f"+OK {UUID}\n"  # the first one is over


async def test_a_background_command_answers_by_an_event(tmp_path: Path) -> None:
    async with working(SETUP, tmp_path) as (client, _):
        headers, _ = await client.ask("bgapi version")
        _, body = await client.frame()
        said = PlainHeaders(body)
        assert said.get("Job-UUID") == headers["Job-UUID"]
        assert (said.get("Job-Command"), said.get("Job-Command-Arg")) == ("version", None)
        assert body.split(b"\n\n", 1)[1].startswith(b"FreeSWITCH Version")


@pytest.mark.parametrize(
    ("command", "when", "disposition"),
    [
        (AGENT_FIRST, ("CHANNEL_PROGRESS", "first"), Disposition.NOT_DIALLED),
        (AGENT_FIRST, ("CHANNEL_ANSWER", "first"), Disposition.CANCELLED),
        (AGENT_FIRST, ("CHANNEL_PROGRESS", "second"), Disposition.CANCELLED),
        (AGENT_FIRST, ("CHANNEL_BRIDGE", "first"), Disposition.ANSWERED),
        (CUSTOMER_FIRST, ("CHANNEL_PROGRESS", "first"), Disposition.CANCELLED),
        (CUSTOMER_FIRST, ("CHANNEL_PROGRESS", "second"), Disposition.ABANDONED),
        (CUSTOMER_FIRST, ("CHANNEL_BRIDGE", "first"), Disposition.ANSWERED),
    ],
)
@pytest.mark.parametrize("killed", ["first", "last"])
async def test_a_call_that_was_asked_for_is_ended_by_a_command(
    tmp_path: Path, command: str, when: tuple[str, str], disposition: Disposition, killed: str
) -> None:
    switch, events = switch_of(CROWDED), list[Event]()
    with Ledger(tmp_path / "ledger") as ledger:
        simulation = Simulation(centre=CROWDED, pace=Pace(start=START, speed=inf), ledger=ledger)
        commands = Commands(switch, simulation, zone=UTC, fate=lambda _number: Disposition.ANSWERED)
        said: list[str] = []

        def hear(event: Event) -> None:
            events.append(event)
            leg = "first" if event.get("Unique-ID") == UUID else "second"
            if (event.get("Event-Name"), leg) == when:
                uuid = list(switch.channels)[-1] if killed == "last" else UUID
                said.append(commands.asked("uuid_kill", f"{uuid} ORIGINATOR_CANCEL"))

        switch.heard.append(hear)
        agent = next(iter(switch.agents.values())).extension
        commands.background("originate " + command.format(uuid=UUID, number=NUMBER).replace("101@", f"{agent}@"), "job")
        await commands.finished()
    assert said == ["+OK\n"]
    assert switch.channels == {}
    calls = folded((event.plain.partition(b"\n\n")[2] for event in events), mode="queue")
    assert differences({key: entry for (_, key), entry in read(tmp_path / "ledger").items()}, calls) == []
    assert (calls[UUID].disposition, calls[UUID].cause) == (disposition, "ORIGINATOR_CANCEL")


async def test_what_is_no_channel_cannot_be_killed() -> None:
    async with simulated(SETUP) as (switch, _), client_of(switch) as client:
        assert await client.api(f"uuid_kill {UUID}") == "-ERR No such channel!\n"
        assert await client.api("uuid_kill") == "-USAGE: <uuid> [cause]\n"


def test_an_originate_is_taken_apart() -> None:
    asked = parse(
        "{origination_uuid=u-1,origination_caller_id_name='A, B',origination_caller_id_number=0199,originate_timeout=7}"
        "sofia/gateway/carrier/0612 &bridge({z=1}user/101@127.0.0.1)"
    )
    assert asked is not None
    assert (asked.uuid, asked.shown, asked.timeout.seconds) == ("u-1", "0199", 7)
    assert (asked.agent_first, asked.customer, asked.extension) == (False, "0612", "101")
    asked = parse("user/101@127.0.0.1 &bridge(sofia/gateway/carrier/0612)")
    assert asked is not None
    assert (asked.agent_first, asked.customer, asked.extension, asked.uuid) == (True, "0612", "101", None)


# -- documents ---------------------------------------------------------------------------------------------------------


async def test_documents_are_posted_until_they_are_taken(tmp_path: Path) -> None:
    taken: dict[str, bytes] = {}
    refused: set[str] = set()

    async def take(request: web.Request) -> web.Response:
        uuid = request.query["uuid"]
        if uuid not in refused and len(refused) < 3:
            refused.add(uuid)
            return web.Response(status=503)
        taken[uuid] = await request.read()
        return web.Response()

    app = web.Application()
    app.router.add_post("/cdr", take)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        address = runner.addresses[0]
        setup = Setup(port=0, calls="all", cdr_to=f"http://{address[0]}:{address[1]}/cdr")
        with Ledger(tmp_path / "ledger") as ledger:
            async with simulated(setup, count=15, ledger=ledger) as (switch, simulation), client_of(switch) as client:
                assert (await client.reply("event plain HEARTBEAT")).startswith("+OK")
                async with asyncio.timeout(SECONDS):
                    await switch.play()
    finally:
        await runner.cleanup()
    assert refused <= set(taken)
    assert len(refused) == 3
    assert simulation.sent.acknowledged == len(taken)
    entries = {key: entry for (_, key), entry in read(tmp_path / "ledger").items()}
    assert differences(entries, folded(taken.values())) == []
    assert all(orjson.loads(document)["variables"]["uuid"] == uuid for uuid, document in taken.items())


async def test_a_document_that_nobody_takes_is_told_and_given_up_when_the_simulation_is_to_finish() -> None:
    simulation = Simulation(centre=Centre(start=START), pace=Pace(start=START), ledger=Ledger())
    said: list[str] = []
    async with Posting(f"http://127.0.0.1:{free_port()}/cdr", simulation, trouble=said.append) as posting:
        posting.post(b'{"variables":{"uuid":"a"}}')
        simulation.pace.finish()
        async with asyncio.timeout(SECONDS):
            await posting.posted()
    assert set(said) == {"connection refused: does the hub run, and listen there?"}
    assert (simulation.sent.acknowledged, simulation.sent.given_up) == (0, 1)
