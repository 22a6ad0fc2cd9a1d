"""Immutable values: `@dataclass(frozen=True, kw_only=True, slots=True)` at a quarter of the cost of making one.

The type checker treats them as frozen and refuses every assignment to a field. At run time the assignments in
`__init__` are plain ones: a frozen dataclass makes each through `object.__setattr__`, and with some sixty columns in a
call that was a tenth of the time of the whole daemon under load (docs/decisions/0008-speed.md).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeVar, dataclass_transform

T = TypeVar("T")


@dataclass_transform(frozen_default=True, kw_only_default=True, eq_default=True, field_specifiers=(field,))
def immutable(cls: type[T]) -> type[T]:
    """Class decorator: keyword-only, compared and hashed by its fields, with slots; frozen for the type checker."""
    return dataclass(kw_only=True, slots=True, unsafe_hash=True)(cls)
