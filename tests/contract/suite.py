"""What every source must do, whatever its phone system: the contract suite.

A source gets it by a `SourceUnderTest` of its own (some 40 lines: how its phone system speaks) and a class

    class TestMySource(SourceContract):
        @pytest.fixture
        async def subject(self, tmp_path): ...

Everything runs over real sockets and files, with the real runner, against a recording intake.
"""

from __future__ import annotations

import asyncio
import contextlib
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from cdrhub.sources.base import Source, SourceConfig
from cdrhub.sources.runner import Runner
from support.intake import RecordingIntake, until

RECORDS = 20  #: of most tests
CANCELLATIONS = 40  #: moments, in turns of the event loop, at which a session is cancelled


class SourceUnderTest(ABC):
    """One source with its phone system, started and stopped by the fixture."""

    #: The sender learns whether a record is durable: `say` returns it.
    acknowledged = False
    #: What was not durable is offered again (by the sender, or because it stays in a file).
    resent = False
    #: What the sender could hand over before a session was cancelled is never lost.
    drains = True
    #: Records come as a stream of bytes that may be cut anywhere: `say_pieces` works.
    streamed = False
    #: The phone system holds a connection that is up or down.
    linked = True

    def __init__(self) -> None:
        self.intake = RecordingIntake()

    @property
    @abstractmethod
    def config(self) -> SourceConfig:
        """The configuration of the source."""

    @abstractmethod
    def source(self) -> Source:
        """A new source of this configuration."""

    @abstractmethod
    def record(self, number: int) -> bytes:
        """The body, as it must be journaled, of a record; another one for each number."""

    @abstractmethod
    async def say(self, record: bytes) -> bool | None:
        """The phone system says `record`, connecting before if it must. Whether it was acknowledged; None where the
        protocol has no acknowledgement."""

    async def say_pieces(self, pieces: Sequence[bytes]) -> None:
        """The phone system sends a record in these pieces (its end included), with some time between them."""
        raise NotImplementedError

    def wire(self, record: bytes) -> bytes:
        """`record` as the bytes of the stream."""
        raise NotImplementedError

    @abstractmethod
    async def say_garbage(self) -> int:
        """The phone system, or a stranger, sends what is no record; returns how many pieces must be kept."""

    @abstractmethod
    async def interrupt(self) -> None:
        """The link breaks, or what stands for it (a rotation); the phone system is back at once."""

    async def close(self) -> None:  # noqa: B027 - files have nothing to stop
        """Stop the phone system."""

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[Runner]:
        """The source at work under the real runner, stopped at the end of the block."""
        runner = Runner(source=self.source(), config=self.config, intake=self.intake)
        work = asyncio.create_task(runner.run())
        try:
            yield runner
        finally:
            await runner.stop()
            await work

    async def say_until_acknowledged(self, record: bytes) -> None:
        """As a sender that sends again what was not acknowledged."""
        while await self.say(record) is False:  # noqa: ASYNC110 - the sender repeats, it does not wait for us
            await asyncio.sleep(0.01)


