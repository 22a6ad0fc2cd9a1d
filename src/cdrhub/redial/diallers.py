"""Which diallers there are: the entry points of the group `cdrhub.diallers`."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from functools import cache
from importlib.metadata import entry_points
from typing import cast

from cdrhub.errors import ConfigError
from cdrhub.sources.dialler import DiallerType


@cache
def _load(name: str) -> DiallerType:
    entry = next(iter(entry_points(group=DiallerType.GROUP, name=name)))
    try:
        return cast("DiallerType", entry.load())
    except Exception as error:
        raise ConfigError(f"the dialler type {name!r} ({entry.value}) cannot be loaded: {error}") from error


def names() -> list[str]:
    """The words that `type = "…"` may be, sorted; nothing is loaded for it."""
    return list(_installed())


@cache
def _installed() -> tuple[str, ...]:
    """Read once: reading what is installed takes milliseconds."""
    return tuple(sorted(entry_points(group=DiallerType.GROUP).names))


def dialler_types() -> Mapping[str, DiallerType]:
    """Every installed type by its name. A package that cannot be loaded is a ConfigError that names it."""
    return {name: _load(name) for name in names()}


def dialler_type(name: str) -> DiallerType:
    """The type called `name`, which alone is loaded; a ConfigError that suggests the nearest one if there is none."""
    known = names()
    if name in known:
        return _load(name)
    near = get_close_matches(name, known, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(known) or 'none installed'}"
    raise ConfigError(f"there is no dialler type {name!r}: {hint}")
