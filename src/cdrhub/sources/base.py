"""The interfaces between the hub and its phone systems: System, Source, Intake, DeliveryContract.

A *system* (`3cx`, `voicenter`, …) is what a package registers in the entry-point group `cdrhub.sources`: its
configuration model, its pure decoder, its delivery contract and a factory of sources. A *source* is one configured
phone system. It knows one connection's life and holds no loop: `session` connects, reads, hands over, returns or
raises. The runner (`runner.py`) owns reconnecting, back-off, coverage, metrics and stopping, for all of them.

Our own systems use these interfaces as third-party ones do.
"""

from __future__ import annotations

import builtins
import re
import socket
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import timedelta
from difflib import get_close_matches
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Protocol, Self, TypeAlias, runtime_checkable
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from phonenumbers import SUPPORTED_REGIONS
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema, model_validator

from cdrhub.addresses import Network, read_network
from cdrhub.errors import DecodeError, Reason
from cdrhub.model.call import Call
from cdrhub.model.numbers import NumberPlan, inside_number
from cdrhub.model.record import RawRecord, digest_of
from cdrhub.model.update import Decoded
from cdrhub.os_errors import is_exhausted
from cdrhub.sources.spans import Duration, Hours

if TYPE_CHECKING:  # commands read settings, and serve nobody
    from aiohttp import web

Decoder = Callable[[RawRecord], Decoded]
"""Pure: no I/O, no clock. Returns a CallUpdate, an AgentState or Ignored, or raises DecodeError; anything else it
raises is a bug and suspends that one record as `decoder_bug`. It may be called in several threads at once: a large
record is decoded beside the event loop."""

_REGION = r"^[A-Z]{2}$"
_INGEST_PATH = r"^/ingest/[A-Za-z0-9._~/-]+$"
_MEANT = {"UK": "GB", "EN": "GB"}  #: what people write for a country whose code is another


def _known_region(region: str) -> str:
    if region in SUPPORTED_REGIONS:
        return region
    near = _MEANT.get(region.upper(), region.upper())
    hint = f"did you mean {near!r}?" if near in SUPPORTED_REGIONS else "write a two-letter country such as 'NG'"
    raise ValueError(f"{region[:20]!r} is not a country: {hint}")


def _a_regular_expression(text: str) -> str:
    try:
        re.compile(text)
    except re.error as error:
        raise ValueError(rf"is not a regular expression ({error}): write e.g. '^\d{{2,6}}$'") from error
    return text


def _known_zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        if is_exhausted(error):
            raise
        near = get_close_matches(name, sorted(available_timezones()), n=1, cutoff=0.5)
        hint = f"did you mean {near[0]!r}?" if near else "write an IANA name such as 'Africa/Lagos'"
        raise ValueError(f"there is no zone {name[:60]!r}: {hint}") from error
    return name


def an_ingest_path(path: str) -> str:
    """`path` itself, which can be one of the hub's HTTP server; ValueError says what is wrong with any other."""
    if not path.startswith("/ingest/"):
        raise ValueError("must begin with /ingest/")
    if not re.fullmatch(_INGEST_PATH, path):
        raise ValueError("goes on after /ingest/ with letters, digits and the characters . _ ~ / - only")
    if {".", ".."} & set(path.split("/")):  # which clients take out before they send (RFC 3986, 5.2.4)
        raise ValueError("has a part that is . or .., with which nothing can be sent to it")
    return path


Region = Annotated[str, AfterValidator(_known_region), WithJsonSchema({"type": "string", "pattern": _REGION})]
"""A field that is a country of libphonenumber: ISO 3166-1 alpha-2, in capitals."""

Networks = tuple[Annotated[Network, BeforeValidator(read_network), WithJsonSchema({"type": "string"})], ...]
"""A field of networks, or single addresses, of either version of IP."""

TimeZone = Annotated[str, AfterValidator(_known_zone)]
"""A field that is a time zone by its IANA name."""

IngestPath = Annotated[str, AfterValidator(an_ingest_path), WithJsonSchema({"type": "string", "pattern": _INGEST_PATH})]
"""A field that is a path of the hub's HTTP server; it holds a secret, so no message shows it."""

HttpHandler: TypeAlias = "Callable[[web.Request], Awaitable[web.StreamResponse]]"
"""Answers a request below /ingest/. It reads the body itself, `request.client_max_size` (`http.max_body`) at most."""

TOO_LONG = "too_long"
"""Record attribute, true for the kept beginning of a message over a limit."""

DAMAGED = "damaged"
"""Record attribute of a body that could not be unpacked to its end: true or, where nobody here unpacks its
`Content-Encoding`, the name of that."""


