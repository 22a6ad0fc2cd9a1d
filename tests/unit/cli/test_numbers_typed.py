"""Numbers as people type them after --number."""

from __future__ import annotations

from pathlib import Path

import pytest

from cdrhub.cli.redialling import number_keys
from cdrhub.errors import UsageError
from support.hubs import configured

SOURCE = '[sources.lagos]\ntype = "voicenter"\npath = "/ingest/voicenter/0123456789abcdef"\nregion = "NG"\n'


@pytest.mark.parametrize(
    "typed", ["0803 910 0001", "\u0660\u0668\u0660\u0663 910 0001", "\uff10\uff18\uff10\uff13-910-0001"]
)
def test_a_number_in_digits_of_any_script_is_looked_for(tmp_path: Path, typed: str) -> None:
    """It found nothing and said nothing."""
    keys = number_keys(configured(tmp_path, SOURCE), typed, source=None)
    assert keys == {"+2348039100001", "08039100001"}


def test_what_has_no_digit_is_no_number(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="has no digit"):
        number_keys(configured(tmp_path, SOURCE), "x", source=None)
