"""The tables `[sources.<name>]` of a FreeSWITCH: over the Event Socket, and its CDR documents."""

from __future__ import annotations

import builtins
from collections.abc import Sequence
from datetime import timedelta
from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, Field, SecretStr

from cdrhub.sources.base import DecodeSettings, IngestPath, Networks, SourceConfig
from cdrhub.sources.spans import Duration


def _of_one_line(password: SecretStr) -> SecretStr:
    if not password.get_secret_value().isprintable():
        raise ValueError("holds a control character, as a line break: what follows it would be a command")
    return password


Password = Annotated[SecretStr, AfterValidator(_of_one_line)]


class FreeSwitchSettings(DecodeSettings):
    """What the decoder needs to know of a switch that is listened to."""

    calls: Literal["queue", "all"] = Field(
        "queue",
        description="`queue`: calls of mod_callcenter and those that the switch places itself; `all`: every call.",
    )


class FreeSwitchCdrSettings(FreeSwitchSettings):
    """The same of a switch that sends its CDR documents: by default every call."""

    calls: Literal["queue", "all"] = Field(
        "all",
        description="`all`: every call; `queue`: calls of mod_callcenter and those that the switch places itself.",
    )


class FreeSwitchConfig(FreeSwitchSettings, SourceConfig):
    """A source of type `freeswitch`: the Event Socket of mod_event_socket."""

    settings_model: ClassVar[builtins.type[DecodeSettings]] = FreeSwitchSettings

    type: Literal["freeswitch"] = Field("freeswitch", description="The phone system.")
    host: str = Field("127.0.0.1", min_length=1, description="Host of the Event Socket.")
    port: int = Field(8021, ge=1, le=65_535, description="Port of the Event Socket.")
    password: Password = Field(description="Password of the Event Socket, e.g. `${ESL_PASSWORD}`.")
    idle_timeout: Duration = Field(
        timedelta(seconds=65),
        ge=timedelta(seconds=1),
        description="Silence after which the switch counts as dead: a little more than three of its heartbeats "
        "(`event-heartbeat-interval`, 20 s).",
    )
    reconcile_every: Duration = Field(
        timedelta(minutes=3),
        ge=timedelta(seconds=1),
        description="How often the switch is asked for calls and their ends that no event reported; it is also asked "
        "after each connection.",
    )

    def reads(self) -> Sequence[tuple[str, str]]:
        """The Event Socket."""
        return (("host", f"{self.host}:{self.port}"),)


class FreeSwitchCdrConfig(FreeSwitchCdrSettings, SourceConfig):
    """A source of type `freeswitch-cdr`: what mod_json_cdr or mod_xml_cdr post."""

    settings_model: ClassVar[builtins.type[DecodeSettings]] = FreeSwitchCdrSettings

    type: Literal["freeswitch-cdr"] = Field("freeswitch-cdr", description="The phone system.")
    path: IngestPath = Field(
        max_length=512,
        repr=False,
        description="Where the documents are posted, with a secret: `/ingest/freeswitch/${FREESWITCH_SECRET}`.",
    )
    allow: Networks = Field((), description="Addresses that may post; empty: all.")
