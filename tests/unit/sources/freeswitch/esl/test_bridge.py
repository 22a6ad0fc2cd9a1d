"""The bridge between a thread with gevent and the event loop: its life, and that it leaves nothing behind."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from cdrhub.errors import NotConnected
from cdrhub.sources.freeswitch.esl.bridge import Bridge
from cdrhub.sources.freeswitch.esl.errors import CommandFailed, CommandRefused
from support.esl import PASSWORD, Connection, EventSocketServer, response
from support.intake import until
from support.processes import python

CYCLES = 30
SUBSCRIPTION = "event plain ALL"


def bridge_to(port: int, *, idle_seconds: float = 30.0) -> Bridge:
    return Bridge(host="127.0.0.1", port=port, password=PASSWORD, subscription=SUBSCRIPTION, idle_seconds=idle_seconds)


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


async def test_events_and_commands() -> None:
    async with EventSocketServer(answers={"status": "UP\n"}) as server:
        bridge = bridge_to(server.port)
        await bridge.start()
        await server.say(b"1", b"2")
        await until(lambda: bridge.buffered == 2)
        assert await bridge.take(limit=9) == [b"1", b"2"]
        assert await bridge.api("status") == "UP\n"
        await bridge.bgapi("originate user/1 2", job_uuid="b1-2")
        with pytest.raises(CommandFailed, match="no reply"):
            await bridge.api("nonsense")
        with pytest.raises(CommandRefused):
            await bridge.api("status\n\nexit")
        assert await bridge.stop()
    assert server.commands[0] == SUBSCRIPTION
    assert server.commands[1:4] == ["api status", "bgapi originate user/1 2\nJob-UUID: b1-2", "api nonsense"]
    assert server.connections == 2


async def test_what_comes_while_the_process_is_suspended_is_no_silence() -> None:
    program = """
import asyncio, sys
from cdrhub.sources.freeswitch.esl.bridge import Bridge

async def listen():
    switch = {"host": "127.0.0.1", "port": int(sys.argv[1]), "password": "ClueCon"}
    bridge = Bridge(**switch, subscription="event plain ALL", idle_seconds=1.5)
    await bridge.start()
    print(await bridge.take(limit=1), flush=True)
    print(await bridge.take(limit=1))
    await bridge.stop()

