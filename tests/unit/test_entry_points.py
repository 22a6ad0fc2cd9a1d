"""What installed packages bring along."""

from __future__ import annotations

import pytest

from cdrhub.entry_points import EntryPoints
from cdrhub.errors import ConfigError
from cdrhub.sources.base import System
from cdrhub.sources.registry import GROUP

SYSTEMS = EntryPoints[System](GROUP, kind="source type")


def test_one_is_loaded_once_and_every_one_by_its_name() -> None:
    assert SYSTEMS.named("3cx") is SYSTEMS.named("3cx") is SYSTEMS.all()["3cx"]
    assert SYSTEMS.names() == sorted(SYSTEMS.all())
    assert {system.name for system in SYSTEMS.all().values()} == set(SYSTEMS.names())


@pytest.mark.parametrize(
    ("group", "name", "said"),
    [
        (GROUP, "3xc", "there is no source type '3xc': did you mean '3cx'?"),
        (GROUP, "asterisk-of-1999", "there is no source type 'asterisk-of-1999': there are 3cx, astercc, "),
        ("cdrhub.nothing", "3cx", "there is no source type '3cx': there are none installed"),
    ],
)
def test_a_name_that_nothing_has(group: str, name: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        EntryPoints[System](group, kind="source type").named(name)
    assert str(caught.value).startswith(said)
