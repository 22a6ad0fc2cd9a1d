"""What installed packages bring along: the entry points of one group, each loaded when it is named."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from functools import cache, cached_property
from importlib.metadata import entry_points
from typing import Generic, TypeVar, cast

from cdrhub.errors import ConfigError, told

T = TypeVar("T")


class EntryPoints(Generic[T]):
    """The entry points of `group`, which all name a T. Errors speak of a `kind`, e.g. "source type".

    `has` are the attributes of a T. An object that lacks one of them was made for another version, and is refused when
    it is loaded, instead of failing at the first record; so is one whose `name` is not that of its entry point.
    """

    def __init__(self, group: str, *, kind: str, has: Sequence[str] = ()) -> None:
        self._group = group
        self._kind = kind
        self._has = has
        self._load = cache(self._loaded)

    def names(self) -> list[str]:
        """The words that `type = "…"` may be, sorted; nothing is loaded for it."""
        return list(self._installed)

    def all(self) -> Mapping[str, T]:
        """Every one that is installed, by its name. A package that cannot be loaded is a ConfigError that names it."""
        return {name: self._load(name) for name in self._installed}

    def named(self, name: str) -> T:
        """The one called `name`, which alone is loaded; a ConfigError that suggests the nearest one if there is
        none."""
        known = self._installed
        if name in known:
            return self._load(name)
        near = get_close_matches(name.lower(), known, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(known) or 'none installed'}"
        raise ConfigError(f"there is no {self._kind} {name!r}: {hint}")

    @cached_property
    def _installed(self) -> tuple[str, ...]:
        """Cached: it is asked for with each record, and reading what is installed takes milliseconds."""
        return tuple(sorted(entry_points(group=self._group).names))

    def _loaded(self, name: str) -> T:
        entry, *others = entry_points(group=self._group, name=name)
        if others:
            packages = ", ".join(sorted(each.dist.name if each.dist else each.value for each in (entry, *others)))
            raise ConfigError(f"several packages bring the {self._kind} {name!r}: keep one of {packages}")
        said = f"the {self._kind} {name!r} ({entry.value})"
        try:
            loaded = entry.load()
        except (Exception, SystemExit) as error:
            raise ConfigError(f"{said} cannot be loaded: {told(error)}") from error
        if lacking := [each for each in self._has if not hasattr(loaded, each)]:
            raise ConfigError(f"{said} is none of this version of cdrhub: it has no {', '.join(lacking)}")
        if self._has and loaded.name != name:
            raise ConfigError(f"{said} calls itself {loaded.name!r}: its entry point and its `name` are one word")
        return cast("T", loaded)
