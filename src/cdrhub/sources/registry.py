"""Which phone systems there are: the entry points of the group `cdrhub.sources`."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from functools import cache
from importlib.metadata import entry_points
from typing import cast

from cdrhub.errors import ConfigError
from cdrhub.sources.base import System

GROUP = "cdrhub.sources"


@cache
def systems() -> Mapping[str, System]:
    """Every installed system by its name. A package that cannot be loaded is a ConfigError that names it."""
    found: dict[str, System] = {}
    for entry in entry_points(group=GROUP):
        try:
            found[entry.name] = cast("System", entry.load())
        except Exception as error:
            raise ConfigError(f"the source type {entry.name!r} ({entry.value}) cannot be loaded: {error}") from error
    return found


def system(name: str) -> System:
    """The system called `name`; a ConfigError that suggests the nearest one if there is none."""
    known = systems()
    if name in known:
        return known[name]
    near = get_close_matches(name, known, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(sorted(known))}"
    raise ConfigError(f"there is no source type {name!r}: {hint}")
