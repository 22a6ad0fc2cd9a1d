"""The demo's table fits the terminal."""

from __future__ import annotations

import pytest

from cdrhub.cli.demo import fitting

WIDTHS = {"ended": 8, "system": 9, "direction": 9, "from": 10, "queue": 7, "agent": 8, "talk": 4}
WHOLE = sum(WIDTHS.values()) + 3 * len(WIDTHS) + 1


@pytest.mark.parametrize(
    ("width", "dropped"),
    [
        (WHOLE, set()),
        (WHOLE - 1, {"agent"}),
        (WHOLE - 11, {"agent"}),
        (WHOLE - 12, {"agent", "queue"}),
        (10, {"agent", "queue", "direction"}),
    ],
)
def test_a_narrow_terminal_goes_without_some_columns(width: int, dropped: set[str]) -> None:
    assert fitting(WIDTHS, width=width) == [name for name in WIDTHS if name not in dropped]
