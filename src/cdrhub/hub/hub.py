"""The hub: one process's sources, journal, pipeline and store, and how they start, change and stop.

The order of stopping is the order of a record's way: first the sources stop taking, then what was taken goes through
the journal into the database, then the journal closes. A hub that is stopped while the database is away keeps its
records in the journal; the next start goes on with them.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Self

import structlog

from cdrhub import __version__
from cdrhub.broadcast.service import Broadcast
from cdrhub.config import Config
from cdrhub.errors import CdrhubError, IntakeRefused, ReloadFailed, StoreUnavailable
from cdrhub.hub.clock import Clocks
from cdrhub.hub.decoders import Decoders, DecodingWaits, UnknownRevision
from cdrhub.hub.intake import inferred
from cdrhub.hub.losses import Losses
from cdrhub.hub.ownership import Ownership, Ownerships
from cdrhub.hub.phone_systems import PhoneSystemsOfHub
from cdrhub.hub.pipeline import DATABASE_BACK, Pipeline, say_away, waiting_for
from cdrhub.hub.reloading import addresses, changed, changed_tables, refuse_fixed
from cdrhub.hub.retaining import Retaining
from cdrhub.hub.sources_at_work import SourcesAtWork, built
from cdrhub.hub.sweeper import Sweeper
from cdrhub.journal import SUSPECT_STARTS, Journal
from cdrhub.listeners import Listeners
from cdrhub.metrics import Metrics
from cdrhub.model.call import Call
from cdrhub.model.inference import Coverage, coverage_inference
from cdrhub.model.numbers import load_numbering_plans
from cdrhub.redial.dialler_handle import DiallerHandle, dialler_handles
from cdrhub.redial.orders import Orders
from cdrhub.redial.service import Redial
from cdrhub.routes import Routes
from cdrhub.sources.base import Source
from cdrhub.store import Store
from cdrhub.store.batch import Written
from cdrhub.store.hub_clock import HubClock
from cdrhub.store.open_calls import open_calls
from cdrhub.throttle import Throttle

log = structlog.get_logger(__name__)

PREPARE_RETRY_SECONDS = 2.0
PREPARE_PATIENCE_SECONDS = 5.0  #: that a start waits for a slow database before it takes records without it
SUSPECT_PATIENCE_SECONDS = 5.0  #: that sources wait for a record that may have killed the daemon before
RETENTION_AFTER_SECONDS = 300.0  #: of the start, so that a hub that is restarted each hour has retention, too
RETENTION_EVERY_SECONDS = 3600.0
SWEEP_EVERY_SECONDS = 10.0
WATCH_EVERY_SECONDS = 1.0
BROADCAST_STOP_SECONDS = 6.0  #: for requests to webhooks that are under way
HOLDER_KEY = "lease_holder"
HOLDER_RANDOM_BYTES = 4


class Hub:
    """Everything of one process but its HTTP server and its signals."""

    def __init__(
        self,
        config: Config,
        *,
        journal: Journal,
        store: Store,
        listeners: Listeners,
        decoders: Decoders,
        handles: Mapping[str, DiallerHandle],
        holder: str,
        sweep_seconds: float,
    ) -> None:
        self.config = config
        self._sweep_seconds = sweep_seconds
        self.metrics = Metrics()
        self.routes = Routes()
        self._journal = journal
        self._store = store
        self._listeners = listeners
        self._decoders = decoders
        self._sources = SourcesAtWork(
            journal=journal,
            metrics=self.metrics,
            listeners=listeners,
            routes=self.routes,
            open_calls=self._open_calls,
        )
        self._clocks = Clocks()
        self._clocks.watch(_revisions(config))
        self._hub_clock = HubClock(store.database)
        self._sweeper = Sweeper(
            store=store, journal=journal, sources=self._sources, expected=lambda: self.config.sources
        )
        self._tasks: list[asyncio.Task[None]] = []
        self._preparing: asyncio.Task[None] | None = None
        self._prepared = False
        self._away: StoreUnavailable | None = None  #: what preparing the database met
        self._began = datetime.now(UTC)
        self._losses = Losses(journal=journal, store=store, hub=config.hub.name, conclude=self._conclude)
        self._retaining = Retaining(
            store=store, journal=journal, limits=lambda: self.config.retention, began=self._began
        )
        self._ownerships = Ownerships(journal)
        self._changing = asyncio.Lock()
        self._throttle = Throttle()
        self._show_journal()
        self.broadcast = Broadcast(
            database=store.database,
            metrics=self.metrics,
            holder=holder,
            endpoints=config.broadcast.endpoints(),
        )
        self.redial = Redial(
            database=store.database,
            systems=PhoneSystemsOfHub(
                config=lambda: self.config, sees=self._sources.sees, clock_suspect=self._clocks.suspect
            ),
            metrics=self.metrics,
            settings=config.redial.settings(),
            handles=handles,
            depth=lambda: journal.stats.depth,
            oldest=lambda: journal.stats.oldest_received_at,
            told=self.broadcast.wake,
        )
        self._pipeline = Pipeline(
            journal=journal,
            store=store,
            decoders=decoders,
            ownership=self._ownership,
            metrics=self.metrics,
            observer=self._clocks.observe,
            lanes=store.database.lanes,
            batch_records=config.database.batch_records,
            wrote=self._wrote,
        )

    # -- life ------------------------------------------------------------------------------------------------------

    @classmethod
    async def start(cls, config: Config, *, sweep_seconds: float = SWEEP_EVERY_SECONDS) -> Self:
        """A hub that takes records. Raises ConfigError, AddressUnavailable, JournalLocked or StoreError for what a
        person must repair first; a database that is merely away is waited for."""
        sources = built(config)
        handles = dialler_handles(config.redial.diallers)
        listeners = Listeners()
        async with contextlib.AsyncExitStack() as on_failure:
            on_failure.callback(listeners.close)
            listeners.expect(addresses(config))
            journal = await Journal.open(config.hub.data_dir, max_bytes=config.hub.journal_max_bytes)
            on_failure.push_async_callback(journal.close)
            load_numbering_plans()  # which would be read by the first record, with many descriptors open already
            decoders = Decoders()
            store = Store.open(
                config.database.url.get_secret_value(),
                redecode=decoders.decode,
                connections=config.database.connections,
            )
            on_failure.push_async_callback(store.close)
            decoders.learn_all(journal.revisions())
            hub = cls(
                config,
                journal=journal,
                store=store,
                listeners=listeners,
                decoders=decoders,
                handles=handles,
                holder=await _holder(journal, hub=config.hub.name),
                sweep_seconds=sweep_seconds,
            )
            on_failure.push_async_callback(hub._cancel_tasks)
            await hub._prepare_soon()
            on_failure.push_async_callback(hub.broadcast.stop, seconds=0.0)
            on_failure.push_async_callback(hub.redial.stop, seconds=0.0)
            await hub._begin(sources)
            on_failure.pop_all()
        return hub

    async def _begin(self, sources: Mapping[str, Source]) -> None:
        deaths = await self._journal.begin_run()
        await self._ownerships.keep(self.config)
        self._tasks = [
            asyncio.create_task(self._drive(suspect=deaths >= SUSPECT_STARTS), name="pipeline"),
            asyncio.create_task(self._retention(), name="retention"),
            asyncio.create_task(self._sweep(), name="sweep"),
            asyncio.create_task(self._watch(), name="watch"),
            asyncio.create_task(self._sources.failed(), name="sources"),
        ]
        for name in sources:
            await self._remember_revision(name, self.config)
        if deaths > SUSPECT_STARTS:
            await self._try_suspect()
        await self._sources.start(sources, self.config)

    async def _try_suspect(self) -> None:
        """Let the record that was marked when the last start died pass before others come: the shorter it stands
        marked, the less likely it is blamed for a death of another cause (journal, poison)."""
        tried = asyncio.create_task(self._pipeline.tried.wait())
        try:
            await asyncio.wait(
                {tried, *self._tasks}, timeout=SUSPECT_PATIENCE_SECONDS, return_when=asyncio.FIRST_COMPLETED
            )
        finally:
            tried.cancel()

    def say_started(self) -> None:
        """Log that everything works; called when the HTTP server listens."""
        log.info(
            "started",
            action="started",
            version=__version__,
            http=self.config.http.listen,
            database=self._store.database.explain_url(),
            sources=sorted(self._sources.names),
            records_in_journal=self._journal.stats.depth,
        )

    async def stop(self) -> None:
        """Stop taking, then bring into the database what was taken, within the configured time.

        If a part of the hub failed, nothing is drained and the journal does not note a clean end: should a record be
        the cause, the next starts will find it (journal, poison).
        """
        async with self._changing:
            failed = any(task.done() and not task.cancelled() for task in self._tasks)
            redial = asyncio.create_task(self.redial.stop(seconds=self.config.hub.shutdown_seconds))
            broadcast = asyncio.create_task(self.broadcast.stop(seconds=BROADCAST_STOP_SECONDS))
            self._listeners.close()  # who comes now is refused, and does not talk into a socket that nobody reads
            await self._sources.stop()
            self._listeners.close()  # what a session that was just beginning opened again
            if self._prepared and not failed:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(self.config.hub.shutdown_seconds):
                        await self._pipeline.drain()
                await self._losses.note()
            await redial
            await broadcast
            await self._cancel_tasks()
            left = self._journal.stats.depth
            await self._journal.close(clean=not failed)
            await self._store.close()
        log.info("stopped", action="stopped", left_in_journal=left)

    async def _cancel_tasks(self) -> None:
        tasks = [*self._tasks, *([self._preparing] if self._preparing is not None else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def failed(self) -> None:
        """Never returns; raises the error of the first part of the hub that fails."""
        done, _ = await asyncio.wait(self._tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()

    async def reload(self, config: Config) -> None:
        """Take over a new configuration, all of it or nothing: a CdrhubError leaves everything as it was.

        Unchanged sources keep their connections. What cannot change in a running process is refused by name. Everything
        that may fail, such as the code of plug-ins, is done before anything changes.
        """
        async with self._changing:
            before = self.config
            try:
                refuse_fixed(before, config)
                stays = {name for name in self._sources.names if not changed(name, before, config)}
                gone = self._sources.names - stays
                new = {name: source for name, source in built(config).items() if name not in stays}
                handles = self.redial.handles(config.redial.diallers)
                settings, endpoints = config.redial.settings(), config.broadcast.endpoints()
                await self._make_ready(new, config)
            except CdrhubError:
                raise
            except Exception as error:
                raise ReloadFailed(f"{type(error).__name__}: {error}") from error
            self.config = config
            self._pipeline.forget_ownership()
            self._clocks.watch(_revisions(config))
            self._listeners.release_unused()  # as at a stop: before those that listen there are told
            await self._sources.exchange(new, before=before, config=config, stays=stays)
            self.redial.take_over(settings, handles)
            self.broadcast.take_over(endpoints)
        log.info(
            "reloaded",
            action="reloaded",
            changed=sorted(gone | new.keys()),
            tables=changed_tables(before, config),
            sources=sorted(self._sources.names),
        )
        if before.redial.mode != config.redial.mode:
            log.info("redial has another mode", action="redial_mode", mode=config.redial.mode)
        if before.http.tokens != config.http.tokens:
            log.info("tokens changed", action="tokens_changed", tokens=[token.name for token in config.http.tokens])

    async def _make_ready(self, sources: Collection[str], config: Config) -> None:
        """Bind the addresses of the configuration, and keep the decode settings of these sources. On an error the
        addresses are bound as before."""
        self._listeners.expect(addresses(config))
        try:
            for name in sources:
                await self._remember_revision(name, config)
            await self._ownerships.keep(config)
        except BaseException:
            self._listeners.expect(addresses(self.config))
            self._listeners.release_unused()
            raise

    # -- what the API uses ---------------------------------------------------------------------------------------

    @property
    def store(self) -> Store:
        """The door to the database."""
        return self._store

    def orders(self) -> Orders:
        """What people order of redial, under the settings of the moment."""
        return self.redial.orders()

    def ordered(self) -> None:
        """An order was committed that may have decided an attempt."""
        self.redial.ordered()

    # -- readiness -------------------------------------------------------------------------------------------------

    @property
    def taking(self) -> bool:
        """Whether records are accepted and kept durable. The database may be away."""
        return self._journal.accepting

    @property
    def problems(self) -> list[str]:
        """What a person should look at, in words without secrets or numbers of people."""
        problems = []
        if not self.taking:
            problems.append("the journal takes no records: it is full or its disk fails")
        if not self._journal.readable:
            problems.append("the journal cannot be read: records wait in it")
        if not self._prepared:
            problems.append(waiting_for(self._away))
        elif (waiting := self._pipeline.problem) is not None:
            problems.append(waiting)
        if damaged := self._journal.stats.damaged:
            problems.append(f"{damaged} records of the journal cannot be read: see journal_damaged in the log")
        if logs := self._journal.kept_logs:
            names = ", ".join([kept.name for kept in logs])
            problems.append(f"records may be missing, of a journal that was damaged: {names} in data_dir")
        if self._retaining.problem is not None:
            problems.append(self._retaining.problem)
        problems += self._hub_clock.problems + self._sources.problems + self._clocks.problems
        return problems + self.redial.problems + self.broadcast.problems

    def status(self) -> str:
        """One line for `systemctl status`."""
        return f"{len(self._sources.names)} sources, {self._journal.stats.depth} records in the journal"

    # -- sources ---------------------------------------------------------------------------------------------------

    async def _remember_revision(self, name: str, config: Config) -> None:
        """Keep a source's decode settings before any record comes under them. Raises IntakeRefused."""
        revision = config.revision_of(name)
        await self._journal.remember_revision(revision)
        self._decoders.learn(revision)

    def _wrote(self, written: Written) -> None:
        """A batch was committed: wake those who have something to do. Others stay asleep, for each look is a
        transaction."""
        self._losses.wrote(self._pipeline.landmark)
        if written.settled:
            self.redial.wake()
        if written.public:
            self.broadcast.wake_soon()

    def _ownership(self, source: str, system_name: str) -> Ownership:
        return self._ownerships.of(source, config=self.config, system_name=system_name)

    async def _open_calls(self, source: str, *, silent_for: timedelta) -> Sequence[Call]:
        """See `Intake.open_calls`."""
        if not self._prepared:
            raise StoreUnavailable("the database was not reached yet")
        config = self.config.sources.get(source)
        owner = config.into if config is not None and config.into else source
        silent_since = datetime.now(UTC) - silent_for
        return [found.call async for found in open_calls(self._store, silent_since=silent_since, source=owner)]

    # -- tasks -----------------------------------------------------------------------------------------------------

    async def _prepare(self) -> None:
        await self._store.prepare()
        self._decoders.learn_all(await self._store.revisions())
        self._prepared = True
        self.metrics.database_up.set(1)

    async def _prepare_soon(self) -> None:
        """Prepare the database; one that is away or slow is waited for by `_drive`, for records come meanwhile."""
        self._preparing = asyncio.create_task(self._prepare(), name="prepare")
        await asyncio.wait({self._preparing}, timeout=PREPARE_PATIENCE_SECONDS)
        if self._preparing.done():
            with contextlib.suppress(StoreUnavailable):
                self._preparing.result()

    async def _drive(self, *, suspect: bool) -> None:
        while not self._prepared:
            try:
                if self._preparing is not None and not self._preparing.done():
                    await self._preparing
                else:
                    await self._prepare()
            except StoreUnavailable as error:
                self._away = error
                if self._throttle.allows("database_away"):
                    say_away(error)
                await asyncio.sleep(PREPARE_RETRY_SECONDS)
        if self._throttle.over("database_away"):
            log.info(DATABASE_BACK, action="database_back")
        await self._losses.look_back(until=self._began)
        self.broadcast.begin()
        self.redial.begin(sighted=lambda: all(self._sources.sees(name) for name in self.config.sources))
        await self._pipeline.run(suspect=suspect)

    async def _conclude(self, coverage: Coverage) -> None:
        """Journal what none of the sources saw. Raises IntakeRefused."""
        config = self.config  # a reload may put another in its place meanwhile
        for name in config.sources:
            await self._remember_revision(name, config)
            record = inferred(coverage_inference(coverage), source=name, revision=config.revision(name))
            await self._journal.append([record], reserved=True)

    async def _retention(self) -> None:
        await asyncio.sleep(RETENTION_AFTER_SECONDS)
        while True:
            if self._prepared:
                await self._retaining.look(now=datetime.now(UTC))
            await asyncio.sleep(RETENTION_EVERY_SECONDS)

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(self._sweep_seconds)
            if not self._prepared:
                continue
            try:
                await self._store.join_unopened()
                await self._sweeper.sweep()
                await self._hub_clock.look()
            except UnknownRevision as error:  # another hub met it; the next look knows it
                await self._pipeline.learn_revisions(error.revision)
            except (StoreUnavailable, IntakeRefused, DecodingWaits) as error:
                if self._throttle.allows("sweep_waits"):
                    log.warning("conclusions wait", action="sweep_waits", error=str(error))

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(WATCH_EVERY_SECONDS)
            self._clocks.look()
            await self._losses.look()
            await self._losses.note()

    def _show_journal(self) -> None:
        """Let the journal's metrics be read from the journal, at the moment they are asked for."""

        def age() -> float:
            oldest = self._journal.stats.oldest_received_at
            return max((datetime.now(UTC) - oldest).total_seconds(), 0.0) if oldest else 0.0

        self.metrics.journal_depth.set_function(lambda: self._journal.stats.depth)
        self.metrics.journal_bytes.set_function(lambda: self._journal.stats.bytes)
        self.metrics.journal_commit.set_function(lambda: self._journal.stats.last_commit_seconds)
        self.metrics.journal_damaged.set_function(lambda: self._journal.stats.damaged)
        self.metrics.journal_age.set_function(age)


async def _holder(journal: Journal, *, hub: str) -> str:
    """The name of this hub in leases. The journal keeps it, and only one daemon can use a journal: so after a crash the
    leases of the process before are its own, and need not be waited for."""
    known = journal.position("", HOLDER_KEY)
    if known is None:
        known = f"{hub}#{secrets.token_hex(HOLDER_RANDOM_BYTES)}"
        with contextlib.suppress(IntakeRefused):  # a disk that fails: then this one is of this process only
            await journal.append([], position=("", HOLDER_KEY, known))
    return known


def _revisions(config: Config) -> list[tuple[str, str]]:
    """Each source with the revision of its decode settings."""
    return [(name, config.revision(name)) for name in config.sources]
