"""The simulated account: pushes that become the calls of its ledger, and a client that sends again."""

from __future__ import annotations

import asyncio
import ssl
from collections import Counter, defaultdict
from dataclasses import replace
from datetime import UTC, datetime
from math import inf
from pathlib import Path

import pytest

from cdrhub.errors import DecodeError
from cdrhub.model.fold import fold
from cdrhub.model.update import CallUpdate
from cdrhub.sources.simulation.centre import Centre, calls
from cdrhub.sources.simulation.pace import Pace
from cdrhub.sources.simulation.pushing import Push
from cdrhub.sources.simulation.simulation import Due, Schedule, Simulation
from cdrhub.sources.voicenter.simulate import MIX, Account, simulate
from support.certificates import OLD
from support.intake import RecordingIntake, until
from support.truth import differences
from support.voicenter import decoded, served

START = datetime(2026, 3, 2, 8, 0, tzinfo=UTC)
CENTRE = Centre(seed=7, start=START, mix=MIX, region="IL")


def pushed(centre: Centre, *, broken: float = 0.0, limit: int = 1_500) -> list[Due[Push]]:
    return list(Schedule(calls(centre), Account(centre, broken=broken).render, limit=limit))


def simulation(*, count: int) -> Simulation:
    return Simulation(centre=CENTRE, pace=Pace(start=START, speed=inf), count=count)


@pytest.mark.parametrize("seed", [1, 7])
def test_every_push_becomes_the_call_of_the_ledger(seed: int) -> None:
    stream = pushed(replace(CENTRE, seed=seed))
    updates: dict[str, list[CallUpdate]] = defaultdict(list)
    for due in stream:
        update = decoded(due.what.body, content_type=due.what.content_type, region="IL")
        updates[update.call_key].append(update)
    entries = {due.entry.call_key: due.entry for due in stream if due.entry is not None}
    found = {key: fold(told) for key, told in updates.items()}
    assert found.keys() == entries.keys()
    assert not [different for key, call in found.items() for different in differences(entries[key], call)]
    assert not set().union(*(call.flags for call in found.values()))
    assert {call.disposition for call in found.values()} == {
        *("answered", "abandoned", "voicemail", "cancelled", "failed", "busy", "no_answer", "ivr", "not_dialled")
    }
    assert {call.type_raw for call in found.values()} >= {
        *("Queue", "Incoming Call", "Extension Outgoing", "VoiceMail", "XferCDR", "Auto forward"),
        *("Click2Call leg1", "Click2Call leg2", "ProductiveCall leg1", "ProductiveCall leg2"),
    }


def test_what_is_repeated_is_the_same_bytes_and_comes_in_every_format() -> None:
    stream = pushed(CENTRE)
    seen: set[bytes] = set()
    for due in stream:
        assert (due.what.body in seen) == due.what.repeated
        seen.add(due.what.body)
    assert sum(due.what.repeated for due in stream) > 10
    assert len(Counter(due.what.content_type for due in stream)) == 3
    assert any(b'"aiData"' in body for body in seen)


def test_what_is_broken_cannot_be_understood() -> None:
    broken = [due.what for due in pushed(CENTRE, broken=0.1) if due.what.broken]
    assert len(broken) > 50
    for push in broken:
        with pytest.raises(DecodeError):
            decoded(push.body, content_type=push.content_type)


def test_a_seed_gives_the_same_pushes() -> None:
    assert pushed(CENTRE, limit=100) == pushed(CENTRE, limit=100)
    assert pushed(CENTRE, limit=100) != pushed(replace(CENTRE, seed=8), limit=100)


async def test_a_simulated_account_loses_nothing() -> None:
    intake, played = RecordingIntake(), simulation(count=300)
    async with served(intake) as url:
        await simulate(played, Account(CENTRE, broken=0.05), url=url, resend_seconds=0.01)
    sent = played.sent
    assert (sent.acknowledged, sent.given_up, sent.resent) == (sent.records, 0, 0)
    assert sent.calls >= 300
    assert sent.broken > 0
    assert set(intake.bodies) == {due.what.body for due in pushed(CENTRE, broken=0.05, limit=300)}


async def test_a_simulated_account_sends_again_what_was_not_kept() -> None:
    intake, played = RecordingIntake(), simulation(count=1)
    intake.refusing = True
    async with served(intake) as url:
        sending = asyncio.create_task(simulate(played, Account(CENTRE), url=url, resend_seconds=0.01))
        await until(lambda: played.sent.last_error, "the first refusal")
        intake.refusing = False
        await sending
    assert (played.sent.acknowledged, played.sent.given_up) == (played.sent.records, 0)
    assert played.sent.resent >= 1
    assert len(intake.bodies) == played.sent.records


async def test_a_simulated_account_says_what_was_answered_and_what_to_look_at() -> None:
    lost, gone = simulation(count=1), simulation(count=1)
    async with served(RecordingIntake()) as url:
        await simulate(lost, Account(CENTRE), url=url + "x", resend_seconds=0.01)
    assert lost.sent.given_up == lost.sent.records
    assert lost.sent.last_error == "HTTP 404: no source has this path; is the secret right?"
    told: list[str] = []
    await simulate(gone, Account(CENTRE), url=url, resend_seconds=0.01, trouble=told.append)
    assert told == [gone.sent.last_error] * (gone.sent.resent + gone.sent.given_up)
    assert gone.sent.last_error == "connection refused: does the hub run, and listen there?"


async def test_a_simulated_account_says_how_a_certificate_is_trusted(tmp_path: Path) -> None:
    certificate, key = tmp_path / "certificate.pem", tmp_path / "key.pem"
    certificate.write_text(OLD[0])
    key.write_text(OLD[1])
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate, key)
    stranger = simulation(count=1)
    async with await asyncio.start_server(lambda _reader, writer: writer.close(), "127.0.0.1", 0, ssl=tls) as server:
        port = server.sockets[0].getsockname()[1]
        await simulate(stranger, Account(CENTRE), url=f"https://127.0.0.1:{port}/cdr", resend_seconds=0.01)
    assert stranger.sent.acknowledged == 0
    assert stranger.sent.last_error.endswith(": SSL_CERT_FILE can name the certificate to trust")
