"""What the last line under a case says can be done about it."""

from __future__ import annotations

from zoneinfo import ZoneInfo

from cdrhub.cli.cases.standing import standing, to_go_on


def test_after_an_attempt_of_which_nobody_knows_the_agent_is_asked_first() -> None:
    line = to_go_on("attempt_unknown", "C-1")
    assert line == "To go on, once the agent says that the person was not reached: cdrhub cases resume C-1"


def test_a_case_that_was_paused_for_its_age_may_be_resumed_as_it_is() -> None:
    assert to_go_on("late", "C-1") == "To go on: cdrhub cases resume C-1"


def test_of_a_person_who_may_have_been_reached_it_says_how_to_report_that() -> None:
    case = {"code": "C-1", "state": "paused", "state_reason": "attempt_unknown"}
    assert "· if they were: cdrhub cases report C-1 contacted · to end it:" in standing(case, ZoneInfo("UTC"))
