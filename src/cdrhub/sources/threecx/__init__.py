"""3CX: one line per call detail record, over a socket, from a file or from a forwarder."""

from __future__ import annotations

from codecs import BOM_UTF8
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, cast

from cdrhub.model.call import Call
from cdrhub.sources.base import Decoder, DecodeSettings, DeliveryContract, Source, SourceConfig, System
from cdrhub.sources.threecx.config import ThreeCXConfig, ThreeCXSettings
from cdrhub.sources.threecx.decode import REVISION, decoder

_SOCKET_LOSS = (
    "The PBX keeps no backlog: the record of a call that ends while {nobody} is lost and never sent again; a jump in "
    "historyid shows it in the coverage within a minute of the next record, and `cdrhub import` of cdr.log repairs it."
)
FILE_MODES = {"file", "directory"}
_DELIVERY = {
    "listen": DeliveryContract(
        acknowledged=False, resent=False, speaks="at_end", lost=_SOCKET_LOSS.format(nobody="nobody listens")
    ),
    "connect": DeliveryContract(
        acknowledged=False, resent=False, speaks="at_end", lost=_SOCKET_LOSS.format(nobody="we are not connected")
    ),
    "file": DeliveryContract(
        acknowledged=True,
        resent=True,
        speaks="at_end",
        lost="Nothing while the file stays, or lies beside as a former part (cdr.log.1, cdr.log-20261122): it is read "
        "on from the stored offset; what was packed, deleted or emptied before it was read is in the coverage, and so "
        "is a jump in historyid.",
    ),
    "directory": DeliveryContract(
        acknowledged=True,
        resent=True,
        speaks="at_end",
        lost="Nothing while the files stay; a file that is deleted before it was read is lost, and a jump in historyid "
        "shows it in the coverage.",
    ),
    "http": DeliveryContract(
        acknowledged=True,
        resent=True,
        speaks="at_end",
        lost="Nothing between the forwarder and the hub as long as it repeats what was not answered with 2xx; what is "
        "lost between the PBX and the forwarder shows as a jump in historyid in the coverage.",
    ),
}


class ThreeCX:
    """The system `3cx`."""

    name = "3cx"
    decoder_revision = REVISION
    config_model: type[SourceConfig] = ThreeCXConfig

    def delivery(self, config: SourceConfig) -> DeliveryContract:
        """What is lost when, which depends on `mode` alone."""
        return _DELIVERY[cast("ThreeCXConfig", config).mode]

    def decoder(self, settings: DecodeSettings) -> Decoder:
        """The pure decoder of lines under these settings."""
        return decoder(cast("ThreeCXSettings", settings))

    def source(self, config: SourceConfig) -> Source:
        """The source of this configuration."""
        from cdrhub.sources.threecx.source import ThreeCXFiles, ThreeCXSource  # noqa: PLC0415 - sockets where used

        own = cast("ThreeCXConfig", config)
        return ThreeCXFiles(own) if own.mode in FILE_MODES else ThreeCXSource(own)

    def conclude(self, config: SourceConfig, call: Call, *, silent_for: timedelta) -> Mapping[str, Any] | None:  # noqa: ARG002 - nothing to conclude
        """A line comes when its call is over: there is nothing to conclude."""
        return None

    def split(self, data: bytes, *, final: bool) -> tuple[Sequence[bytes], bytes]:
        """Lines without CR LF and without blank ones, and the rest behind the last newline; `final`: no rest. A byte
        order mark is taken off, as where lines are received."""
        lines = data.removeprefix(BOM_UTF8).split(b"\n")
        rest = b"" if final else lines.pop()
        return [line for line in (line.removesuffix(b"\r") for line in lines) if line.strip()], rest


SYSTEM: System = ThreeCX()
