"""What redial learns of a phone system: from the configuration of the moment and from the sources at work."""

from __future__ import annotations

from pathlib import Path

from cdrhub.config import Config, parse
from cdrhub.hub.phone_systems import PhoneSystemsOfHub
from cdrhub.model.numbers import NumberPlan

CONFIG = """
[redial.diallers.crm]
type = "webhook"
url = "https://crm.example.com/dial"
secret = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="

[sources.switch]
type = "freeswitch"
host = "127.0.0.1"
password = "ClueCon"
region = "NG"
dialler = "crm"

[sources.files]
type = "3cx"
mode = "file"
path = "cdr.log"

[sources.lagos]
type = "3cx"
listen = "127.0.0.1:5555"

[sources.log]
type = "3cx"
mode = "file"
path = "other.log"
into = "lagos"
"""


def config(text: str = CONFIG) -> Config:
    return parse(text, path=Path("/nowhere/cdrhub.toml"), environ={})


def systems(*, seen: str = "", suspect: str = "") -> PhoneSystemsOfHub:
    found = config()
    return PhoneSystemsOfHub(
        config=lambda: found, sees=lambda name: name in seen.split(), clock_suspect=frozenset(suspect.split())
    )


def test_a_system_is_seen_while_one_of_its_sources_sees_it() -> None:
    assert systems(seen="lagos").healthy("lagos")
    assert systems(seen="log").healthy("lagos")
    assert not systems(seen="switch").healthy("lagos")
    assert not systems(seen="log").healthy("log")  # calls of a companion are those of its owner


def test_a_wrong_clock_of_one_source_is_that_of_its_system() -> None:
    assert systems(suspect="log").clock_suspect("lagos")
    assert not systems(suspect="files").clock_suspect("lagos")


def test_the_dialler_is_the_one_that_the_source_names() -> None:
    assert systems().dialler("switch") == "crm"
    assert systems().dialler("lagos") == ""
    assert systems().dialler("there is none") == ""


def test_a_switch_speaks_live_and_a_file_at_the_end() -> None:
    assert systems().speaks_live("switch")
    assert not systems().speaks_live("files")
    assert not systems().speaks_live("there is none")


def test_numbers_read_as_the_source_says() -> None:
    assert systems().plan("switch").region == "NG"
    assert systems().plan("there is none") == NumberPlan()


def test_a_reload_is_seen_at_once() -> None:
    now = config()
    found = PhoneSystemsOfHub(config=lambda: now, sees=lambda _name: True, clock_suspect=frozenset())
    assert found.dialler("switch") == "crm"
    now = config(CONFIG.replace('dialler = "crm"', ""))
    assert found.dialler("switch") == ""
