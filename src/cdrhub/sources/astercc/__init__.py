"""asterCC: call events pushed over HTTP, one form post per event (https://wiki.astercc.org)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, Final, cast

from cdrhub.errors import ImportOnly
from cdrhub.model.call import Call
from cdrhub.sources.astercc.config import AsterCCConfig, AsterCCSettings
from cdrhub.sources.astercc.decode import decoder
from cdrhub.sources.base import Decoder, DecodeSettings, DeliveryContract, Source, SourceConfig, System


class AsterCC:
    """The system `astercc`."""

    name: Final = "astercc"
    decoder_revision: Final = 1
    config_model: type[SourceConfig] = AsterCCConfig

    def delivery(self, config: SourceConfig) -> DeliveryContract:  # noqa: ARG002 - the same under every configuration
        """asterCC pushes an event once, as far as it documents."""
        return DeliveryContract(
            acknowledged=True,
            resent=False,
            speaks="live",
            lost="Events pushed while this hub could not be reached: no repetition is documented; a call whose end was "
            "lost is closed by the sweeper and flagged.",
        )

    def decoder(self, settings: DecodeSettings) -> Decoder:
        """The pure decoder for these settings."""
        return decoder(cast("AsterCCSettings", settings))

    def source(self, config: SourceConfig) -> Source:  # noqa: ARG002 - refused whatever it says
        """Refused: there is no transport yet."""
        raise ImportOnly(
            "type = 'astercc': a source of this type can be decoded and imported, not yet listened to; "
            "use `cdrhub import`"
        )

    def conclude(
        self,
        config: SourceConfig,  # noqa: ARG002 - the same under every configuration
        call: Call,  # noqa: ARG002 - the hub's own time for forgotten calls suffices
        *,
        silent_for: timedelta,  # noqa: ARG002 - see call
    ) -> Mapping[str, Any] | None:
        """Nothing: a call of which no end came is closed as any forgotten one."""
        return None

    def split(self, data: bytes, *, final: bool) -> tuple[Sequence[bytes], bytes]:
        """One body a line; blank lines and comments are skipped."""
        lines = data.split(b"\n")
        rest = b"" if final else lines.pop()
        kept = (line.rstrip(b"\r") for line in lines)
        return [line for line in kept if line.strip() and not line.startswith(b"#")], rest


SYSTEM: System = AsterCC()
