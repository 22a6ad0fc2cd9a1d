"""A hub in this process: its configuration, and what it would have written before."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from cdrhub.config import Config, parse
from cdrhub.model.update import CallUpdate
from cdrhub.sources.registry import system
from cdrhub.store.batch import Item
from support.records import raw_record


def configured(folder: Path, tables: str, *, database: str | None = None) -> Config:
    """The configuration of a hub that keeps its files in `folder`; `tables` are those of its sources, and others."""
    text = f"""
[hub]
data_dir = "{folder / "data"}"

[database]
url = "{database or f"sqlite:///{folder / 'hub.db'}"}"

[http]
listen = "127.0.0.1:0"

{tables}
"""
    return parse(text, path=folder / "config.toml", environ={})


def written_of(config: Config, source: str, body: bytes, *, content_type: str, received_at: datetime) -> Item:
    """What the pipeline of that hub writes of a message that `source` heard."""
    kind = config.sources[source].type
    record = raw_record(
        body,
        source=source,
        received_at=received_at,
        content_type=content_type,
        config_revision=config.revision(source),
    )
    outcome = system(kind).decoder(config.settings(source))(record)
    assert isinstance(outcome, CallUpdate)
    return Item(
        record=record,
        outcome=outcome,
        owner=source,
        system=kind,
        tenant="",
        settle_seconds=3.0,
        decoder_revision=1,
    )
