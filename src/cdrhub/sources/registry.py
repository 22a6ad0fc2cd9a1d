"""Which phone systems there are: the entry points of the group `cdrhub.sources`."""

from __future__ import annotations

from typing import Final

from cdrhub.entry_points import EntryPoints
from cdrhub.sources.base import System

GROUP: Final = "cdrhub.sources"

_SYSTEMS: Final = EntryPoints[System](GROUP, kind="source type")

names = _SYSTEMS.names
systems = _SYSTEMS.all
system = _SYSTEMS.named
