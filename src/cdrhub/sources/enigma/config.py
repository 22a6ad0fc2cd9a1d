"""The table `[sources.<name>]` of an Enigma dialler."""

from __future__ import annotations

import builtins
from collections.abc import Sequence
from typing import ClassVar, Literal

from pydantic import Field, SecretStr, field_validator

from cdrhub.sources.base import DecodeSettings, SourceConfig
from cdrhub.sources.transports.redis_client import is_redis_url, place_of
from cdrhub.sources.transports.redis_list import Side

Reliable = Literal["auto", "always", "never"]

MAX_KEYS = 32
MAX_KEY = 512  #: characters of the name of a list
OUR_KEYS = ":cdrhub:"  #: in the names of the lists and leases that we keep beside a list


class EnigmaSettings(DecodeSettings):
    """What the decoder needs to know of a dialler: how its numbers read."""


class EnigmaConfig(EnigmaSettings, SourceConfig):
    """A source of type `enigma`: lists of a Redis into which the dialler pushes its CDRs."""

    settings_model: ClassVar[builtins.type[DecodeSettings]] = EnigmaSettings

    type: Literal["enigma"] = Field("enigma", description="The phone system.")
    redis: SecretStr = Field(
        SecretStr("redis://127.0.0.1:6379/0"),
        description="URL of the Redis: `redis://[[user]:password@]host:port/database`, `rediss://…` with TLS, "
        "`unix:///path?db=0`. Older diallers have it at port 8001.",
    )
    keys: tuple[str, ...] = Field(
        ("enigma:notifications:campaigns",),
        min_length=1,
        max_length=MAX_KEYS,
        description="Lists to take CDRs from; Click2Dial writes `enigma:notifications:cdr`.",
    )
    side: Side = Field(
        "right",
        description="End to pop from: `right` as the vendor's pages say; `left` is oldest first where it RPUSHes.",
    )
    reliable: Reliable = Field(
        "auto",
        description="`always`: a CDR stays in Redis, in `<key>:cdrhub:processing`, until it is durable here. `never`: "
        "it is popped, and those in hand are lost when the daemon dies. `auto`: `always`, unless the Redis runs no "
        "scripts.",
    )
    lease_seconds: int = Field(
        10,
        ge=3,
        le=300,
        description="Seconds that a hub holds the lease on a list, which one hub reads at a time; after that another "
        "hub takes over from one that died.",
    )

    def reads(self) -> Sequence[tuple[str, str]]:
        """The lists."""
        place = place_of(self.redis.get_secret_value())
        return [("keys", f"{place}/{key}") for key in self.keys]

    @field_validator("redis")
    @classmethod
    def _a_redis_url(cls, url: SecretStr) -> SecretStr:
        if not is_redis_url(url.get_secret_value()):
            raise ValueError(
                "`redis`: is no URL of a Redis: write redis://:password@host:port/0, rediss://… or unix:///path, the "
                "password percent-encoded or as ${NAME}, and behind `?` only what the Redis client redis-py knows"
            )
        return url

    @field_validator("keys")
    @classmethod
    def _lists_of_the_dialler(cls, keys: tuple[str, ...]) -> tuple[str, ...]:
        for key in keys:
            if not 0 < len(key) <= MAX_KEY:
                raise ValueError(f"`keys`: the name of a list has 1 to {MAX_KEY} characters")
            if OUR_KEYS in key:
                raise ValueError(f"`keys`: {key!r} is our own: name the list of the dialler, what is before {OUR_KEYS}")
            if keys.count(key) > 1:
                raise ValueError(f"`keys`: {key!r} stands there twice")
        return keys
