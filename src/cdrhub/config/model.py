"""The configuration: one frozen model for each table of the TOML file. Field descriptions are the documentation.

Secrets (tokens, the database's address) are `SecretStr`: no repr, log or error shows them. What is checked here
needs one table only; what several tables must agree on is in `agreement.py`.
"""

from __future__ import annotations

import socket
from collections.abc import Mapping
from enum import StrEnum
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, SecretStr, SerializeAsAny, field_validator
from pydantic import model_validator as check_table

from cdrhub.addresses import split_address
from cdrhub.config.broadcast import BroadcastConfig
from cdrhub.config.redial import RedialConfig
from cdrhub.config.revision import decode_revision
from cdrhub.config.table import NAME_PATTERN, Table
from cdrhub.model.numbers import NumberPlan
from cdrhub.model.record import MAX_BODY_BYTES, Revision
from cdrhub.sources.base import DecodeSettings, DirectoryEntry, Networks, SourceConfig

MIN_SECRET = 16  #: characters of a token, and of the secret in an ingest path
MAX_TOKENS = 1_000
MAX_SOURCES = 1_000
FILLED_BY_THE_HUB = frozenset({"entries"})  #: fields of decode settings that are no keys of the file
DATABASE_SCHEMES = ("sqlite", "postgresql", "mariadb")


def is_loopback(address: str) -> bool:
    """Whether `host:port` can be reached from this machine only."""
    host = split_address(address)[0]
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _address(value: str) -> str:
    split_address(value)
    return value


Address = Annotated[str, AfterValidator(_address)]


class HubConfig(Table):
    """`[hub]`: the daemon itself."""

    name: str = Field(
        default_factory=socket.gethostname,
        min_length=1,
        max_length=64,
        description="Name of this daemon in the coverage; the machine's name unless given. Daemons that share a "
        "database need different names; give a container one that stays the same when the container is "
        "replaced.",
    )
    data_dir: Path = Field(
        Path("data"), description="Folder of the journal; one daemon at a time may use it. Made when it is missing."
    )
    log_format: Literal["console", "json"] = Field("console", description="Log lines for people or for machines.")
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="The least important lines to log. Numbers and names of people appear at `debug` only."
    )
    shutdown_seconds: float = Field(
        20.0,
        ge=1,
        le=600,
        description="Seconds that a stop may take to finish work; the rest is done at the next start.",
    )
    journal_max_bytes: int = Field(
        2 * 1024**3,
        ge=1024**2,
        le=1024**4,
        description="Size of the journal, in bytes, at which new records are refused until the database has caught up.",
    )


class DatabaseConfig(Table):
    """`[database]`: where calls and records are kept."""

    url: SecretStr = Field(
        SecretStr("sqlite:///data/cdrhub.db"),
        json_schema_extra={"default": "sqlite:///data/cdrhub.db"},
        description="`sqlite:///file`, `postgresql://user:password@host/name` or `mariadb://user:password@host/name`.",
    )
    batch_records: int = Field(500, ge=1, le=10_000, description="Records in one transaction at most.")
    connections: int = Field(
        4,
        ge=1,
        le=64,
        description="Most connections, and batches written at once. SQLite writes with one connection whatever this "
        "says.",
    )

    @field_validator("url")
    @classmethod
    def _known_engine(cls, url: SecretStr) -> SecretStr:
        try:
            parts = urlsplit(url.get_secret_value())
            parts.port  # noqa: B018 - raises where the port is no number
        except ValueError as error:
            raise ValueError(
                "is not a URL that can be read: write e.g. postgresql://user:${PGPASSWORD}@host/cdrhub"
            ) from error
        if not url.get_secret_value().startswith(tuple(f"{scheme}://" for scheme in DATABASE_SCHEMES)):
            raise ValueError("must begin with sqlite:///, postgresql:// or mariadb://")
        name = parts.path.removeprefix("/")
        if parts.scheme == "sqlite" and (parts.netloc or not name or name == ":memory:"):
            raise ValueError("must name a file: sqlite:///data/cdrhub.db, or sqlite:////var/lib/cdrhub/cdrhub.db")
        if parts.scheme == "sqlite" and "?" in url.get_secret_value():
            raise ValueError("takes no options: write the file alone, as in sqlite:///data/cdrhub.db")
        behind = f"{name}{parts.query}{parts.fragment}"
        if parts.scheme != "sqlite" and ("@" in behind or parts.netloc.partition(":")[2].count("@") > 1):
            raise ValueError(  # what follows the first one would be read, and told, as the host
                "has a password with an @ in it: write it as a reference such as ${PGPASSWORD}, or the @ as %40"
            )
        if parts.scheme != "sqlite" and not name:
            raise ValueError(f"must name a database: {parts.scheme}://user:password@host/cdrhub")
        return url


