"""What installed packages bring along."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from cdrhub.entry_points import EntryPoints
from cdrhub.errors import ConfigError
from cdrhub.sources.base import System
from cdrhub.sources.dialler import DiallerType
from cdrhub.sources.registry import GROUP
from support.processes import python

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


def installed(folder: Path, monkeypatch: pytest.MonkeyPatch, *, name: str, code: str, package: str = "acme") -> None:
    """A package whose module of the same name defines SYSTEM, as the source type `name`."""
    registered = folder / f"{package}-1.0.dist-info"
    registered.mkdir()
    (registered / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
    (registered / "entry_points.txt").write_text(f"[{GROUP}]\n{name} = {package}_strange:SYSTEM\n")
    (folder / f"{package}_strange.py").write_text(code)
    monkeypatch.syspath_prepend(folder)
    monkeypatch.delitem(sys.modules, f"{package}_strange", raising=False)


def refused(name: str) -> str:
    with pytest.raises(ConfigError) as caught:
        EntryPoints[System](GROUP, kind="source type", has=("name", "split")).named(name)
    return str(caught.value)


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("import nothing_of_that_name", "cannot be loaded: No module named 'nothing_of_that_name'"),
        ("raise SystemExit('set ACME_KEY')", "cannot be loaded: set ACME_KEY"),
        ("assert False", "cannot be loaded: AssertionError"),
        ("SYSTEM = None", "is none of this version of cdrhub: it has no name, split"),
        ("class SYSTEM:\n    name = 'acme'", "is none of this version of cdrhub: it has no split"),
        ("class SYSTEM:\n    name = 'ACME'\n    split = None", "calls itself 'ACME'"),
    ],
)
def test_a_package_that_cannot_be_used_is_named(
    code: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed(tmp_path, monkeypatch, name="acme", code=code)
    assert refused("acme").startswith(f"the source type 'acme' (acme_strange:SYSTEM) {said}")


OF_ANOTHER_VERSION = """
import sys

from cdrhub.errors import ConfigError
from cdrhub.redial.diallers import dialler_type
from cdrhub.sources.registry import system

sys.path.insert(0, sys.argv[1])
for load in (system, dialler_type):
    try:
        load("acme")
    except ConfigError as error:
        print(error)
"""


def test_a_type_of_another_version_is_named_with_all_that_it_lacks(tmp_path: Path) -> None:
    registered = tmp_path / "acme-1.0.dist-info"
    registered.mkdir()
    (registered / "METADATA").write_text("Metadata-Version: 2.1\nName: acme\nVersion: 1.0\n")
    (registered / "entry_points.txt").write_text("[cdrhub.sources]\nacme=acme:A\n[cdrhub.diallers]\nacme=acme:A\n")
    (tmp_path / "acme.py").write_text("class A:\n    name = 'acme'\n")
    read = python(OF_ANOTHER_VERSION, str(tmp_path))
    kinds: Sequence[tuple[str, type]] = [("source", System), ("dialler", DiallerType)]
    for line, (kind, made) in zip(read.stdout.splitlines(), kinds, strict=True):
        said, _, lacking = line.partition(" it has no ")
        assert said == f"the {kind} type 'acme' (acme:A) is none of this version of cdrhub:"
        members = {*made.__annotations__, *(each for each in vars(made) if not each.startswith("_"))}
        assert {*lacking.split(", ")} == members - {"name", "GROUP"}


def test_of_two_packages_with_one_name_none_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Which of them it was hung upon the order of folders: one could take the place of ours."""
    installed(tmp_path, monkeypatch, name="3cx", code="raise RuntimeError")
    assert refused("3cx") == "several packages bring the source type '3cx': keep one of acme, cdrhub"