def refuse_partial(record: RawRecord) -> None:
    """Raise DecodeError for a record of which only a part was kept, unless somebody has repaired it. It is called
    before every decoder, so that decoders need not check."""
    marks = record.attributes
    if (marks.get(TOO_LONG) or marks.get(DAMAGED)) and digest_of(record.body) == record.digest:
        kept = f"its first {len(record.body)} bytes are kept"
        if marks.get(TOO_LONG):
            raise DecodeError(Reason.TOO_LONG, f"the message is longer than is taken; {kept}")
        if isinstance(packed_as := marks[DAMAGED], str):
            raise DecodeError(Reason.UNPARSABLE, f"the body is packed as {packed_as!r}, which is not unpacked; {kept}")
        raise DecodeError(Reason.UNPARSABLE, f"the body cannot be unpacked to its end; {kept}")


@dataclass(frozen=True, kw_only=True, slots=True)
class DeliveryContract:
    """What a source promises, and what is lost when: printed by `cdrhub check --online` and in the docs."""

    acknowledged: bool  #: the sender learns whether the record is durable
    resent: bool  #: the sender sends again what was not acknowledged
    speaks: Literal["live", "at_end"]  #: whether calls are seen while they live, or only when they ended
    lost: str  #: one sentence: what is lost when, and how it is noticed


class DirectoryEntry(BaseModel):
    """One line of a source's directory file: what an inside number is."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    number: Annotated[str, AfterValidator(inside_number)]
    kind: Literal["person", "queue", "ivr", "voicemail", "conference"]
    name: str = ""
    team: str = ""
    agent: str = ""


class DecodeSettings(BaseModel):
    """What a decoder needs to know. Settings are kept for ever under their revision, because a record is always decoded
    with the settings under which it came. Systems extend this model; transport keys do not belong in it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    region: Region | None = Field(None, description="ISO 3166-1 country of numbers without a country code, e.g. `NG`.")
    strip_prefixes: tuple[str, ...] = Field(
        (), description="Outside-line digits to take off before a number is read, e.g. `['9']`."
    )
    extensions: Annotated[str, AfterValidator(_a_regular_expression)] = Field(
        r"^\d{2,6}$", description="Regular expression of inside numbers."
    )
    entries: tuple[DirectoryEntry, ...] = Field((), description="The directory file's lines; filled by the hub.")

    def number_plan(self) -> NumberPlan:
        """How numbers of this source read."""
        return NumberPlan(region=self.region, strip_prefixes=self.strip_prefixes, extensions=self.extensions)


class SourceConfig(BaseModel):
    """The keys that every `[sources.<name>]` table has. A system's own model extends it and its DecodeSettings:

    class ThreeCXConfig(ThreeCXSettings, SourceConfig): ...
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    settings_model: ClassVar[builtins.type[DecodeSettings]] = DecodeSettings

    type: str = Field(description="The phone system.")
    tenant: str = Field("", max_length=64, description="The tenant that this source's calls belong to.")
    into: str | None = Field(
        None, description="Name of another source: records of this one belong to the calls of that one."
    )
    dialler: str | None = Field(
        None, description="Name of the table `[redial.diallers.<name>]` that dials for this phone system."
    )
    directory: str | None = Field(
        None, description="CSV file `number,kind,name,team,agent` that says what inside numbers are."
    )
    quiet_after: Duration | None = Field(
        None, description='Silence after which `source.quiet` is raised, e.g. `"15m"`, within `hours`.'
    )
    hours: Hours | None = Field(
        None,
        description='When silence is unusual, e.g. `"mon-fri 08:00-18:00"`, in the zone of the source (`timezone`, '
        "`epoch_timezone`; UTC where it has none).",
    )
    settle_seconds: float = Field(
        3.0,
        ge=0,
        le=86_400,
        description="Seconds to wait after a call's last record before anything is decided about the call.",
    )

    @model_validator(mode="after")
    def _zone_is_one(self) -> Self:
        if isinstance(zone := getattr(self, "timezone", None), str) and zone:  # none is UTC
            _known_zone(zone)
        return self

    @property
    def ingest_path(self) -> str | None:
        """The path below `/ingest/` to which records are pushed, or None: the key `path` if it has that form, unless a
        system overrides this. No two sources may have the same one, and beyond loopback it must hold a secret."""
        path = getattr(self, "path", None)
        return path if isinstance(path, str) and path.startswith("/ingest/") else None

    @property
    def hours_zone(self) -> str:
        """The IANA zone of the source, in which `hours` are read: the key `timezone`, unless a system overrides this;
        UTC without one."""
        return getattr(self, "timezone", None) or "UTC"

    def listen_addresses(self) -> tuple[str, ...]:
        """The `host:port` that this source listens on: the key `listen`, unless a system overrides this. They are
        bound before anything else starts and kept over a reload."""
        listen = getattr(self, "listen", None)
        return (listen,) if isinstance(listen, str) else ()

    def reads(self) -> Sequence[tuple[str, str]]:
        """What this source fetches its records from, as (key of the table, value): no other source of its type may read
        the same, or every call would be there twice. Nothing, unless a system overrides this."""
        return ()

    def cautions(self) -> tuple[str, ...]:
        """What this table allows and is probably not wanted: `cdrhub check` and the log at a start say so. Constant
        words, without values."""
        return ()

    def decode_settings(self, entries: Sequence[DirectoryEntry] = ()) -> DecodeSettings:
        """The decode-relevant part, with the directory's lines."""
        model = builtins.type(self).settings_model
        names = model.model_fields.keys() - {"entries"}
        chosen = {name: getattr(self, name) for name in names}
        return model(**chosen, entries=tuple(entries))


