"""How a case stands, for people: each number, the case as a whole, what an order led to, what can be done."""

from __future__ import annotations

import shlex
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from cdrhub.cli.output import Format, Listing, show, spoken_value
from cdrhub.redial.model import AttemptState, CaseState

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cdrhub.cli.database import Opened
    from cdrhub.config import Config
    from cdrhub.redial.decision import Decision
    from cdrhub.redial.outlook import Outlook

IN_DOUBT = "attempt_unknown"
_BEFORE_RESUMING = {
    IN_DOUBT: "once the agent says that the person was not reached",
    "dialler_configuration": "once its configuration is corrected",
    "no_dialler": "once its source names a dialler",
    "observed": 'once redial.mode is "on"',
    "redial_off": 'once redial.mode is "on"',
}
"""What must be so before a case that is paused for this reason is resumed."""

NUMBER_COLUMNS = ("position", "number", "label", "e164", "this_round", "now")


def numbers_now(database: Opened, config: Config, case: Mapping[str, Any], local: ZoneInfo) -> list[dict[str, Any]]:
    """Each number with its last attempt of the round, and what the rules say of it at this moment."""
    from cdrhub.redial.outlook import outlook

    now = datetime.now(UTC)
    _, found = database.read(outlook, case["id"], settings=config.redial.settings(), now=now)
    last = max((one.last.id for one in found if one.last is not None), default="")
    in_doubt = last if case["state_reason"] == IN_DOUBT else None
    return [
        {
            "position": one.number.position,
            "number": one.number.number,
            "label": one.number.label,
            "e164": one.number.e164,
            "this_round": _tried(one, in_doubt=one.last is not None and one.last.id == in_doubt),
            "now": _allowed(one, local),
        }
        for one in found
    ]


def show_numbers(numbers: Sequence[Mapping[str, Any]], local: ZoneInfo) -> None:
    show(
        Listing(columns=NUMBER_COLUMNS, rows=numbers, title="Numbers", empty="the case has no number"),
        form=Format.TABLE,
        zone=local,
    )


def _tried(one: Outlook, *, in_doubt: bool) -> str:
    if one.last is None:
        return "not tried"
    match one.last.state:
        case AttemptState.DECIDED:
            return "the daemon will request it"
        case AttemptState.REQUESTED:
            return "requested, no answer seen yet"
        case AttemptState.ACCEPTED:
            return "the dialler accepted it"
        case AttemptState.ENDED:
            return f"{one.last.outcome or 'ended'}{', in doubt' if in_doubt else ''}"
        case AttemptState.REFUSED:
            return f"refused ({one.last.refusal})"
        case AttemptState.UNKNOWN:
            return "nobody knows what became of it"
        case AttemptState.CANCELLED:
            return "dropped before it was requested"
        case AttemptState.SUPERSEDED:
            return "given up while it was under way"


def _allowed(one: Outlook, local: ZoneInfo) -> str:
    from cdrhub.redial.wording import rule_in_words

    if one.last is not None and one.last.live:
        return "an attempt is under way"
    if one.tried:
        return "tried in this round"
    if one.objection is None:
        return "may be dialled"
    until = f" until {spoken_value(one.objection.until, zone=local, brief=True)}" if one.objection.until else ""
    return f"not{until}: {rule_in_words(one.objection.rule)} ({one.objection.rule})"


def standing(case: Mapping[str, Any], local: ZoneInfo) -> str:
    """Where a case stands, and what can be done."""
    from cdrhub.redial.wording import reason_in_words, rule_in_words

    code, reason = case["code"], case["state_reason"]
    match CaseState(case["state"]):
        case CaseState.OPEN:
            return f"{code} is open: nothing is asked of it. To dial it: {command_line('dial', code)}"
        case CaseState.DIALLING:
            return f"{code} is being dialled: the end of the attempt decides what follows."
        case CaseState.WAITING:
            at = spoken_value(case["next_action_at"], zone=local, brief=True)
            why = rule_in_words(reason)
            return f"{code} waits: {case['next_key']} is looked at again at {at} ({local.key}), because {why}."
        case CaseState.PAUSED:
            reached = f" · if they were: {command_line('report', code)} contacted" if reason == IN_DOUBT else ""
            return (
                f"{code} is paused ({reason}): {reason_in_words(reason)}. "
                f"{to_go_on(reason, code)}{reached} · to end it: {command_line('stop', code)}"
            )
        case state:
            return f"{code} is {state}: nothing more is dialled. To begin anew: {command_line('dial', code)}"


def to_go_on(reason: str, code: str) -> str:
    """How a case that is paused for `reason` goes on, and what must be so before: else it would be paused again."""
    first = f", {condition}" if (condition := _BEFORE_RESUMING.get(reason)) else ""
    return f"To go on{first}: {command_line('resume', code)}"


def command_line(verb: str, code: str) -> str:
    """A command that can be copied to a shell, whatever the code is."""
    dashes = "-- " if code.startswith("-") else ""
    return f"cdrhub cases {verb} {dashes}{shlex.quote(code)}"


def outcome(decision: Decision, case: Mapping[str, Any]) -> str:
    """What an order led to."""
    from cdrhub.redial.wording import decision_in_words

    hindrance = case["state_reason"] if decision.goes_on and case["state"] == CaseState.PAUSED else ""
    said = f"{case['code']}: {decision_in_words(decision, hindrance=hindrance)}"
    return f"{said}. {to_go_on(hindrance, case['code'])}" if hindrance else said
