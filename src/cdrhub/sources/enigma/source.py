"""The Enigma source: one session is one connection to Redis, with a worker for each list."""

from __future__ import annotations

import asyncio
import secrets
import socket
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

from redis.asyncio import Redis

from cdrhub.errors import BackOff, IntakeRefused
from cdrhub.sources.base import Intake
from cdrhub.sources.enigma.config import EnigmaConfig
from cdrhub.sources.enigma.decode import MAX_BODY_BYTES, QUEUE_CALLS
from cdrhub.sources.enigma.unread import unread, watch
from cdrhub.sources.enigma.worker import CONTENT_TYPE, HOLDER_KEY, ListWorker, Sight
from cdrhub.sources.transports.redis_client import REFUSED_SECONDS, connected
from cdrhub.sources.transports.redis_list import Drained, Lease
from cdrhub.sources.transports.redis_look import look, try_plainly

HOLDER_RANDOM_BYTES: Final = 4
SESSION_RANDOM_BYTES: Final = 8
NOTE_SECONDS: Final = 1.0  #: that a full journal is waited for when this hub notes down that it held the list
PROBE_SECONDS: Final = 5.0


class EnigmaSource:
    """One dialler's Redis."""

    def __init__(self, config: EnigmaConfig) -> None:
        self._config = config
        host = socket.gethostname().replace(" ", "-")
        self._made = f"{host}#{secrets.token_hex(HOLDER_RANDOM_BYTES)}"

    async def session(self, intake: Intake) -> None:
        """Drain every list of this source (see `Source.session`)."""
        holder = intake.position(HOLDER_KEY) or await self._noted(intake)
        session, sight = secrets.token_hex(SESSION_RANDOM_BYTES), Sight()
        async with connected(self._config.redis.get_secret_value()) as client:
            workers = [
                asyncio.create_task(
                    self._worker(
                        drained, intake=intake, client=client, holder=holder, session=session, sight=sight
                    ).run(),
                    name=f"{intake.source} {drained.key}",
                )
                for drained in self._lists()
            ]
            others = watch(client, self._config.keys, intake=intake, seconds=PROBE_SECONDS)
            await _until_one_ends([*workers, asyncio.create_task(others, name=f"{intake.source} unread lists")])

    async def _noted(self, intake: Intake) -> str:
        """A new name as holder of leases, kept before it takes one: restarted after a crash, a daemon knows its own
        lease."""
        with suppress(IntakeRefused):  # then it is kept with the first CDRs
            await intake.accept([], content_type=CONTENT_TYPE, position=(HOLDER_KEY, self._made), within=NOTE_SECONDS)
        return self._made

    def _lists(self) -> list[Drained]:
        # One byte more than the decoder takes: so it says that the message was too long.
        return [
            Drained(key=key, side=self._config.side, longest=MAX_BODY_BYTES + 1, foreign=QUEUE_CALLS)
            for key in self._config.keys
        ]

    def _worker(
        self, drained: Drained, *, intake: Intake, client: Redis, holder: str, session: str, sight: Sight
    ) -> ListWorker:
        return ListWorker(
            intake=intake,
            client=client,
            drained=drained,
            lease=Lease(key=drained.lease, holder=holder, session=session, seconds=self._config.lease_seconds),
            reliable=self._config.reliable,
            sight=sight,
        )

    async def probe(self) -> str:
        """Look at the lists without touching them (see `Probed`)."""
        said = []
        async with connected(self._config.redis.get_secret_value()) as client:
            for drained in self._lists():
                found = await look(client, drained, seconds=PROBE_SECONDS)
                if not found.scripts and self._config.reliable == "always":
                    raise BackOff(REFUSED_SECONDS, "this Redis runs no scripts, which reliable = 'always' needs")
                if not found.scripts or self._config.reliable == "never":
                    await try_plainly(client, drained, seconds=PROBE_SECONDS)
                waiting = f"{found.entries} waiting" + (
                    f", {found.processing} in processing" if found.processing else ""
                )
                said.append(
                    f"{drained.key}: {waiting}, {f'read by {found.holder}' if found.holder else 'read by nobody'}"
                )
            unseen = await unread(client, self._config.keys, seconds=PROBE_SECONDS)
            said += [f"{key}: {entries} waiting, which no hub reads: see `keys`" for key, entries in unseen.items()]
        if not found.scripts:
            said.append("it runs no scripts: CDRs are popped plainly")
        return "; ".join(said)


async def _until_one_ends(workers: Sequence[asyncio.Task[None]]) -> None:
    """Let the workers work until one fails, then stop the others, and raise what it raised: BackOff, which says what a
    person must repair, before anything else. Cancelled a second time it cancels the workers a second time."""
    try:
        await asyncio.wait(workers, return_when=asyncio.FIRST_EXCEPTION)
    finally:
        errors = await _stopped(workers)
    raise min(errors, key=lambda error: not isinstance(error, BackOff))


async def _stopped(workers: Sequence[asyncio.Task[None]]) -> list[BaseException]:
    """Cancel the workers, wait for them, and return what they raised."""
    for worker in workers:
        worker.cancel()
    try:
        await asyncio.wait(workers)
    except asyncio.CancelledError:
        for worker in workers:
            worker.cancel()
        await asyncio.wait(workers)
        raise
    finally:
        errors = [error for worker in workers if not worker.cancelled() and (error := worker.exception()) is not None]
    return errors
