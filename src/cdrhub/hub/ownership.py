"""Under which source, system and tenant records are filed, also after their source was taken out of the configuration.

Records may wait in the journal while their source is taken out, by a reload or between a stop and the next start. So
the journal keeps it for each source from before the source runs, as a position of the hub's own: the journal of an
earlier version lacks it, and an earlier version leaves it alone.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

from cdrhub.config import Config
from cdrhub.journal import Journal
from cdrhub.model.record import RawRecord
from cdrhub.sources.registry import names, system
from cdrhub.store.batch import Item, Outcome

KEY = "filed_under"


@dataclass(frozen=True, kw_only=True, slots=True)
class Ownership:
    """What a source's records are filed under."""

    owner: str
    system: str
    tenant: str
    settle_seconds: float
    decoder_revision: int

    def item(self, record: RawRecord, outcome: Outcome, *, configured: bool = True) -> Item:
        """The record as the store writes it. For `configured` see Item."""
        return Item(
            record=record,
            outcome=outcome,
            owner=self.owner,
            system=self.system,
            tenant=self.tenant,
            settle_seconds=self.settle_seconds,
            decoder_revision=self.decoder_revision,
            configured=configured,
        )


class Ownerships:
    """What the records of each source are filed under, as the journal keeps it."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        kept = journal.position("", KEY)
        self._kept: dict[str, list[str | float]] = json.loads(kept) if kept else {}

    async def keep(self, config: Config) -> None:
        """Keep what records of these sources are filed under, before any comes. Raises IntakeRefused."""
        kept = {**self._kept, **{name: _written(ownership(config, name)) for name in config.sources}}
        if kept != self._kept:
            await self._journal.append([], position=("", KEY, json.dumps(kept)))
            self._kept = kept

    def of(self, source: str, *, config: Config, system_name: str) -> Ownership:
        """What records of `source` are filed under by `config`, or, where that has no such source, as it was when one
        had it; under the source's own name where nothing was kept. `system_name` is the system by whose settings they
        are read, empty where those are lost."""
        if source in config.sources:
            return ownership(config, source)
        owner, owners_system, tenant, settle_seconds = self._kept.get(source, (source, system_name, "", 0.0))
        there = config.sources.get(str(owner))
        return Ownership(
            owner=str(owner),
            system=there.type if there is not None else str(owners_system),
            tenant=there.tenant if there is not None else str(tenant),
            settle_seconds=float(settle_seconds),
            decoder_revision=decoder_revision(system_name),
        )


def decoder_revision(system_name: str) -> int:
    """Which revision of its decoder a system is at; 0 for one that is not installed, or not known ("")."""
    return system(system_name).decoder_revision if system_name in names() else 0


def ownership(config: Config, source: str) -> Ownership:
    """What the records of a source of this configuration are filed under."""
    table = config.sources[source]
    owner = config.owner(source)
    return Ownership(
        owner=owner,
        system=config.sources[owner].type,
        tenant=config.sources[owner].tenant,
        settle_seconds=table.settle_seconds,
        decoder_revision=system(table.type).decoder_revision,
    )


def _written(its: Ownership) -> list[str | float]:
    return [its.owner, its.system, its.tenant, its.settle_seconds]
