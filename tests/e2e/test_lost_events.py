"""A daemon that is restarted in the middle of a conversation: what was pushed meanwhile is lost, and nobody is rung
again by what is left."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from aiohttp import ClientSession

from support.astercc import event
from support.commands import cdrhub
from support.daemon import Daemon
from support.dialling import Vendor, vendor
from support.intake import until
from support.sql import rows

PUSHED = "/ingest/astercc/0123456789abcdef"
CUSTOMER, AGENT = "13955550101", "7001"
"""The first number of the case, in China; its agent."""


def daemon_in(folder: Path, switch: Vendor) -> Daemon:
    return Daemon(
        folder,
        database=f"sqlite:///{folder / 'cdrhub.db'}",
        sources=f"""[redial]
mode = "on"
agent_retry_seconds = 1

[redial.diallers.it]
type = "astercc"
url = "{switch.url}/asterccinterfaces"
team = "demo"
password = "any"
model_id = "10"
region = "CN"

[sources.there]
type = "astercc"
path = "{PUSHED}"
region = "CN"
dialler = "it"
settle_seconds = 1
""",
    )


class Conversation:
    """The events of an ordered call in which the customer talked, and that they ended."""

    def __init__(self, reference: str) -> None:
        self._reference = reference
        self._rang_at = datetime.now(UTC)

    def event(self, source: str, word: str, second: int, **said: str) -> bytes:
        at = self._rang_at + timedelta(seconds=second)
        number = {"AGENT": AGENT, "CALLEE": CUSTOMER}.get(source, "")
        said |= {"calleridnum": CUSTOMER, "activenum": number, "eventTime": f"{at:%Y-%m-%d %H:%M:%S}"}
        return event(source, word, 0, userdata=self._reference, **said)

    @property
    def begun(self) -> list[bytes]:
        return [self.event("AGENT", "ringing", 0), self.event("AGENT", "answer", 1), self.event("CALLEE", "ringing", 1)]

    @property
    def over(self) -> list[bytes]:
        return [
            self.event("CALLEE", "hangup", 4, hangupfirst="CALLEE"),
            self.event("AGENT", "hangup", 4, hangupfirst="CALLEE"),
            self.event("CONVERSATION", "hangup", 4),
        ]


async def push(daemon: Daemon, events: Sequence[bytes]) -> None:
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    async with ClientSession(headers=headers) as client:
        for body in events:
            async with client.post(f"http://127.0.0.1:{daemon.http_port}{PUSHED}", data=body) as answer:
                assert answer.status == 200


def in_cases(folder: Path, daemon: Daemon, *command: str) -> str:
    """What `cdrhub cases …` shows."""
    done = cdrhub("cases", *command, "--config", daemon.config, folder=folder)
    assert done.returncode == 0, done.stderr
    return done.stdout


def ordered(folder: Path, daemon: Daemon) -> None:
    """A case of two numbers, whose first one is ordered to be dialled."""
    (folder / "people.csv").write_text(f"code,agent,number_1,number_2\nC-1,{AGENT},{CUSTOMER},13955550102\n")
    in_cases(folder, daemon, "import", "people.csv", "--source", "there")
    in_cases(folder, daemon, "dial", "C-1")


LOST = {
    "the answer": (slice(3), slice(3)),
    "all of the customer": (slice(2), slice(1, 3)),
    "all but the beginning and the end": (slice(1), slice(2, 3)),
}
"""How much of the beginning came before the restart, and of the end after it."""


@pytest.mark.parametrize("lost", LOST)
async def test_a_conversation_whose_answer_nobody_heard_of_rings_nobody_again(tmp_path: Path, lost: str) -> None:
    async with vendor() as switch:
        switch.says("|Retuen|1|Retuen|BackMsg_19")
        daemon = daemon_in(tmp_path, switch)
        database = f"sqlite:///{tmp_path / 'cdrhub.db'}"
        await asyncio.to_thread(daemon.start)
        try:
            await asyncio.to_thread(ordered, tmp_path, daemon)
            await until(lambda: switch.requests, "the first number is dialled")
            call = Conversation(switch.requests[0].form["userdata"])
            before, after = LOST[lost]
            await push(daemon, call.begun[before])
            await asyncio.to_thread(daemon.drained)
            await asyncio.to_thread(daemon.stop)
            await asyncio.to_thread(daemon.start)
            await push(daemon, call.over[after])
            deadline = time.monotonic() + 30
            query = "SELECT state, state_reason FROM cases"
            while (found := rows(database, query)) != [("paused", "attempt_unknown")]:
                assert time.monotonic() < deadline, f"the case is {found}"
                await asyncio.sleep(0.1)
            await asyncio.sleep(3)  # longer than until the same number again
            shown = await asyncio.to_thread(in_cases, tmp_path, daemon, "show", "C-1")
            assert ", in doubt" in shown
            said = await asyncio.to_thread(in_cases, tmp_path, daemon, "report", "C-1", "contacted")
            assert "C-1: the case is contacted" in said
        finally:
            await asyncio.to_thread(daemon.stop)
        assert len(switch.requests) == 1
        assert rows(database, "SELECT rule FROM redial_decisions WHERE cause = 'call'") == [("call_in_doubt",)]
