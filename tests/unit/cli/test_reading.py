"""Records read outside the daemon, also those of a source that is configured no more."""

from __future__ import annotations

from pathlib import Path

import pytest

from cdrhub.cli.reading import Reader
from cdrhub.config import Config
from cdrhub.config.loading import parse
from cdrhub.errors import DecodeError, Reason
from cdrhub.model.record import Revision
from support.records import raw_record

LAGOS = '[sources.lagos]\ntype = "3cx"\nlisten = "127.0.0.1:5555"\n'


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return parse(LAGOS, path=tmp_path / "cdrhub.toml", environ={})


def test_a_record_of_a_system_that_is_installed_no_more_is_suspended(config: Config) -> None:
    """A replay of all records would end at the first one of a plug-in that was taken away."""
    reader = Reader(config)
    reader.learn([Revision(revision="r", source="old", system="plug-in", settings="{}")])
    item = reader.item(raw_record(b"any", source="old", config_revision="r"))
    assert isinstance(item.outcome, DecodeError)
    assert item.outcome.reason is Reason.BAD_VALUE
    assert item.outcome.detail.startswith("install the package that reads it: there is no source type 'plug-in'")
    assert (item.owner, item.system, item.decoder_revision, item.configured) == ("old", "plug-in", 0, False)
