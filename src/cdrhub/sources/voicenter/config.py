"""The table `[sources.<name>]` of a Voicenter account.

Voicenter pushes one CDR per call leg to a URL of the customer (https://www.voicenter.com/API/CDR-Notification-System-API).
It signs nothing, so the path carries a secret, and the addresses it pushes from may be listed.
"""

from __future__ import annotations

import builtins
from dataclasses import replace
from typing import ClassVar, Literal

from pydantic import Field

from cdrhub.model.numbers import NumberPlan
from cdrhub.model.record import MAX_BODY_BYTES
from cdrhub.sources.base import DecodeSettings, IngestPath, Networks, Region, SourceConfig, TimeZone

DEFAULT_MAX_BODY = 10 * 1024 * 1024  #: pushes with transcripts reach megabytes


class VoicenterSettings(DecodeSettings):
    """What the decoder needs to know of an account."""

    region: Region | None = Field(
        "IL",
        description="ISO 3166-1 country of numbers without a country code. Voicenter writes both `05…` and `9725…`.",
    )
    epoch_timezone: TimeZone = Field(
        "UTC",
        description=(
            "IANA zone in which the account writes `time`. The push's epoch is in fact the local wall clock of many "
            "accounts: compare one call with its true time and set `Asia/Jerusalem` if it is two or three hours late."
        ),
    )

    def number_plan(self) -> NumberPlan:
        """Voicenter routes every number it reports, `0…` of the account's country and `972…` alike."""
        return replace(super().number_plan(), unassigned=True)


class VoicenterConfig(VoicenterSettings, SourceConfig):
    """A source of type `voicenter`."""

    settings_model: ClassVar[builtins.type[DecodeSettings]] = VoicenterSettings

    type: Literal["voicenter"] = Field("voicenter", description="The phone system.")
    path: IngestPath = Field(
        max_length=512,
        repr=False,
        description="Path the account pushes to; end it in a secret of 16 characters or more.",
    )
    allow: Networks = Field(
        (), description="Addresses or networks that may push, e.g. `['203.0.113.0/24']`; empty: any."
    )
    max_body: int = Field(
        DEFAULT_MAX_BODY,
        ge=1024,
        le=MAX_BODY_BYTES,
        description="Longest body in bytes; a longer one is answered with 413 and its beginning kept in suspense.",
    )

    @property
    def hours_zone(self) -> str:
        """That of the account's clock."""
        return self.epoch_timezone
