"""Which phone systems there are: the entry points of the group `cdrhub.sources`."""

from __future__ import annotations

from typing import Final

from cdrhub.entry_points import EntryPoints
from cdrhub.sources.base import System

GROUP: Final = "cdrhub.sources"

_MEMBERS: Final = ("name", "decoder_revision", "config_model", "delivery", "decoder", "source", "conclude", "split")
_SYSTEMS: Final = EntryPoints[System](GROUP, kind="source type", has=_MEMBERS)

names = _SYSTEMS.names
systems = _SYSTEMS.all
system = _SYSTEMS.named
