"""The interface between redial and what dials: Dialler, its configuration, its entry point.

A package registers a `DiallerType` in the entry-point group `cdrhub.diallers`; ours do so as those of third parties do.
A dialler places one call for one attempt; what it may be told is in model/dialling.py.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

from pydantic import BaseModel, ConfigDict, Field

from cdrhub.model.dialling import Answer, DialOrder, Standing


class DiallerConfig(BaseModel):
    """The keys that every `[redial.diallers.<name>]` table has; a dialler's own model extends it."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    type: str = Field(description="What dials.")
    max_live: int = Field(10, ge=1, le=10_000, description="Attempts that may be live at once.")
    max_per_second: float = Field(5.0, gt=0, le=1_000, description="Requests a second at most.")


class Dialler(Protocol):
    """One configured dialler. Its methods raise nothing but cancellation: what goes wrong is an answer."""

    idempotent: bool
    """Whether a request with the same attempt id may be repeated after `Unseen`."""

    async def dial(self, order: DialOrder) -> Answer:
        """Place one call."""

    async def ask(self, *, attempt_id: str, vendor_ref: str) -> Standing:
        """What became of an order; nothing known where the vendor cannot be asked."""

    async def hang_up(self, *, attempt_id: str, vendor_ref: str) -> None:
        """Drop a call that is not wanted any more, where the vendor can."""

    async def close(self) -> None:
        """Let go of connections."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DiallerType:
    """What an entry point of the group `cdrhub.diallers` names."""

    GROUP: ClassVar[str] = "cdrhub.diallers"

    name: str  #: the word in `type = "…"`
    config_model: type[DiallerConfig]
    build: Callable[[str, Any], Dialler]  #: (name of the table, its model) → the dialler
