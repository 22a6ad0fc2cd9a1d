"""The intake of one source: where messages become records, and records become durable.

It stamps what the source read (time of receipt, digest, revision of the decode settings) and appends it to the
journal in one group. Only when the journal's commit is on disk does `accept` return; then, and not earlier, a
source may answer its peer.
"""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta
from math import nan
from typing import Any, Protocol

import structlog

from cdrhub.errors import IntakeRefused
from cdrhub.journal import Journal, size_of
from cdrhub.listeners import Listeners
from cdrhub.metrics import Metrics
from cdrhub.model.call import Call
from cdrhub.model.inference import encode_inference
from cdrhub.model.record import INFERENCE, RawRecord, digest_of
from cdrhub.model.update import storable_json
from cdrhub.routes import Routes
from cdrhub.sources.base import HttpHandler
from cdrhub.throttle import Throttle
from cdrhub.turns import Turn

log = structlog.get_logger(__name__)

PEER_REFUSED = "peer_refused"  #: counted by sources; why no calls come is looked for in the log first
_COUNTED = re.compile("[a-z0-9_]{1,64}")  #: a label of a metric, each value of which is a series that stays
REFUSED_PAUSE_SECONDS = 0.05  #: at least, until what the journal refused is offered again


class OpenCalls(Protocol):
    """Where an intake learns which calls of a source have no end yet."""

    async def __call__(self, source: str, *, silent_for: timedelta) -> Sequence[Call]:
        """See `Intake.open_calls`."""


class SourceIntake:
    """The `Intake` (sources/base.py) of one source of this daemon."""

    def __init__(
        self,
        source: str,
        *,
        hub: str,
        revision: str,
        journal: Journal,
        metrics: Metrics,
        listeners: Listeners,
        routes: Routes,
        open_calls: OpenCalls,
    ) -> None:
        self._source = source
        self._throttle = Throttle()
        self._hub = hub
        self._revision = revision
        self._journal = journal
        self._metrics = metrics
        self._listeners = listeners
        self._routes = routes
        self._open_calls = open_calls
        self._links: set[str] = set()
        self.last_record_at: datetime | None = None
        metrics.expect_source(source)
        self._received = metrics.received.labels(source)
        self._acknowledged = metrics.acknowledged.labels(source)
        self._refused = metrics.refused.labels(source)
        self._last = metrics.last_record.labels(source)
        metrics.silence.labels(source).set_function(self._silence)

    def _silence(self) -> float:
        """Seconds since the last record; NaN before the first one."""
        return max((datetime.now(UTC) - self.last_record_at).total_seconds(), 0.0) if self.last_record_at else nan

    @property
    def source(self) -> str:
        """The source's name in the configuration."""
        return self._source

    async def accept(
        self,
        bodies: Sequence[bytes],
        *,
        content_type: str,
        attributes: Mapping[str, Any] | None = None,
        event_ids: Sequence[str | None] | None = None,
        position: tuple[str, str] | None = None,
        within: float | None = None,
    ) -> None:
        """Make messages durable, in order, in one group (see `Intake.accept`); what is more than the journal takes at
        once goes in several, the position with the last one.

        Raises IntakeRefused when `within` seconds were not enough or the journal cannot take them now; JournalError
        when it never will, for one message is over its limit, or it is closed; TypeError or ValueError for what no
        record can be made of: found later, by the writer, it would end the daemon at each start.
        """
        _demand_records(bodies, content_type=content_type, attributes=attributes, event_ids=event_ids)
        now = datetime.now(UTC)
        shared = storable_json(attributes, set()) if attributes else {}  # a path may hold bytes that are no text
        records: list[RawRecord] = []
        turn = Turn()
        for number, body in enumerate(bodies):
            records.append(
                RawRecord(
                    source=self._source,
                    received_at=now,
                    content_type=content_type,
                    body=body,
                    digest=digest_of(body),
                    config_revision=self._revision,
                    event_id=event_ids[number] if event_ids is not None else None,
                    attributes=shared,
                )
            )
            await turn.give_way()
        where = (self._source, *position) if position is not None else None
        self._received.inc(len(records))
        try:
            async with asyncio.timeout(within):
                for part, is_last in _parts(records, max_bytes=self._journal.append_max_bytes):
                    its_position = where if is_last else None
                    if within is None:
                        await self._append_patiently(part, its_position)
                    else:
                        await self._journal.append(part, position=its_position)
        except TimeoutError as error:
            self._refused.inc(len(records))
            raise IntakeRefused(f"not durable within {within} s") from error
        except IntakeRefused:
            self._refused.inc(len(records))
            raise
        self._acknowledged.inc(len(records))
        if records:
            self.last_record_at = now
            self._last.set(now.timestamp())

    async def _append_patiently(self, records: Sequence[RawRecord], position: tuple[str, str, str] | None) -> None:
        while True:
            try:
                await self._journal.append(records, position=position)
            except IntakeRefused:
                await asyncio.sleep(REFUSED_PAUSE_SECONDS)  # whatever the refusal was, the loop must turn
                await self._journal.room()
            else:
                return

    async def infer(self, inference: Mapping[str, Any]) -> None:
        """Journal what the source concludes, or the hub about it; uses the journal's reserve. Coverage gets the name of
        this hub, whose view it is."""
        if inference.get("infers") == "coverage":
            inference = {**inference, "hub": self._hub}
        record = inferred(inference, source=self._source, revision=self._revision)
        await self._journal.append([record], reserved=True)

    async def open_calls(self, *, silent_for: timedelta = timedelta(0)) -> Sequence[Call]:
        """The calls without an end to which this source's records belong. Raises StoreUnavailable."""
        return await self._open_calls(self._source, silent_for=silent_for)

    def position(self, key: str) -> str | None:
        """The value last remembered under `key`."""
        return self._journal.position(self._source, key)

    async def forget(self, keys: Sequence[str]) -> None:
        """Forget what is remembered under these keys. Raises IntakeRefused."""
        await self._journal.forget_positions(self._source, keys)

    def link_up(self, link: str, detail: str = "") -> None:  # noqa: ARG002 - the detail is the ledger's
        """A connection to the phone system exists."""
        self._links.add(link)
        self._metrics.links.labels(self._source).set(len(self._links))

    def link_down(self, link: str, detail: str = "") -> None:  # noqa: ARG002 - the detail is the ledger's
        """That connection is gone."""
        self._links.discard(link)
        self._metrics.links.labels(self._source).set(len(self._links))

    def caught_up(self, detail: str) -> None:
        """What nobody saw has been read, as the ledger is told by the runner."""

    def standing_by(self, detail: str) -> None:
        """Another hub reads what this one would, as the runner is told."""

    async def listen(self, address: str) -> socket.socket:
        """A listening socket for `host:port`, kept open across a reload."""
        return self._listeners.socket(address)

    def mount(self, path: str, handler: HttpHandler) -> AbstractContextManager[None]:
        """Serve `handler` at `path` of the hub's HTTP server while the context is open."""
        return self._routes.mount(path, handler)

    def count(self, what: str, amount: int = 1) -> None:
        """Add to `cdrhub_source_events_total`."""
        if _COUNTED.fullmatch(what) is None:
            raise ValueError(f"what is counted is a constant such as 'peer_refused', not {what[:60]!r}")
        self._metrics.source_events.labels(self._source, what).inc(amount)
        if what == PEER_REFUSED and self._throttle.allows(what):
            log.warning("an address that is not in `allow` was refused", action=PEER_REFUSED, source=self._source)


