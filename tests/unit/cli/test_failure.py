"""What the end of a command says to whoever started it."""

from __future__ import annotations

import pytest

from cdrhub.cli.failure import Exit, exit_code_of
from cdrhub.errors import IntakeRefused, JournalFull


@pytest.mark.parametrize("kind", [IntakeRefused, JournalFull])
def test_a_start_whose_journal_takes_nothing_may_be_tried_again(
    kind: type[IntakeRefused], capsys: pytest.CaptureFixture[str]
) -> None:
    """It was called bad input."""

    def command() -> None:
        raise kind("the journal in data cannot write: disk I/O error")

    assert exit_code_of(command) == Exit.TEMPORARY
    assert capsys.readouterr().err == "cdrhub: the journal in data cannot write: disk I/O error\n"
