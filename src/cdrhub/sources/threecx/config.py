"""The TOML table of a 3CX source: how its lines read (ThreeCXSettings) and how they come (ThreeCXConfig).

Every message names the key and says what to do. A 3CX socket has neither TLS nor a password, so `allow` is the only
lock on the door: keep the port inside a VPN besides.
"""

from __future__ import annotations

import builtins
from collections.abc import Sequence
from typing import ClassVar, Literal

from pydantic import Field, field_validator, model_validator

from cdrhub.addresses import split_address
from cdrhub.sources.base import DecodeSettings, Networks, SourceConfig, TimeZone, an_ingest_path
from cdrhub.sources.threecx.layout import STANDARD_LAYOUTS, checked_names
from cdrhub.sources.transports.lines import DEFAULT_MAX_LINE

Mode = Literal["listen", "connect", "file", "directory", "http"]

SMALLEST_MAX_LINE = 1_024  #: bytes of one record; a real one has about 300
LARGEST_MAX_LINE = 1_048_576
SETTLE_SECONDS = 3.0  #: lines of one call come within a second of each other

#: Which keys a mode needs, and which it may have; any other transport key there is a mistake.
_NEEDED: dict[Mode, tuple[str, ...]] = {
    "listen": ("listen",),
    "connect": ("host", "port"),
    "file": ("path",),
    "directory": ("path",),
    "http": ("path",),
}
_ALLOWED: dict[Mode, tuple[str, ...]] = {
    "listen": ("allow",),
    "connect": (),
    "file": (),
    "directory": ("pattern",),
    "http": ("allow",),
}
_TRANSPORT_KEYS = ("listen", "allow", "host", "port", "path", "pattern")
_ASKS = {
    "listen": 'the address and port that the PBX connects to, e.g. listen = "0.0.0.0:5555"',
    "host": 'the address of the PBX, e.g. host = "10.0.0.5"',
    "port": "the port of its passive socket, e.g. port = 5555",
    "path": 'where the records are, e.g. path = "/var/lib/3cxpbx/Instance1/Data/Logs/CDRLogs/cdr.log"',
}
_ASKS_HTTP_PATH = 'where the forwarder posts, e.g. path = "/ingest/3cx/${THREECX_SECRET}"'


class ThreeCXSettings(DecodeSettings):
    """How the lines of one PBX read."""

    fields: tuple[str, ...] | None = Field(
        None,
        description="Names of the fields in the order chosen on the PBX (`historyid`, `callid`, `duration`, …). "
        "Without it the standard 27 and 20 fields are told apart by their count.",
    )
    timezone: TimeZone = Field(
        "UTC", description="IANA time zone in which the PBX writes its times; nearly always UTC."
    )

    @field_validator("fields")
    @classmethod
    def _known_fields(cls, names: tuple[str, ...] | None) -> tuple[str, ...] | None:
        return None if names is None else checked_names(names)

    def layouts(self) -> tuple[tuple[str, ...], ...]:
        """The layouts a line may have: the configured one, else the standard ones."""
        return (self.fields,) if self.fields is not None else tuple(STANDARD_LAYOUTS.values())


class ThreeCXConfig(ThreeCXSettings, SourceConfig):
    """One 3CX PBX. `mode` says how its records come; each mode has its own keys."""

    settings_model: ClassVar[builtins.type[DecodeSettings]] = ThreeCXSettings

    mode: Mode = Field(
        "listen",
        description="`listen`: the PBX is the active socket client and connects to us. `connect`: the PBX is the "
        "passive socket and we connect. `file`: follow its cdr.log. `directory`: take one file per call. `http`: a "
        "forwarder posts the lines.",
    )
    listen: str | None = Field(None, description="Mode listen: `host:port` to listen on, e.g. `0.0.0.0:5555`.")
    allow: Networks = Field(
        (),
        description="Modes listen and http: networks that may connect or post, e.g. `['10.0.0.0/8']`; empty: everyone "
        "who can.",
    )
    host: str | None = Field(None, min_length=1, max_length=255, description="Mode connect: the PBX.")
    port: int | None = Field(None, ge=1, le=65_535, description="Mode connect: the port of its passive socket.")
    path: str | None = Field(
        None,
        min_length=1,
        max_length=4_096,
        repr=False,
        description="Mode file: the log file. Mode directory: the folder. Mode http: the path below `/ingest/`, with "
        "a secret of 16 characters or more in it.",
    )
    pattern: str = Field("cdr-*.log", min_length=1, description="Mode directory: which files are records.")
    max_line: int = Field(
        DEFAULT_MAX_LINE,
        ge=SMALLEST_MAX_LINE,
        le=LARGEST_MAX_LINE,
        description="Bytes of one line; a longer one is kept in suspense, cut.",
    )
    settle_seconds: float = Field(
        SETTLE_SECONDS,
        ge=0,
        le=86_400,
        description="Seconds to wait after a call's last record before anything is decided about the call.",
    )

    @field_validator("listen")
    @classmethod
    def _an_address(cls, address: str | None) -> str | None:
        if address is not None:
            try:
                split_address(address)
            except ValueError as error:
                raise ValueError(f"`listen`: {error}") from error
        return address

    @model_validator(mode="after")
    def _keys_of_the_mode(self) -> ThreeCXConfig:
        for key in _NEEDED[self.mode]:
            if getattr(self, key) is None:
                asks = _ASKS_HTTP_PATH if (self.mode, key) == ("http", "path") else _ASKS[key]
                raise ValueError(f"`{key}` is missing: mode = {self.mode!r} needs {asks}")
        for key in self.model_fields_set.intersection(_TRANSPORT_KEYS):
            if key not in _NEEDED[self.mode] + _ALLOWED[self.mode]:
                modes = [mode for mode in _NEEDED if key in _NEEDED[mode] + _ALLOWED[mode]]
                raise ValueError(
                    f"`{key}` has no meaning with mode = {self.mode!r}: it belongs to mode "
                    f"{' or '.join(map(repr, modes))}; take it out or change `mode`"
                )
        if self.mode == "http":
            try:
                an_ingest_path(self.path or "")
            except ValueError as error:
                raise ValueError(f"`path`: {error}: {_ASKS_HTTP_PATH}") from error
        if self.mode == "directory" and "/" in self.pattern:
            raise ValueError("`pattern` is matched against file names in `path`: it cannot contain '/'")
        return self

    def reads(self) -> Sequence[tuple[str, str]]:
        """The passive socket, the log or the files of a folder."""
        match self.mode:
            case "connect":
                return (("host", f"{self.host}:{self.port}"),)
            case "file":
                return (("path", f"{self.path}"),)
            case "directory":
                return (("path", f"{self.path}/{self.pattern}"),)
            case _:
                return ()

    def cautions(self) -> tuple[str, ...]:
        """What cannot be known under this layout."""
        if self.fields is None or "historyid" in self.fields:
            return ()
        if "callid" in self.fields:
            return ("`fields` has no historyid: records that are lost are not noticed",)
        return (
            "`fields` has neither historyid nor callid: two equal calls cannot be told apart, and records that are "
            "lost are not noticed",
        )

    @property
    def ingest_path(self) -> str | None:
        """The path below `/ingest/` in mode http; elsewhere `path` is a file's."""
        return self.path if self.mode == "http" else None
