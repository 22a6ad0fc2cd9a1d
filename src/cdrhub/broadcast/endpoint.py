"""One receiver of webhooks, as configured."""

from __future__ import annotations

from dataclasses import dataclass, field

from cdrhub.broadcast.events import Selection
from cdrhub.broadcast.render import OPEN, Veil


@dataclass(frozen=True, kw_only=True, slots=True)
class Endpoint:
    """Where events are posted, which, and how. Its repr shows neither the URL nor a secret."""

    name: str
    url: str
    secrets: tuple[str, ...]  #: `whsec_…`, the newest first: each request carries a signature of every one
    selection: Selection = field(default_factory=Selection)
    veil: Veil = OPEN
    allow_private: bool = False

    def __repr__(self) -> str:
        return f"Endpoint({self.name!r})"
