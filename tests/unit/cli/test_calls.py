"""What a table of calls shows beside their columns."""

from __future__ import annotations

from zoneinfo import ZoneInfo

import pytest

from cdrhub.cli.calls import _as_shown, _show_in_full

SEEN = [("Sales", "611"), (None, "612")]


def test_a_queue_of_which_only_the_number_is_known_is_shown_by_it(capsys: pytest.CaptureFixture[str]) -> None:
    legs = [{"seq": 1, "role": "queue", "queue": name, "queue_id": number} for name, number in SEEN]
    _show_in_full({"id": "a"}, legs, [], ZoneInfo("UTC"))
    shown = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["1", "queue", "Sales"] in shown
    assert ["1", "queue", "612"] in shown


@pytest.mark.parametrize(
    ("disposition", "state", "shown"),
    [(None, "queued", "queued …"), (None, "answered", "answered …"), ("busy", "ended", "busy"), (None, "ended", None)],
)
def test_a_call_that_lives_is_shown_with_how_far_it_has_come(
    disposition: str | None, state: str, shown: str | None
) -> None:
    call = {"disposition": disposition, "state": state, "queue": "Sales", "queue_id": None}
    assert _as_shown(call)["disposition"] == shown
