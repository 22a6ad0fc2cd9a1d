"""Which diallers there are: the entry points of the group `cdrhub.diallers`."""

from __future__ import annotations

from typing import Final

from cdrhub.entry_points import EntryPoints
from cdrhub.sources.dialler import DiallerType

_TYPES: Final = EntryPoints[DiallerType](DiallerType.GROUP, kind="dialler type", has=("name", "config_model", "build"))

names = _TYPES.names
dialler_types = _TYPES.all
dialler_type = _TYPES.named
