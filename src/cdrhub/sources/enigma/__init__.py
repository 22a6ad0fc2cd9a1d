"""Enigma dialler (Teleforge): CDRs of campaigns and Click2Dial on Redis lists."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, Final, cast

from cdrhub.model.call import Call
from cdrhub.sources.base import Decoder, DecodeSettings, DeliveryContract, Source, SourceConfig, System
from cdrhub.sources.enigma.config import EnigmaConfig, EnigmaSettings, Reliable
from cdrhub.sources.enigma.decode import decoder
from cdrhub.sources.enigma.source import EnigmaSource
from cdrhub.sources.transports.redis_list import PLAIN_ENTRIES

_PLAINLY = f"up to {PLAIN_ENTRIES} CDRs of a list that are in hand when this hub dies or the link to Redis breaks"
_NOTHING = "Nothing while this hub is away or dies: CDRs wait in Redis until they are durable."
_LOST: Mapping[Reliable, str] = {
    "always": _NOTHING,
    "auto": f"{_NOTHING} If the Redis runs no scripts (the log says so): {_PLAINLY}.",
    "never": f"{_PLAINLY[0].upper()}{_PLAINLY[1:]}; nothing while it is away.",
}


class Enigma:
    """The system `enigma`."""

    name: Final = "enigma"
    decoder_revision: Final = 3
    config_model: type[SourceConfig] = EnigmaConfig

    def delivery(self, config: SourceConfig) -> DeliveryContract:
        """A list keeps what nobody took, and in reliable mode what is not yet durable."""
        reliable = cast("EnigmaConfig", config).reliable
        return DeliveryContract(
            acknowledged=reliable != "never",
            resent=reliable != "never",
            speaks="at_end",
            lost=f"{_LOST[reliable]} Another consumer of the same list takes CDRs away unseen, and a Redis without "
            "persistence loses what waits in it when it restarts.",
        )

    def decoder(self, settings: DecodeSettings) -> Decoder:
        """The pure decoder for these settings."""
        return decoder(cast("EnigmaSettings", settings))

    def source(self, config: SourceConfig) -> Source:
        """The lists of one Redis."""
        return EnigmaSource(cast("EnigmaConfig", config))

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
