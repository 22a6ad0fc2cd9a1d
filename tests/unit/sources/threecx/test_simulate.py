"""The simulated PBX: believable lines that become the calls of its ledger, and a sender over a real socket."""

from __future__ import annotations

import asyncio
import socket
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import islice
from math import inf

import pytest

from cdrhub.model.call import Call
from cdrhub.sources.simulation.centre import Centre, calls
from cdrhub.sources.simulation.ledger import Entry
from cdrhub.sources.simulation.pace import Pace
from cdrhub.sources.simulation.simulation import Due, Schedule, Simulation
from cdrhub.sources.threecx.config import ThreeCXSettings
from cdrhub.sources.threecx.layout import STANDARD_20, STANDARD_27
from cdrhub.sources.threecx.simulate import MIX, PBX, CallidForm, Version, simulate
from cdrhub.sources.threecx.simulate.lines import Written
from support.threecx import call_of
from support.truth import differences

START = datetime(2026, 3, 2, 8, 0, tzinfo=UTC)
CENTRE = Centre(seed=7, start=START, mix=MIX)
VERSIONS: tuple[Version, ...] = ("v18", "v20")


def written(centre: Centre, pbx: PBX, *, limit: int = 600) -> list[Due[Written]]:
    """The lines of some calls in the order in which they are written."""
    return [item for due in Schedule(calls(centre), pbx.render, limit=limit) for item in pbx.written(due)]


def told(lines: Sequence[Due[Written]], settings: ThreeCXSettings) -> tuple[dict[str, Call], dict[str, Entry]]:
    """The calls that lines become, and the entries of the ledger, by call key."""
    by_key: dict[str, list[bytes]] = defaultdict(list)
    for line in lines:
        by_key["/".join(line.what.body.decode().removeprefix("Call ").split(",")[:2])].append(line.what.body)
    entries = {line.entry.call_key: line.entry for line in lines if line.entry is not None}
    return {key: call_of(*bodies, settings=settings) for key, bodies in by_key.items()}, entries


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("region", ["FR", "NG"])
@pytest.mark.parametrize("seed", [1, 7])
def test_every_line_becomes_the_call_of_the_ledger(version: Version, region: str, seed: int) -> None:
    centre = replace(CENTRE, region=region, seed=seed)
    lines = written(centre, PBX(centre, version=version))
    found, entries = told(lines, ThreeCXSettings(region=region))
    assert found.keys() == entries.keys()
    assert not [different for key, call in found.items() for different in differences(entries[key], call)]
    seen = set().union(*(call.flags for call in found.values()))
    assert seen <= {"talk_includes_wait", "picked_up_elsewhere"}
    assert {call.disposition for call in found.values()} >= {
        *("answered", "abandoned", "voicemail", "cancelled", "failed", "busy", "no_answer", "rejected", "ivr")
    }
    assert {call.direction for call in found.values()} == {"inbound", "outbound", "internal"}
    assert any(leg.role == "transfer" for call in found.values() for leg in call.legs)
    assert {call.queue for call in found.values()} == {None, "Sales", "Support", "Billing"}


@pytest.mark.parametrize("form", ["windows", "linux16", "linux20"])
def test_the_short_layout_is_understood_too(form: CallidForm) -> None:
    lines = written(CENTRE, PBX(CENTRE, fields=STANDARD_20, callid=form))
    found, entries = told(lines, ThreeCXSettings(region="FR"))
    assert not [different for key, call in found.items() for different in differences(entries[key], call)]
    assert not any({"clock_suspect", "unmapped_word", "text_repaired"} & set(call.flags) for call in found.values())


def test_v20_writes_several_lines_of_a_queue_call() -> None:
    lines = written(CENTRE, PBX(CENTRE, version="v20"))
    per_call = Counter(line.what.body.split(b",")[0] for line in lines)
    assert set(per_call.values()) >= {1, 2, 3, 4}
    columns = [line.entry.columns for line in lines if line.entry is not None and "queue" in line.entry.columns]
    told_waits = [column["wait_seconds"] for column in columns if column["disposition"] == "answered"]
    assert all(isinstance(wait, int) for wait in told_waits)
    assert len(told_waits) > 100


@pytest.mark.parametrize("version", VERSIONS)
def test_historyid_rises_by_one_with_each_call_told_of(version: Version) -> None:
    lines = written(CENTRE, PBX(CENTRE, version=version, first_historyid=100))
    ids = [int(line.what.body.split(b",")[0].removeprefix(b"Call ")) for line in lines]
    assert list(dict.fromkeys(ids)) == list(range(100, 700))


def test_lines_are_written_when_their_part_of_the_call_ends() -> None:
    for line in written(CENTRE, PBX(CENTRE, version="v20")):
        ended = line.what.body.decode().split(",")[5]
        assert datetime.strptime(ended, "%Y/%m/%d %H:%M:%S").replace(tzinfo=UTC) == line.at.replace(microsecond=0)


