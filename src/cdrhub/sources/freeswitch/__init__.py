"""FreeSWITCH: mod_callcenter and click-to-call over the Event Socket, and the CDR documents of mod_json_cdr.

Two types of source, for one switch may tell of a call twice: `freeswitch` listens, `freeswitch-cdr` is told at the
end. With `into` the documents complete the calls of the listening source.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, cast

from cdrhub.model.call import Call
from cdrhub.sources.base import Decoder, DecodeSettings, DeliveryContract, Source, SourceConfig, System
from cdrhub.sources.freeswitch import files
from cdrhub.sources.freeswitch.config import FreeSwitchCdrConfig, FreeSwitchConfig, FreeSwitchSettings
from cdrhub.sources.freeswitch.decode import decoder
from cdrhub.sources.freeswitch.ending import UNHEARD_OF, provisional_end

_LISTENING = DeliveryContract(
    acknowledged=False,
    resent=False,
    speaks="live",
    lost="The Event Socket neither acknowledges nor repeats: events of a broken connection are lost, the time is noted "
    "as blind, and what the switch still knows is asked for.",
)
_POSTED = DeliveryContract(
    acknowledged=True,
    resent=True,
    speaks="at_end",
    lost="A document that could not be posted: mod_json_cdr and mod_xml_cdr repeat it, then write it to err-log-dir, "
    "from where it can be imported.",
)


@dataclass(frozen=True, kw_only=True, slots=True)
class FreeSwitch:
    """The system `freeswitch` or `freeswitch-cdr`."""

    name: str
    config_model: type[SourceConfig]
    contract: DeliveryContract
    decoder_revision: int = 8

    def delivery(self, config: SourceConfig) -> DeliveryContract:  # noqa: ARG002 - the same under every configuration
        """The promise, which does not depend on the configuration."""
        return self.contract

    def decoder(self, settings: DecodeSettings) -> Decoder:
        """The pure decoder for these settings."""
        return decoder(cast("FreeSwitchSettings", settings))

    def source(self, config: SourceConfig) -> Source:
        """The Event Socket that is listened to, or the path to which documents are posted."""
        from cdrhub.sources.freeswitch.posted import Receiver  # noqa: PLC0415 - sockets where used
        from cdrhub.sources.freeswitch.source import EventSocketSource  # noqa: PLC0415
        from cdrhub.sources.transports.mounted import MountedSource  # noqa: PLC0415

        if isinstance(config, FreeSwitchCdrConfig):
            return MountedSource(config.path, lambda intake: Receiver(config=config, intake=intake).handle)
        return EventSocketSource(cast("FreeSwitchConfig", config))

    def conclude(self, config: SourceConfig, call: Call, *, silent_for: timedelta) -> Mapping[str, Any] | None:
        """The end of a call that left its queue alive, where the switch could not be asked ever since."""
        if not isinstance(config, FreeSwitchConfig) or silent_for < UNHEARD_OF:
            return None
        return provisional_end(call)

    def split(self, data: bytes, *, final: bool) -> tuple[Sequence[bytes], bytes]:
        """Messages in a recorded stream or a file of documents, see files.py."""
        return files.split(data, final=final)


SYSTEM: System = FreeSwitch(name="freeswitch", config_model=FreeSwitchConfig, contract=_LISTENING)
CDR_SYSTEM: System = FreeSwitch(name="freeswitch-cdr", config_model=FreeSwitchCdrConfig, contract=_POSTED)
