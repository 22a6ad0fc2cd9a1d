"""Commands: nothing that was put into one can begin another."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdrhub.sources.freeswitch.esl.commands import MAX_COMMAND_BYTES, api_line, bgapi_line, successful
from cdrhub.sources.freeswitch.esl.errors import CommandFailed, CommandRefused


def test_lines() -> None:
    assert api_line("show channels as json") == "api show channels as json"
    assert bgapi_line("originate user/1 2", job_uuid="8b92-40ef") == "bgapi originate user/1 2\nJob-UUID: 8b92-40ef"


@pytest.mark.parametrize("command", ["", " ", "a\nexit", "a\rb", "a\0b", "\ud800", "x" * (MAX_COMMAND_BYTES + 1)])
def test_what_is_refused(command: str) -> None:
    with pytest.raises(CommandRefused):
        api_line(command)
    with pytest.raises(CommandRefused):
        bgapi_line(command, job_uuid="1")


@pytest.mark.parametrize("job_uuid", ["", "a b", "a\nexit", "x" * 65, "é"])
def test_ids_of_jobs_that_are_refused(job_uuid: str) -> None:
    with pytest.raises(CommandRefused):
        bgapi_line("status", job_uuid=job_uuid)


@given(st.text(max_size=40))
def test_any_text_is_one_line_or_refused(text: str) -> None:
    try:
        line = api_line(text)
    except CommandRefused:
        return
    assert "\n" not in line
    assert "\r" not in line
    assert "\0" not in line


@pytest.mark.parametrize("answer", ["-ERR no such channel\n", "-ERR", "-USAGE: <uuid>\n"])
def test_errors(answer: str) -> None:
    with pytest.raises(CommandFailed) as failed:
        successful(answer)
    assert failed.value.answer == answer.strip()


@pytest.mark.parametrize("answer", ["+OK\n", "", "true", "a|b\n-ERR in a value\n+OK\n"])
def test_answers(answer: str) -> None:
    assert successful(answer) == answer