class SourceContract:
    """The suite."""

    async def test_it_opens_hears_and_closes_without_a_trace(self, subject: SourceUnderTest) -> None:
        async with subject.running():
            await subject.say_until_acknowledged(subject.record(0))
            await until(lambda: subject.intake.bodies == [subject.record(0)])
        await subject.close()
        subject.intake.close()
        await until(lambda: asyncio.all_tasks() == {asyncio.current_task()}, "a task was left behind")
        assert subject.intake.links == {}
        assert not subject.intake.mounted

    async def test_its_descriptors_are_closed(self, subject: SourceUnderTest) -> None:
        async with subject.running():
            await subject.say_until_acknowledged(subject.record(0))
        before = _descriptors()
        for number in range(1, 4):
            async with subject.running():
                await subject.say_until_acknowledged(subject.record(number))
                await subject.interrupt()
        await subject.interrupt()
        await until(lambda: _descriptors() <= before, "a descriptor was left open")

    async def test_what_it_hears_is_durable_once_and_as_it_came(self, subject: SourceUnderTest) -> None:
        expected = [subject.record(number) for number in range(RECORDS)]
        async with subject.running():
            for record in expected:
                await subject.say_until_acknowledged(record)
            await until(lambda: len(subject.intake.bodies) >= RECORDS)
        assert Counter(subject.intake.bodies) == Counter(expected)
        assert len({accepted.content_type for accepted in subject.intake.accepted}) == 1

    async def test_a_source_with_a_connection_says_when_it_is_blind(self, subject: SourceUnderTest) -> None:
        async with subject.running():
            await subject.say_until_acknowledged(subject.record(0))
            await until(lambda: subject.intake.bodies)
            if subject.linked:  # at the latest when what was there has been read
                await until(lambda: subject.intake.links)
            assert bool(subject.intake.links) == subject.linked
        states = [said["state"] for said in subject.intake.inferences if said["infers"] == "coverage"]
        assert states[0] == ("blind" if subject.linked else "idle")
        assert ("connected" in states) == subject.linked
        assert states[-1] == "blind"

    async def test_nothing_is_lost_through_a_reconnect(self, subject: SourceUnderTest) -> None:
        expected = [subject.record(number) for number in range(RECORDS)]
        async with subject.running():
            for number, record in enumerate(expected):
                await subject.say_until_acknowledged(record)
                if number % 5 == 4:
                    await until(lambda: record in subject.intake.bodies)  # noqa: B023 - awaited within the turn
                    await subject.interrupt()
            await until(lambda: set(subject.intake.bodies) >= set(expected))
        assert Counter(subject.intake.bodies) == Counter(expected)

    async def test_nothing_is_lost_through_a_restart(self, subject: SourceUnderTest) -> None:
        expected = [subject.record(number) for number in range(RECORDS)]
        for start in range(0, RECORDS, 5):
            async with subject.running():
                for record in expected[start : start + 5]:
                    await subject.say_until_acknowledged(record)
                await until(lambda: len(subject.intake.bodies) >= start + 5)  # noqa: B023 - awaited within the turn
        assert Counter(subject.intake.bodies) == Counter(expected)

    async def test_back_pressure_resumes(self, subject: SourceUnderTest) -> None:
        expected = [subject.record(number) for number in range(RECORDS)]
        async with subject.running():
            subject.intake.full = True
            saying = asyncio.create_task(_say_all(subject, expected))
            await until(lambda: subject.intake.offered)
            assert subject.intake.bodies == []
            subject.intake.full = False
            await saying
            await until(lambda: set(subject.intake.bodies) >= set(expected))
        assert set(subject.intake.bodies) == set(expected)

    async def test_an_intake_that_refuses_loses_nothing(self, subject: SourceUnderTest) -> None:
        async with subject.running():
            subject.intake.refusing = True
            saying = asyncio.create_task(subject.say_until_acknowledged(subject.record(0)))
            await until(lambda: subject.intake.refused)
            assert subject.intake.bodies == []
            subject.intake.refusing = False
            await saying
            await until(lambda: subject.record(0) in subject.intake.bodies)

    async def test_nothing_is_acknowledged_before_it_is_durable(self, subject: SourceUnderTest) -> None:
        if not subject.acknowledged:
            pytest.skip("its protocol has no acknowledgement")
        async with subject.running():
            for number in range(5):
                record = subject.record(number)
                subject.intake.full = True
                saying = asyncio.create_task(subject.say(record))
                await until(lambda: subject.intake.offered)
                assert not saying.done() or saying.result() is False
                subject.intake.full = False
                if await saying:
                    assert record in subject.intake.bodies
            subject.intake.refusing = True
            assert await subject.say(subject.record(99)) is False

    async def test_garbage_survives(self, subject: SourceUnderTest) -> None:
        async with subject.running():
            await subject.say_until_acknowledged(subject.record(0))
            kept = await subject.say_garbage()
            await subject.say_until_acknowledged(subject.record(1))
            await until(lambda: len(subject.intake.bodies) >= kept + 2)
        assert {subject.record(0), subject.record(1)} <= set(subject.intake.bodies)
        assert len(subject.intake.bodies) == kept + 2

    async def test_every_split_of_a_record(self, subject: SourceUnderTest) -> None:
        if not subject.streamed:
            pytest.skip("its records are not cut from a stream")
        async with subject.running():
            wire = subject.wire(subject.record(0))
            for cut in range(1, len(wire)):
                pieces = subject.wire(subject.record(cut))
                await subject.say_pieces([pieces[:cut], pieces[cut:]])
            everything = [subject.record(number) for number in range(1, len(wire))]
            await until(lambda: len(subject.intake.bodies) >= len(everything))
        assert Counter(subject.intake.bodies) == Counter(everything)

    async def test_cancelled_anywhere(self, subject: SourceUnderTest) -> None:
        said: list[bytes] = []
        for turns in range(CANCELLATIONS):
            subject.intake.slow_seconds = 0.001 * (turns % 3)
            session = asyncio.create_task(subject.source().session(subject.intake))
            await asyncio.sleep(0)
            record = subject.record(turns)
            saying = asyncio.create_task(subject.say(record))
            for _ in range(turns):
                await asyncio.sleep(0)
            if subject.drains and not subject.acknowledged:
                await saying
            session.cancel()
            await asyncio.wait({session})
            assert session.cancelled() or session.exception() is not None
            if await _answer(saying) or (subject.drains and not subject.acknowledged):
                said.append(record)
            assert subject.intake.links == {}
            assert not subject.intake.mounted
        subject.intake.slow_seconds = 0.0
        async with subject.running():
            await subject.say_until_acknowledged(subject.record(CANCELLATIONS))
            await until(lambda: subject.record(CANCELLATIONS) in subject.intake.bodies)
            await until(lambda: set(said) <= set(subject.intake.bodies), "a record was lost by cancelling")


async def _say_all(subject: SourceUnderTest, records: Sequence[bytes]) -> None:
    for record in records:
        await subject.say_until_acknowledged(record)


async def _answer(saying: asyncio.Task[bool | None]) -> bool | None:
    """What the sender was told; None if the other end is gone."""
    with contextlib.suppress(asyncio.CancelledError, OSError):
        try:
            async with asyncio.timeout(0.2):
                return await saying
        except TimeoutError:
            return None
    return None


def _descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))
