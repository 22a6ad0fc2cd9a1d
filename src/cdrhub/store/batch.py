"""What the pipeline hands to the store, and what the store answers.

A batch is written in one transaction or not at all. Its items are of disjoint calls from those of any other batch
in flight.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from cdrhub.errors import DecodeError
from cdrhub.model.agent import AgentState
from cdrhub.model.immutable import immutable
from cdrhub.model.inference import Coverage
from cdrhub.model.record import RawRecord
from cdrhub.model.update import CallUpdate, Ignored

Outcome = CallUpdate | AgentState | Coverage | Ignored | DecodeError
"""What became of a record when it was decoded."""

Redecode = Callable[[RawRecord], Outcome]
"""Decodes an old record with the settings of its own revision; the store calls it to fold a call anew."""


@immutable
class Item:
    """One decoded record. `owner` is the source whose calls it belongs to (`into`), normally its own.

    `configured` is false where the record's source is no longer in the configuration: then the call that the record is
    part of says whose it is.
    """

    record: RawRecord
    outcome: Outcome
    owner: str
    system: str
    tenant: str
    settle_seconds: float
    decoder_revision: int
    configured: bool = True


@dataclass(frozen=True, kw_only=True, slots=True)
class Written:
    """What a batch did, for metrics and for whoever imports. `records` is the number of items."""

    records: int = 0
    new: int = 0
    duplicates: int = 0
    suspended: int = 0
    ignored: int = 0
    calls_created: int = 0
    calls_updated: int = 0
    conflicts: int = 0  #: calls that became flagged `conflict` by this batch
    settled: int = 0  #: facts of calls that ended, which redial takes
    public: int = 0  #: facts that are told as they are
    #: source -> applied, duplicates, suspended, ignored: what became of the phone system's own records (what the hub
    #: concludes is not among them), disjoint, in sum all of them; and conflicts, of calls
    by_source: dict[str, dict[str, int]] = field(default_factory=dict)


Reread = Callable[[RawRecord], Item]
"""Decodes an old record on purpose (`suspense replay`, `replay`): with today's decoder, and with the settings of its
own revision or, if the caller so chose, today's. The item's record then names the revision that was used."""