def test_a_seed_gives_the_same_bytes() -> None:
    first, again = (written(CENTRE, PBX(CENTRE, repeated=0.1, broken=0.1)) for _ in range(2))
    assert first == again
    other = replace(CENTRE, seed=8)
    assert first != written(other, PBX(other))


def test_lines_are_repeated_and_broken_where_that_is_asked_for() -> None:
    lines = [line.what for line in written(CENTRE, PBX(CENTRE, repeated=0.1, broken=0.1))]
    assert 20 < sum(line.repeated for line in lines) < 120
    assert 20 < sum(line.broken for line in lines) < 120
    assert all(line.body.endswith(b"\r\n") for line in lines)
    assert all(line.body.count(b",") < 19 for line in lines if line.broken)
    whole = Counter(line.body for line in lines)
    assert all(whole[line.body] == 2 for line in lines if line.repeated)
    assert not any(line.repeated or line.broken for line in (item.what for item in written(CENTRE, PBX(CENTRE))))


class _Hub:
    """Takes what comes on a loopback port; closes the first connection after `patience` bytes, and calls `back` when a
    sender that it closed on has sent again."""

    def __init__(self, patience: int | None = None, back: Callable[[], None] = lambda: None) -> None:
        self.received = b""
        self.connections = 0
        self.over = asyncio.Event()  #: a sender closed its connection
        self._patience = patience
        self._back = back

    async def take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        taken = 0
        while chunk := await reader.read(65_536):
            self.received += chunk
            taken += len(chunk)
            if self._patience is not None and taken >= self._patience and self.connections == 1:
                break
            if self.connections > 1:
                self._back()
        else:
            self.over.set()
        writer.close()


def _simulation(*, count: int, speed: float = inf) -> Simulation:
    return Simulation(centre=CENTRE, pace=Pace(start=START, speed=speed), count=count)


async def _sent_to(hub: _Hub, simulation: Simulation, troubles: list[OSError | None] | None = None) -> None:
    server = await asyncio.start_server(hub.take, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        trouble = (lambda _: None) if troubles is None else troubles.append
        await simulate(simulation, PBX(CENTRE), host="127.0.0.1", port=port, trouble=trouble)
        await hub.over.wait()


async def test_the_sender_holds_one_connection_and_ends_each_record_with_cr_lf() -> None:
    hub, simulation = _Hub(), _simulation(count=500)
    await _sent_to(hub, simulation)
    assert hub.connections == 1
    assert hub.received == b"".join(line.what.body for line in written(CENTRE, PBX(CENTRE), limit=500))
    assert hub.received.count(b"\r\n") == simulation.sent.records == simulation.sent.calls == 500


async def test_it_comes_back_when_the_hub_closed_and_says_so() -> None:
    simulation = _simulation(count=100_000, speed=20_000)
    hub = _Hub(patience=1, back=simulation.pace.finish)  # however late the sender sees that it closed
    troubles: list[OSError | None] = []
    await _sent_to(hub, simulation, troubles)
    assert hub.connections == 2
    assert hub.received.endswith(b"\r\n")
    assert simulation.sent.records >= hub.received.count(b"\r\n") > 1
    assert len(troubles) == 1
    assert troubles[0] is None or isinstance(troubles[0], ConnectionError)


async def test_it_tells_why_there_is_no_connection_and_gives_up_when_it_is_over() -> None:
    simulation = _simulation(count=10, speed=50_000)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and does not listen
        told_of: list[OSError | None] = []
        asyncio.get_running_loop().call_later(0.2, simulation.pace.finish)
        port = taken.getsockname()[1]
        await simulate(simulation, PBX(CENTRE), host="127.0.0.1", port=port, trouble=told_of.append)
    assert (simulation.sent.records, simulation.sent.calls) == (0, 0)
    assert isinstance(told_of[0], ConnectionRefusedError)


async def test_what_ended_before_the_start_is_not_told() -> None:
    simulation = Simulation(centre=CENTRE, pace=Pace(start=START + timedelta(hours=1), speed=inf), count=50)
    told_of = [due async for due in simulation.play(PBX(CENTRE).render)]
    assert len(told_of) == 50
    assert min(due.at for due in told_of) >= START + timedelta(hours=1)
    assert any(due.what.started_at < START + timedelta(hours=1) for due in told_of)
    assert next(islice(calls(CENTRE), 0, None)).started_at < START + timedelta(hours=1)


def test_the_layout_is_the_standard_one() -> None:
    assert all(line.what.body.count(b",") == len(STANDARD_27) - 1 for line in written(CENTRE, PBX(CENTRE), limit=50))