class Intake(Protocol):
    """Where a session hands over what it read, and what else of the hub it may use."""

    @property
    def source(self) -> str:
        """The source's name in the configuration."""

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
        """Make messages durable, in order, in one group; returns when they are on disk.

        `attributes` apply to all of them (`peer`, `path`, and `live=False` for catch-up: files, imports, recovered
        lists). `position` is (key, value) to remember in the same transaction, e.g. a file offset. Without
        `within` (seconds) it waits as long as the journal is full or slow: that is back-pressure. With one it
        raises IntakeRefused when the bytes are not durable in time; they may still become so, which the digest
        absorbs.
        """

    async def infer(self, inference: Mapping[str, Any]) -> None:
        """Journal what the source concludes (coverage of missing records, …); see model/inference.py."""

    async def open_calls(self, *, silent_for: timedelta = timedelta(0)) -> Sequence[Call]:
        """The open calls of this source, or of the source that `into` names, as they stand in the database (what still
        waits in the journal is not in them); only calls whose last record came at least `silent_for` ago. Raises
        StoreUnavailable."""

    def position(self, key: str) -> str | None:
        """The value last remembered under `key` by `accept(position=…)`."""

    async def forget(self, keys: Sequence[str]) -> None:
        """Forget, durably, what is remembered under these keys, some hundred at most. Raises IntakeRefused."""

    def link_up(self, link: str, detail: str = "") -> None:
        """A connection (`link` is its name, e.g. the peer's address) to the phone system exists: not blind."""

    def link_down(self, link: str, detail: str = "") -> None:
        """That connection is gone; with the last one the source is blind (push sources: idle)."""

    def caught_up(self, detail: str) -> None:
        """All that the phone system wrote while nobody was connected has been read: the coverage notes that time as
        backfilled."""

    def standing_by(self, detail: str) -> None:
        """The phone system answers, and another hub reads it: nothing is wrong, although nothing is seen here."""

    async def listen(self, address: str) -> socket.socket:
        """A bound, non-blocking, listening TCP socket for `host:port`, kept open across a reload."""

    def mount(self, path: str, handler: HttpHandler) -> AbstractContextManager[None]:
        """Serve `handler` at `path` (below /ingest/) of the hub's HTTP server while the context is open. Bodies reach
        it packed as they came (`Content-Encoding`); `receive` of transports/request_body.py unpacks them."""

    def count(self, what: str, amount: int = 1) -> None:
        """Add to the metric `cdrhub_source_events_total{source,what}`: dropped probes, refused peers, … `what` is a
        constant of small letters, digits and underscores, 64 at most; ValueError for any other."""


class Source(Protocol):
    """One configured phone system. Built anew on every reload in which its table changed."""

    async def session(self, intake: Intake) -> None:
        """One connection's life: connect, read, hand over, until the peer ends it.

        Returns or raises NotConnected when the link is down (the runner comes back after a back-off with jitter),
        EndOfInput when there is nothing more to come, BackOff when the phone system refused us. Cancellation stops
        it: what was accepted stays accepted, sockets are closed. A listening source's session lasts as long as it
        listens.
        """


@runtime_checkable
class Probed(Protocol):
    """A source that `cdrhub check --online` can try, without taking anything from its phone system."""

    async def probe(self) -> str:
        """What was reached, in one line without secrets or numbers of people. Raises a SourceSignal that says why
        it was not."""


class System(Protocol):
    """What an entry point of the group `cdrhub.sources` names."""

    @property
    def name(self) -> str:
        """The word in `type = "…"` and in the column `system`."""

    @property
    def decoder_revision(self) -> int:
        """Rises when the decoder gives another call for the same record: old calls then differ until a replay."""

    @property
    def config_model(self) -> type[SourceConfig]:
        """The model of a source's table; its fields' descriptions are the documentation."""

    def delivery(self, config: SourceConfig) -> DeliveryContract:
        """The promise under this configuration."""

    def decoder(self, settings: DecodeSettings) -> Decoder:
        """The pure decoder for these settings."""

    def source(self, config: SourceConfig) -> Source:
        """The source of this configuration."""

    def conclude(self, config: SourceConfig, call: Call, *, silent_for: timedelta) -> Mapping[str, Any] | None:
        """What the hub may conclude of an open call whose last record arrived `silent_for` ago: an inference made by
        `call_inference` (model/inference.py), which depends on the call alone; or None."""

    def split(self, data: bytes, *, final: bool) -> tuple[Sequence[bytes], bytes]:
        """Messages in a file's bytes (`cdrhub import`) and the rest that is not complete; `final` at the end."""
