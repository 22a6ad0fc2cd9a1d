"""What one record says of one call, while it is being gathered."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from cdrhub.model.disposition import Outcome
from cdrhub.model.numbers import NumberPlan, party, read_number
from cdrhub.model.update import (
    Authority,
    CallUpdate,
    LegUpdate,
    Sequence,
    bounded_key,
    clean_text,
    storable,
    storable_json,
)
from cdrhub.sources.freeswitch.words import UNANSWERED_BY_CAUSE

MAX_WORD = 64  #: characters kept of a word that nobody knows


class Draft:
    """Values, legs, attributes and flags of an update to be. Empty values are left out."""

    __slots__ = ("attributes", "authority", "call_key", "final", "flags", "kind", "legs", "opens", "plan", "values")

    def __init__(self, call_key: str, kind: str, plan: NumberPlan) -> None:
        self.call_key = call_key
        self.kind = kind
        self.plan = plan
        self.values: dict[str, Any] = {}
        self.legs: list[LegUpdate] = []
        self.attributes: dict[str, Any] = {}
        self.flags: set[str] = set()
        self.authority = Authority.RECORD
        self.final = False
        self.opens = True

    def party(self, side: str, raw: str | None) -> None:
        """The number of the `caller` or `callee`."""
        party(self.values, self.flags, side, raw, self.plan)

    def inside(self, number: str | None) -> bool:
        """Whether `number` is an extension of ours."""
        return number is not None and read_number(number, self.plan).inside

    def put(self, **values: Any) -> None:
        """Columns of the call; None says nothing."""
        for name, value in values.items():
            if value is not None:
                self.values[name] = value

    def leg(
        self, leg_key: str, *, attempt_at: datetime | None = None, attempt_id: str | None = None, **values: Any
    ) -> None:
        """One leg; None says nothing."""
        kept = storable({name: value for name, value in values.items() if value is not None}, self.flags)
        self.legs.append(
            LegUpdate(leg_key=bounded_key(leg_key), values=kept, attempt_at=attempt_at, attempt_id=attempt_id)
        )

    def unmapped(self, what: str, word: str) -> None:
        """A word of the vendor's that this decoder does not know."""
        self.flags.add("unmapped_word")
        known = self.attributes.setdefault("unmapped", {})
        known[what] = clean_text(word, self.flags, limit=MAX_WORD)

    def unanswered(self, cause: str | None) -> Outcome:
        """What became of a leg that nobody answered and that ended for `cause`."""
        if cause is None:
            return Outcome.UNKNOWN
        outcome = UNANSWERED_BY_CAUSE.get(cause)
        if outcome is None:
            self.unmapped("hangup_cause", cause)
            return Outcome.UNKNOWN
        return outcome

    def update(
        self, *, digest: bytes, at: datetime | None, sequence: Sequence | None, event_id: str | None
    ) -> CallUpdate:
        """The update of this draft."""
        values = storable(self.values, self.flags)
        attributes = storable_json(self.attributes, self.flags) if self.attributes else self.attributes
        return CallUpdate(
            call_key=bounded_key(self.call_key),
            kind=bounded_key(self.kind),
            digest=digest,
            values=values,
            legs=tuple(self.legs),
            attributes=attributes,
            flags=frozenset(self.flags),
            at=at,
            sequence=sequence,
            event_id=event_id,
            authority=self.authority,
            final=self.final,
            opens=self.opens,
        )
