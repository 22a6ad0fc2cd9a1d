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
def _load(name: str) -> System:
    entry = next(iter(entry_points(group=GROUP, name=name)))
    try:
        return cast("System", entry.load())
    except Exception as error:
        raise ConfigError(f"the source type {name!r} ({entry.value}) cannot be loaded: {error}") from error


def names() -> list[str]:
    """The words that `type = "…"` may be, sorted; nothing is loaded for it."""
    return list(_installed())


@cache
def _installed() -> tuple[str, ...]:
    """Read once: it is asked for with each record, and reading what is installed takes milliseconds."""
    return tuple(sorted(entry_points(group=GROUP).names))


def systems() -> Mapping[str, System]:
    """Every installed system by its name. A package that cannot be loaded is a ConfigError that names it."""
    return {name: _load(name) for name in names()}


def system(name: str) -> System:
    """The system called `name`, which alone is loaded; a ConfigError that suggests the nearest one if there is none."""
    known = names()
    if name in known:
        return _load(name)
    near = get_close_matches(name, known, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(known)}"
    raise ConfigError(f"there is no source type {name!r}: {hint}")
