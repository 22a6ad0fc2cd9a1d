"""Decoding records outside the daemon: with the settings under which they came, or with today's."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING

from cdrhub.hub.decoders import Decoders
from cdrhub.hub.ownership import Ownership, decoder_revision, ownership
from cdrhub.model.numbers import load_numbering_plans

if TYPE_CHECKING:
    from cdrhub.config import Config
    from cdrhub.model.record import RawRecord, Revision
    from cdrhub.store import Store
    from cdrhub.store.batch import Item, Outcome


class Reader:
    """Decodes records and says whose they are, as the daemon of the same configuration would."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._decoders = Decoders()
        self._revisions: dict[str, Revision] = {}
        for name in config.sources:
            revision = config.revision_of(name)
            self._revisions[name] = revision
            self._decoders.learn(revision)

    def learn(self, revisions: Iterable[Revision]) -> None:
        """Know what the database knows."""
        self._decoders.learn_all(revisions)

    def decode(self, record: RawRecord) -> Outcome:
        """What a record says under its own settings; a DecodeError, for suspense, where those are lost."""
        load_numbering_plans()
        if not self._decoders.knows(record.config_revision):
            self._decoders.give_up(record.config_revision)
        return self._decoders.decode(record)

    def item(self, record: RawRecord) -> Item:
        """The record, read with the settings under which it came."""
        configured = record.source in self._config.sources
        its = ownership(self._config, record.source) if configured else self._of_none(record)
        return its.item(record, self.decode(record), configured=configured)

    def _of_none(self, record: RawRecord) -> Ownership:
        """Of a source that is not in this configuration: its records are filed under its own name."""
        known = self._decoders.revisions().get(record.config_revision)
        system_name = known.system if known is not None else ""
        return Ownership(
            owner=record.source,
            system=system_name,
            tenant="",
            settle_seconds=0.0,
            decoder_revision=decoder_revision(system_name),
        )

    def current(self, record: RawRecord) -> Item:
        """The record, read with its source's settings of today; with its own where the source is gone."""
        revision = self._revisions.get(record.source)
        return self.item(record if revision is None else replace(record, config_revision=revision.revision))

    async def remember(self, store: Store) -> None:
        """Keep the settings of today in the database, before a record points to them."""
        for revision in self._revisions.values():
            await store.remember_revision(revision)
