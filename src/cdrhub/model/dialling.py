"""An order to dial and the answers to it. Pure values.

A dialler tells four kinds of "no" apart, because something else follows from each (docs/redial.md), and it never
guesses: an answer that it could not read is `Unseen`, after which nobody dials again until the vendor or a record has
told what became of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from cdrhub.model.disposition import Disposition


class Refusal(StrEnum):
    """Why a dialler said no, by what follows from it."""

    AGENT = "agent"  #: the agent was not available: the number was not tried
    NUMBER = "number"  #: this number can never be reached: it counts as tried
    CONFIGURATION = "configuration"  #: nothing can be dialled until a person corrects it
    NETWORK = "network"  #: the request did not leave, or the network failed: not the person's doing


@dataclass(frozen=True, kw_only=True, slots=True)
class DialOrder:
    """What is to be dialled. Every text in it came from outside: a dialler checks it before it builds a command, a URL
    or a header of it."""

    attempt_id: str  #: UUID; put where the vendor carries it back
    case_code: str
    source: str
    number: str  #: E.164; where it has no E.164 form, digits, with a plus sign before them if it was given with one
    agent: str
    reference: str = ""
    campaign: str = ""
    metadata: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class Accepted:
    """The dialler said yes: an order, not yet a call. `vendor_ref` is what it called it, empty if nothing."""

    vendor_ref: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Refused:
    """The dialler said no, and its answer was read."""

    refusal: Refusal
    detail: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Unseen:
    """The request may have arrived; its answer was not seen, or could not be read."""

    detail: str


Answer = Accepted | Refused | Unseen


@dataclass(frozen=True, kw_only=True, slots=True)
class Standing:
    """What a vendor says of an attempt whose end was not seen."""

    live: bool = False
    outcome: Disposition | None = None  #: how it ended, where the vendor knows

    @property
    def known(self) -> bool:
        """Whether the vendor could say anything."""
        return self.live or self.outcome is not None
