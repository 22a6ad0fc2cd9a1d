"""Reading records outside the daemon: with the settings under which they came, or with today's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from cdrhub.decoders import Decoders, Revision
from cdrhub.sources.registry import system
from cdrhub.store.batch import Item, Outcome

if TYPE_CHECKING:
    from cdrhub.config import Config
    from cdrhub.model.record import RawRecord
    from cdrhub.store import Store


class Reader:
    """Decodes records and says whose they are, as the daemon of the same configuration would."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._decoders = Decoders()
        self._revisions: dict[str, Revision] = {}
        for name, source in config.sources.items():
            revision = Revision(
                revision=config.revision(name),
                source=name,
                system=source.type,
                settings=config.settings(name).model_dump_json(),
            )
            self._revisions[name] = revision
            self._decoders.learn(revision)

    def learn(self, revisions: Mapping[str, tuple[str, str, str]]) -> None:
        """Know what the database knows: settings (source, system, JSON) by their revision."""
        for revision, (source, system_name, settings) in revisions.items():
            self._decoders.learn(Revision(revision=revision, source=source, system=system_name, settings=settings))

    def decode(self, record: RawRecord) -> Outcome:
        """What a record says under its own settings. Where those are lost, that is a DecodeError to be suspended."""
        if not self._decoders.knows(record.config_revision):
            self._decoders.give_up(record.config_revision)
        return self._decoders.decode(record)

    def item(self, record: RawRecord) -> Item:
        """The record, read with the settings under which it came."""
        source = self._config.sources.get(record.source)
        if source is None:
            known = self._decoders.revisions().get(record.config_revision)
            system_name = known.system if known is not None else ""
            return Item(
                record=record,
                outcome=self.decode(record),
                owner=record.source,
                system=system_name,
                tenant="",
                settle_seconds=0.0,
                decoder_revision=system(system_name).decoder_revision if system_name else 0,
                configured=False,
            )
        owner = self._config.owner(record.source)
        return Item(
            record=record,
            outcome=self.decode(record),
            owner=owner,
            system=self._config.sources[owner].type,
            tenant=self._config.sources[owner].tenant,
            settle_seconds=source.settle_seconds,
            decoder_revision=system(source.type).decoder_revision,
        )

    def current(self, record: RawRecord) -> Item:
        """The record, read with its source's settings of today; with its own where the source is gone."""
        revision = self._revisions.get(record.source)
        return self.item(record if revision is None else replace(record, config_revision=revision.revision))

    async def remember(self, store: Store) -> None:
        """Keep the settings of today in the database, before a record points to them."""
        for name, revision in self._revisions.items():
            await store.remember_revision(
                revision.revision, source=name, system=revision.system, settings=revision.settings
            )