def _demand_records(
    bodies: Sequence[bytes],
    *,
    content_type: str,
    attributes: Mapping[str, Any] | None,
    event_ids: Sequence[str | None] | None,
) -> None:
    if not isinstance(bodies, Sequence) or not all(type(body) is bytes for body in bodies):
        raise TypeError("`bodies` is a sequence of bytes")
    if not isinstance(content_type, str):
        raise TypeError(f"`content_type` is a str, not {type(content_type).__name__}")
    if not isinstance(attributes, Mapping | None):
        raise TypeError(f"`attributes` are a mapping, not {type(attributes).__name__}")
    if event_ids is not None and len(event_ids) != len(bodies):
        raise ValueError(f"there are {len(event_ids)} event ids for {len(bodies)} bodies")


def inferred(inference: Mapping[str, Any], *, source: str, revision: str) -> RawRecord:
    """What the hub concludes of a source, as a record of now."""
    body = encode_inference(inference)
    return RawRecord(
        source=source,
        received_at=datetime.now(UTC),
        content_type=INFERENCE,
        body=body,
        digest=digest_of(body),
        config_revision=revision,
    )


def _parts(records: Sequence[RawRecord], *, max_bytes: int) -> Iterator[tuple[Sequence[RawRecord], bool]]:
    """The records in order, in parts of at most `max_bytes` (but at least one record), each with whether it is the
    last."""
    if size_of(records) <= max_bytes:
        yield records, True
        return
    start, size = 0, 0
    for at, record in enumerate(records):
        its_size = size_of((record,))
        if size + its_size > max_bytes and at > start:
            yield records[start:at], False
            start, size = at, 0
        size += its_size
    yield records[start:], True
