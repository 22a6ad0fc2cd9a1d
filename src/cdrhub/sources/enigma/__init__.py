"""Enigma dialler (Teleforge): CDRs of campaigns and Click2Dial on Redis lists."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, Final, cast

from cdrhub.errors import ImportOnly
from cdrhub.model.call import Call
from cdrhub.sources.base import Decoder, DecodeSettings, DeliveryContract, Source, SourceConfig, System
from cdrhub.sources.enigma.config import EnigmaConfig, EnigmaSettings
from cdrhub.sources.enigma.decode import decoder


class Enigma:
    """The system `enigma`."""

    name: Final = "enigma"
    decoder_revision: Final = 1
    config_model: type[SourceConfig] = EnigmaConfig

    def delivery(self, config: SourceConfig) -> DeliveryContract:  # noqa: ARG002 - the same under every configuration
        """A list keeps what nobody took."""
        return DeliveryContract(
            acknowledged=True,
            resent=True,
            speaks="at_end",
            lost="Nothing while this hub is away: CDRs wait in the list. Another consumer of the same list takes them "
            "away unseen, and a Redis without persistence loses them when it restarts.",
        )

    def decoder(self, settings: DecodeSettings) -> Decoder:
        """The pure decoder for these settings."""
        return decoder(cast("EnigmaSettings", settings))

    def source(self, config: SourceConfig) -> Source:  # noqa: ARG002 - refused whatever it says
        """Refused: there is no transport yet."""
        raise ImportOnly(
            "type = 'enigma': a source of this type can be decoded and imported, not yet listened to; "
            "use `cdrhub import`"
        )

    def conclude(
        self,
        config: SourceConfig,  # noqa: ARG002 - the same under every configuration
        call: Call,  # noqa: ARG002 - a CDR comes at the end of its call
        *,
        silent_for: timedelta,  # noqa: ARG002 - see call
    ) -> Mapping[str, Any] | None:
        """Nothing: no call is open, for a CDR comes at its end."""
        return None

    def split(self, data: bytes, *, final: bool) -> tuple[Sequence[bytes], bytes]:
        """One JSON message a line; blank lines are skipped."""
        lines = data.split(b"\n")
        rest = b"" if final else lines.pop()
        return [line.rstrip(b"\r") for line in lines if line.strip()], rest


SYSTEM: System = Enigma()
