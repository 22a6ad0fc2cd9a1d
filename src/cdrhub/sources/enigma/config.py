"""The table `[sources.<name>]` of an Enigma dialler."""

from __future__ import annotations

import builtins
from typing import ClassVar, Literal

from pydantic import Field, SecretStr

from cdrhub.sources.base import DecodeSettings, SourceConfig


class EnigmaSettings(DecodeSettings):
    """What the decoder needs to know of a dialler: how its numbers read."""


class EnigmaConfig(EnigmaSettings, SourceConfig):
    """A source of type `enigma`: lists of a Redis into which the dialler pushes its CDRs."""

    settings_model: ClassVar[builtins.type[DecodeSettings]] = EnigmaSettings

    type: Literal["enigma"] = Field("enigma", description="The phone system.")
    redis: SecretStr = Field(
        SecretStr("redis://127.0.0.1:6379/0"), description="URL of the Redis: `redis://[:password@]host:port/database`."
    )
    keys: tuple[str, ...] = Field(
        ("enigma:notifications:campaigns",),
        min_length=1,
        description="Lists to take CDRs from; Click2Dial writes `enigma:notifications:cdr`.",
    )
    side: Literal["right", "left"] = Field(
        "right",
        description="End to pop from: `right` as the vendor's pages say; `left` is oldest first where it RPUSHes.",
    )
