"""Voicenter: CDRs pushed over HTTP as JSON, XML-RPC or a form (https://www.voicenter.com/API/CDR-Notification-System-API)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, Final, cast

from cdrhub.model.call import Call
from cdrhub.sources.base import Decoder, DecodeSettings, DeliveryContract, Source, SourceConfig, System
from cdrhub.sources.voicenter import files
from cdrhub.sources.voicenter.config import VoicenterConfig, VoicenterSettings
from cdrhub.sources.voicenter.decode import decoder
from cdrhub.sources.voicenter.inference import leg2_missing


class Voicenter:
    """The system `voicenter`."""

    name: Final = "voicenter"
    decoder_revision: Final = 8
    config_model: type[SourceConfig] = VoicenterConfig

    def delivery(self, config: SourceConfig) -> DeliveryContract:  # noqa: ARG002 - the same for every account
        """Voicenter sends again what was not acknowledged, a number of times that it does not publish."""
        return DeliveryContract(
            acknowledged=True,
            resent=True,
            speaks="at_end",
            lost=(
                "Calls of a time in which this hub could not be reached for longer than Voicenter goes on sending; "
                "`quiet_after` notices it, and an import of the Call Log brings them back."
            ),
        )

    def decoder(self, settings: DecodeSettings) -> Decoder:
        """The pure decoder for these settings."""
        return decoder(cast("VoicenterSettings", settings))

    def source(self, config: SourceConfig) -> Source:
        """The source of this configuration."""
        from cdrhub.sources.transports.mounted import MountedSource  # noqa: PLC0415 - what serves HTTP where it does
        from cdrhub.sources.voicenter.source import Receiver  # noqa: PLC0415

        table = cast("VoicenterConfig", config)
        return MountedSource(table.path, lambda intake: Receiver(config=table, intake=intake).handle)

    def conclude(self, config: SourceConfig, call: Call, *, silent_for: timedelta) -> Mapping[str, Any] | None:  # noqa: ARG002 - the same for every account
        """The customer's leg of a Click2Call that never was reported."""
        return leg2_missing(call, silent_for=silent_for)

    def split(self, data: bytes, *, final: bool) -> tuple[Sequence[bytes], bytes]:
        """CDRs in the bytes of a file, see files.py."""
        return files.split(data, final=final)


SYSTEM: System = Voicenter()
