"""asterCC: call events pushed over HTTP, one form post per event (https://wiki.astercc.org)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, Final, cast

from cdrhub.model.call import Call
from cdrhub.sources.astercc.bodies import events
from cdrhub.sources.astercc.config import AsterCCConfig, AsterCCSettings
from cdrhub.sources.astercc.decode import decoder
from cdrhub.sources.astercc.inference import hangup_missing
from cdrhub.sources.base import Decoder, DecodeSettings, DeliveryContract, Source, SourceConfig, System


class AsterCC:
    """The system `astercc`."""

    name: Final = "astercc"
    decoder_revision: Final = 11
    config_model: type[SourceConfig] = AsterCCConfig

    def delivery(self, config: SourceConfig) -> DeliveryContract:  # noqa: ARG002 - the same under every configuration
        """asterCC pushes an event once, as far as it documents."""
        return DeliveryContract(
            acknowledged=True,
            resent=False,
            speaks="live",
            lost="Events pushed while this hub could not be reached or keep them: no repetition is documented. A call "
            "whose end was lost is closed after `close_after` and flagged.",
        )

    def decoder(self, settings: DecodeSettings) -> Decoder:
        """The pure decoder for these settings."""
        return decoder(cast("AsterCCSettings", settings))

    def source(self, config: SourceConfig) -> Source:
        """The path for this table."""
        from cdrhub.sources.astercc.source import Receiver  # noqa: PLC0415 - what serves HTTP where it does
        from cdrhub.sources.transports.mounted import MountedSource  # noqa: PLC0415

        table = cast("AsterCCConfig", config)
        return MountedSource(table.path, lambda intake: Receiver(config=table, intake=intake).handle)

    def conclude(self, config: SourceConfig, call: Call, *, silent_for: timedelta) -> Mapping[str, Any] | None:
        """The end of a call of which no end came, after `close_after`."""
        return hangup_missing(call, silent_for=silent_for, close_after=cast("AsterCCConfig", config).close_after)

    def split(self, data: bytes, *, final: bool) -> tuple[Sequence[bytes], bytes]:
        """One event a line, the same record as if it had been pushed; blank lines and comments are skipped."""
        lines = data.split(b"\n")
        rest = b"" if final else lines.pop()
        return [event for line in lines for event in events(line) if not event.startswith(b"#")], rest


SYSTEM: System = AsterCC()
