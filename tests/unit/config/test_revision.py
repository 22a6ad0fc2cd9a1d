"""The revision of decode settings: equal for equal settings, for ever."""

from __future__ import annotations

from cdrhub.config import decode_revision
from cdrhub.sources.base import DecodeSettings


def test_it_never_changes() -> None:
    """Records point to it: another value for the same settings would orphan them."""
    settings = DecodeSettings(region="NG", strip_prefixes=("9",))
    assert decode_revision(settings, system="3cx") == "077a9460223e95a3"


def test_settings_of_two_systems_are_never_the_same() -> None:
    assert decode_revision(DecodeSettings(), system="enigma") != decode_revision(DecodeSettings(), system="freeswitch")
