"""The table `[sources.<name>]` of an asterCC.

asterCC signs nothing and sends no header of its own, so the path carries a secret, and the addresses it pushes from may
be listed (https://wiki.astercc.org, "receive call events via http post").
"""

from __future__ import annotations

import builtins
from datetime import timedelta
from typing import ClassVar, Literal

from pydantic import Field

from cdrhub.sources.base import DecodeSettings, IngestPath, Networks, SourceConfig, TimeZone
from cdrhub.sources.spans import Duration

CLOSE_AFTER = timedelta(hours=4)  #: longer than conversations last; hang-ups are lost, for nothing is sent again
LONGEST_CLOSE_AFTER = timedelta(hours=12)  #: then the hub closes what it forgot, whatever the source says
SHORTEST_CLOSE_AFTER = timedelta(minutes=1)


class AsterCCSettings(DecodeSettings):
    """What the decoder needs to know of an asterCC."""

    timezone: TimeZone = Field("UTC", description="IANA zone of the server, in which it writes `eventTime`.")
    agent_phones: dict[str, str] = Field(
        default_factory=dict,
        description='The phone of an agent number, where the events do not say it: `{ 7001 = "6101" }`.',
    )


class AsterCCConfig(AsterCCSettings, SourceConfig):
    """A source of type `astercc`: the team's "Push event URL"."""

    settings_model: ClassVar[builtins.type[DecodeSettings]] = AsterCCSettings

    type: Literal["astercc"] = Field("astercc", description="The phone system.")
    path: IngestPath = Field(
        max_length=512,
        repr=False,
        description="Where events are pushed, with a secret: `/ingest/astercc/${ASTERCC_SECRET}`.",
    )
    allow: Networks = Field((), description="Addresses that may push; empty: all.")
    close_after: Duration = Field(
        CLOSE_AFTER,
        ge=SHORTEST_CLOSE_AFTER,
        le=LONGEST_CLOSE_AFTER,
        description="A call without any event for this long, at most `12h`, is closed by inference: asterCC does not "
        "repeat an event that was lost.",
    )