class Role(StrEnum):
    """What a token may do; each includes the one before."""

    READ = "read"
    OPERATE = "operate"
    ADMIN = "admin"


class Token(Table):
    """`[[http.tokens]]`: who may use the pages and the API."""

    name: str = Field(pattern=NAME_PATTERN, description="Who holds it; appears in the logs and in the audit.")
    token: SecretStr = Field(
        min_length=MIN_SECRET,
        max_length=512,
        description="What is sent as `Authorization: Bearer …`; 16 characters or more.",
    )
    role: Role = Field(
        Role.READ,
        description="`read` looks; `operate` also orders: cases, dialling, pauses; `admin` also takes numbers off the "
        "do-not-call list.",
    )
    tenant: str = Field("", max_length=64, description="Limits the token to what belongs to one tenant.")

    @field_validator("token")
    @classmethod
    def _can_be_sent(cls, token: SecretStr) -> SecretStr:
        text = token.get_secret_value()
        if text != text.strip() or not text.isprintable():
            raise ValueError("begins or ends with a blank, or holds a control character: no request can carry it")
        return token


class HttpConfig(Table):
    """`[http]`: the server for pushed records, health, metrics and the API."""

    listen: Address = Field(
        "127.0.0.1:8080", description="`host:port`. An address beyond loopback needs tokens and secrets."
    )
    tls_certificate: Path | None = Field(
        None, description="File with the certificate chain (PEM); goes with `tls_key`."
    )
    tls_key: Path | None = Field(None, description="File with the private key (PEM).")
    trusted_proxies: Networks = Field(
        (), description="Networks of reverse proxies whose `X-Forwarded-For` names the client; needs a token."
    )
    max_body: int = Field(
        10 * 1024**2, ge=1024, le=MAX_BODY_BYTES, description="Bytes of a request's body; a larger one is answered 413."
    )
    tokens: tuple[Token, ...] = Field((), max_length=MAX_TOKENS, description="Required beyond loopback.")

    @check_table(mode="after")
    def _both_of_tls(self) -> HttpConfig:
        if (self.tls_certificate is None) != (self.tls_key is None):
            missing = "tls_key" if self.tls_key is None else "tls_certificate"
            raise ValueError(f"`{missing}` is missing: tls_certificate and tls_key go together")
        return self

    @property
    def loopback_only(self) -> bool:
        """Whether only this machine can reach the server."""
        return is_loopback(self.listen)


class RetentionConfig(Table):
    """`[retention]`: how long what is kept."""

    raw_days: int = Field(
        90, ge=0, le=36_500, description="Days after which the bodies of records are emptied; 0 keeps them for ever."
    )
    facts_days: int = Field(
        30,
        ge=0,
        le=36_500,
        description="Days after which told facts are purged, unless a webhook waits for them; 0 keeps them.",
    )


class Config(Table):
    """The whole file, checked. `file` is where it was read; relative paths in it are relative to its folder and are
    absolute here. `entries` are the lines of the sources' directory files."""

    file: Path
    hub: HubConfig = HubConfig()
    database: DatabaseConfig = DatabaseConfig()
    http: HttpConfig = HttpConfig()
    retention: RetentionConfig = RetentionConfig()
    redial: RedialConfig = RedialConfig()
    broadcast: BroadcastConfig = BroadcastConfig()
    sources: Mapping[str, SerializeAsAny[SourceConfig]] = Field(default_factory=dict)
    entries: Mapping[str, tuple[DirectoryEntry, ...]] = Field(default_factory=dict)

    def settings(self, source: str) -> DecodeSettings:
        """The decode-relevant settings of a source, with its directory's lines."""
        return self.sources[source].decode_settings(self.entries.get(source, ()))

    def number_plan(self, source: str) -> NumberPlan:
        """How numbers of a source read, whatever its directory says of them."""
        return self.sources[source].decode_settings().number_plan()

    def revision(self, source: str) -> str:
        """The revision of those settings (`decode_revision`)."""
        return decode_revision(self.settings(source), system=self.sources[source].type)

    def revision_of(self, source: str) -> Revision:
        """Those settings under their revision, as the journal and the database keep them."""
        return Revision(
            revision=self.revision(source),
            source=source,
            system=self.sources[source].type,
            settings=self.settings(source).model_dump_json(),
        )

    def owner(self, source: str) -> str:
        """The source whose calls the records of `source` belong to: its `into`, or itself."""
        return self.sources[source].into or source


SECTIONS: Mapping[str, type[Table]] = {
    name: field.annotation
    for name, field in Config.model_fields.items()
    if isinstance(field.annotation, type) and issubclass(field.annotation, Table)
}
"""The tables of the file that there is one of each."""