asyncio.run(listen())
"""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    async with EventSocketServer() as server:
        command = (sys.executable, "-c", program, str(server.port))
        process = await asyncio.create_subprocess_exec(*command, env=environment, stdout=subprocess.PIPE)
        await server.say(b"1")
        assert process.stdout is not None
        assert await process.stdout.readline() == b"[b'1']\n"
        await asyncio.sleep(0.1)  # until it waits for the next one
        process.send_signal(signal.SIGSTOP)
        await asyncio.sleep(1.6)  # longer than it would have waited
        await server.say(b"2")
        process.send_signal(signal.SIGCONT)
        assert (await process.communicate())[0] == b"[b'2']\n"


async def test_a_command_that_nobody_waits_for_any_more_is_not_sent() -> None:
    asked, goes_on = asyncio.Event(), asyncio.Event()

    async def slow(connection: Connection) -> None:
        if server.connections == 1:
            await server.behave(connection)
            return
        await connection.authenticate()
        while command := await connection.command():
            server.commands.append(command)
            asked.set()
            await goes_on.wait()
            await connection.send(response("done"))

    server = EventSocketServer(script=slow)
    async with server:
        bridge = bridge_to(server.port)
        await bridge.start()
        first = asyncio.create_task(bridge.api("first"))
        await asked.wait()
        second = asyncio.create_task(bridge.api("second"))
        await asyncio.sleep(0.05)
        second.cancel()
        with pytest.raises(asyncio.CancelledError):
            await second
        goes_on.set()
        assert await first == "done"
        assert await bridge.api("third") == "done"
        assert await bridge.stop()
    assert server.commands[1:3] == ["api first", "api third"]


async def test_the_connection_for_commands_is_made_for_the_first_one_and_again_when_it_is_gone() -> None:
    async with EventSocketServer(answers={"status": "UP\n"}) as server:
        bridge = bridge_to(server.port)
        await bridge.start()
        assert server.connections == 1
        for expected in (2, 3):
            assert await bridge.api("status") == "UP\n"
            assert await bridge.api("status") == "UP\n"
            assert server.connections == expected
            await server.drop_commanders()
            await asyncio.sleep(0.05)
        await server.say(b"1")
        assert await bridge.take(limit=9) == [b"1"]
        assert await bridge.stop()


async def test_many_commands_at_once_get_their_own_answers() -> None:
    answers = {f"uuid_exists {number}": str(number) for number in range(50)}
    async with EventSocketServer(answers=answers) as server:
        bridge = bridge_to(server.port)
        await bridge.start()
        found = await asyncio.gather(*(bridge.api(command) for command in answers))
        assert await bridge.stop()
    assert found == list(answers.values())
    assert server.connections == 2


async def test_a_command_that_is_cancelled_does_not_disturb_the_next() -> None:
    async with EventSocketServer(answers={"first": "1", "second": "2"}) as server:
        bridge = bridge_to(server.port)
        await bridge.start()
        for turns in range(12):
            asking = asyncio.create_task(bridge.api("first"))
            for _ in range(turns):
                await asyncio.sleep(0)
            asking.cancel()
            await asyncio.wait({asking})
            assert await bridge.api("second") == "2"
        assert await bridge.stop()


async def test_a_large_answer() -> None:
    answer = "x" * 3_000_000
    async with EventSocketServer(answers={"show channels as json": answer}) as server:
        bridge = bridge_to(server.port)
        await bridge.start()
        assert await bridge.api("show channels as json") == answer
        assert await bridge.stop()


async def test_it_stops_in_every_state() -> None:
    async with EventSocketServer() as server:
        bridge = bridge_to(server.port)
        assert await bridge.stop()
        with pytest.raises(NotConnected):
            await bridge.take(limit=1)
        with pytest.raises(NotConnected):
            await bridge.api("status")
        for turns in range(40):
            bridge = bridge_to(server.port)
            starting = asyncio.create_task(bridge.start())
            for _ in range(turns):
                await asyncio.sleep(0.0005)
            starting.cancel()
            await asyncio.wait({starting})
            assert await bridge.stop()
            assert await bridge.stop()
            assert await bridge.stop()


async def test_it_stops_while_a_switch_is_silent() -> None:
    """Half open: neither `exit` nor a command is answered."""

    server = EventSocketServer()

    async def script(switch: Connection) -> None:
        if server.connections == 1:
            await switch.subscribe()
        else:
            await switch.authenticate()
        await switch.gone()

    server.script = script
    async with server:
        bridge = bridge_to(server.port)
        await bridge.start()
        asking = asyncio.create_task(bridge.api("status"))
        await until(lambda: server.connections == 2)
        assert await bridge.stop()
        with pytest.raises(NotConnected):
            await asking


async def test_it_stops_while_reading_is_held_back() -> None:
    async with EventSocketServer() as server:
        bridge = Bridge(
            host="127.0.0.1",
            port=server.port,
            password=PASSWORD,
            subscription=SUBSCRIPTION,
            idle_seconds=30,
            max_events=1,
        )
        await bridge.start()
        saying = asyncio.create_task(server.say(*[b"x" * 100_000] * 100))
        await until(lambda: bridge.pauses)
        assert await bridge.stop()
        saying.cancel()
        await asyncio.wait({saying})
    assert await bridge.take(limit=1) == [b"x" * 100_000]


async def test_what_the_switch_said_before_the_stop_is_still_taken() -> None:
    async with EventSocketServer() as server:
        bridge = bridge_to(server.port)
        await bridge.start()
        await server.say(*(b"%d" % number for number in range(100)))
        assert await bridge.stop()
    assert await bridge.take(limit=1_000) == [b"%d" % number for number in range(100)]
    with pytest.raises(NotConnected, match=r"goodbye|stopped|closed"):
        await bridge.take(limit=1)


async def test_a_thread_that_does_nothing_is_noticed() -> None:
    bridge = Bridge(
        host="127.0.0.1", port=1, password="", subscription="", idle_seconds=0.02, watchdog_seconds=0.02
    )  # never started: nobody ends the wait
    with pytest.raises(NotConnected, match="does not work"):
        await bridge.take(limit=1)


def left_of_threads() -> list[str]:
    """What of gevent and of links is still there, by the names of its types: gevent itself belongs to the threads."""
    gc.collect()
    kinds = {"Hub", "Link", "EventSocketClient", "LoopExit"}
    return sorted(kind for each in gc.get_objects() if (kind := type(each).__name__) in kinds)


async def test_thirty_lives_leave_neither_threads_nor_descriptors_nor_memory() -> None:
    async with EventSocketServer(answers={"status": "UP\n"}) as server:
        before = 0
        for cycle in range(CYCLES):
            bridge = bridge_to(server.port)
            await bridge.start()
            await server.say(b"1")
            await bridge.take(limit=1)
            await bridge.api("status")
            if cycle % 3 == 0:
                await server.hang_up()
                with pytest.raises(NotConnected):
                    await bridge.take(limit=1)
            assert await bridge.stop()
            del bridge
            await until(lambda: not server.open)
            if cycle == 0:
                before = descriptors()
        assert (descriptors(), left_of_threads()) == (before, [])
        assert [thread.name for thread in threading.enumerate() if thread.name.startswith("esl")] == []


def test_an_event_loop_that_is_closed_under_a_bridge_does_not_hold_its_thread() -> None:
    threads: list[threading.Thread] = []

    async def leave_it() -> None:
        async with EventSocketServer() as server:
            await bridge_to(server.port).start()
            threads.extend(thread for thread in threading.enumerate() if thread.name.startswith("esl"))

    asyncio.run(leave_it())
    for thread in threads:
        thread.join(10)
    assert len(threads) == 1
    assert not threads[0].is_alive()


def test_nothing_is_monkey_patched_and_gevent_stays_in_its_thread() -> None:
    """In a process of its own, where nothing else can have imported gevent."""
    program = """
import asyncio, socket, subprocess, sys, threading, time
from support.esl import EventSocketServer, PASSWORD
from cdrhub.sources.freeswitch import SYSTEM
from cdrhub.sources.freeswitch.esl.bridge import Bridge

assert not any(name.partition(".")[0] in ("gevent", "greenswitch") for name in sys.modules)

async def main():
    asyncio.get_running_loop().slow_callback_duration = 60  # else a busy machine makes -X dev write of slow callbacks
    async with EventSocketServer() as server:
        bridge = Bridge(host="127.0.0.1", port=server.port, password=PASSWORD, subscription="event plain ALL",
                        idle_seconds=5)
        await bridge.start()
        await server.say(b"1")
        assert await bridge.take(limit=1) == [b"1"]
        process = await asyncio.create_subprocess_exec("true")
        assert await process.wait() == 0
        assert await bridge.stop()

asyncio.run(main())
import gevent._hub_local
assert gevent._hub_local.get_hub_if_exists() is None
assert "gevent" not in socket.socket.__module__
assert "gevent" not in threading.Lock().__class__.__module__
assert "gevent" not in time.sleep.__module__
"""
    done = python(program, options=("-X", "dev", "-W", "error"))
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert "gevent" not in socket.socket.__module__
