"""A decision as a sentence, for people: what happened, what followed, and the rule that said so. Pure.

Words for rules are full sentences' ends ("because …"); a rule that has none here is shown by its name. Times are given
in the zone that is asked for.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, tzinfo
from typing import Any

from cdrhub.redial.decision import Decision

_RULES: Mapping[str, str] = {
    "abandoned_by_us": "the customer answered and none of our agents was there",
    "agent_busy": "the agent is busy with another call",
    "agent_retry": "the agent failed and the number was not tried",
    "agents_own_call": "the agent dialled by hand: that counts as tried and leads to no other number",
    "announced": "the end of that call decides",
    "answered_elsewhere": "the person was reached by another call",
    "attempt_live": "an attempt of this case is still under way, and its end will decide",
    "call_in_doubt": "part of what the phone system reports of a call is missing: a person may have answered",
    "callback": "the person asked to be called back",
    "calling_window": "the number may not be called at this hour",
    "case_cap": "the case has had as many attempts as it may have",
    "case_closed": "the case was over already",
    "case_paused": "the case is paused and waits for a person",
    "contradiction": "the same call had been reported as answered before",
    "cool_down": "not enough time has passed since the last attempt",
    "deadline": "no call record came in time and the phone system could not say what became of the attempt",
    "decided_before": "this was decided before",
    "dialler_refuses": "the dialler refuses every request until somebody corrects its configuration",
    "do_not_call": "the number must not be called",
    "due": "no rule objects",
    "earlier_round": "the call belongs to an earlier round of the case",
    "first_untried": "it is the first number not yet tried in this round that no rule objects to",
    "hard_stop": "the number was requested too often within 24 hours",
    "network_retry": "the network failed and the number was not tried",
    "no_dialler": "the source has no dialler in the configuration",
    "no_number": "the case has no number",
    "none_left": "no number is left in this round",
    "number_cap": "the number has had as many attempts as it may have",
    "number_in_call": "the person is in a call at this moment",
    "number_requested": "a call to the person was requested and nobody saw its end",
    "old_news": "too much time has passed to ring anybody automatically",
    "period_cap": "the case has had as many attempts as it may have within the period",
    "reached": "a person answered",
    "redial_paused": "somebody paused redial",
    "refused_before": "the dialler had refused it before the record came, and that was decided",
    "reported": "a person reported what became of it",
    "shared_number": "the number belongs to another case too",
    "source_unhealthy": "the hub does not see the phone system, so nobody would see the call end",
    "spread": "the cases that are resumed with it are spread over time",
    "stopped": "somebody stopped it",
    "superseded": "the case no longer waited for that call",
    "went_on": "the case went on after that attempt",
}

_REASONS: Mapping[str, str] = {
    "abandoned": "the customer answered and none of our agents was there",
    "agent_unavailable": "the agent was not available, several times in a row",
    "ambiguous": "the person answered a call, and nobody can tell for which case",
    "attempt_unknown": "nobody knows whether an attempt reached the person, and the hub does not dial on a guess",
    "contradiction": "a call was reported as answered first and as not answered later",
    "dialler_configuration": "the dialler refuses every request until somebody corrects its configuration",
    "late": "the news of the call, or its turn to be dialled, came too late to ring anybody automatically",
    "network": "the network failed several times in a row",
    "no_dialler": "the source names no dialler in the configuration",
    "observed": "the mode is observe, in which nothing is dialled",
    "redial_off": "redial is off",
}

REASONS = frozenset({*_REASONS, *_RULES})
"""What `cases.state_reason` may say: why a case is paused, or the rule that made it wait."""

_REFUSALS: Mapping[str, str] = {
    "agent": "the agent was not available",
    "number": "the number cannot be reached",
    "configuration": "its configuration is wrong",
    "network": "the network failed",
}

_SAYS_IT_ALL = frozenset({"agent_busy", "number_in_call", "source_unhealthy"})
"""Rules whose detail says the same once more."""

_BESIDE = {"direction": "direction", "received_at": "told at", "reference": "reference"}
"""What a decision went by that its sentence does not say."""


def rule_in_words(rule: str) -> str:
    """What a rule says; its name in words where there is nothing better."""
    return _RULES.get(rule, rule.replace("_", " "))


def reason_in_words(reason: str) -> str:
    """Why a case is paused; the word itself where there is nothing better."""
    return _REASONS.get(reason, reason.replace("_", " "))


def in_words(decision: Mapping[str, Any], *, zone: tzinfo = UTC) -> str:
    """The sentence of a row of `redial_decisions` that has the `number` of its attempt too; times in `zone`."""
    inputs = decision["inputs"] or {}
    followed = _what_and_why(decision["result"], decision["rule"], decision["detail"], inputs, zone)
    return f"{_happened(decision, inputs, zone)}: {followed}"


def decision_in_words(decision: Decision, *, hindrance: str = "") -> str:
    """What a decision that was just taken leads to; times in UTC. `hindrance` is why its case is paused though
    something should be dialled."""
    number = decision.number.key if decision.number is not None else None
    inputs = {"next_number": number, "due_at": decision.due_at, "hindrance": hindrance}
    return _what_and_why(decision.result, decision.rule, decision.detail, inputs, UTC)


def _what_and_why(result: str, rule: str, detail: str, inputs: Mapping[str, Any], zone: tzinfo) -> str:
    followed = _followed(result, inputs, zone)
    said = f" ({detail})" if detail and rule not in _SAYS_IT_ALL else ""
    if rule == "stopped":  # what happened says it already
        return followed + said
    hindrance = inputs.get("hindrance")
    but = f"; but the case is paused: {reason_in_words(hindrance)}" if hindrance else ""
    return f"{followed}, because {rule_in_words(rule)}{said}{but}"


def inputs_in_words(decision: Mapping[str, Any], *, zone: tzinfo = UTC) -> str:
    """What a decision went by beside what its sentence says: `rule …, mode …, direction …`; times in `zone`."""
    inputs = decision["inputs"] or {}
    said = [f"rule {decision['rule']}", f"mode {decision['mode']}"]
    said += [f"{word} {_spoken(inputs[name], zone)}" for name, word in _BESIDE.items() if inputs.get(name)]
    if inputs.get("live") is False:
        said.append("not reported while it happened")
    if decision["cause"] in ("deadline", "refusal") and decision.get("answer") not in (None, "", decision["detail"]):
        said.append(f"the dialler's answer: {decision['answer']}")
    return ", ".join(said)


def _happened(decision: Mapping[str, Any], inputs: Mapping[str, Any], zone: tzinfo) -> str:
    number = decision.get("number")
    of = f" to {number}" if number else ""
    match decision["cause"]:
        case "call":
            which = "the" if decision.get("attempt_id") else "a"
            ended = f" at {_spoken(inputs['ended_at'], zone)}" if inputs.get("ended_at") else ""
            return f"{which} call{of} ended{ended} as {inputs.get('disposition') or 'unknown'}"
        case "order":
            return f"an order to dial came{' for agent ' + inputs['agent'] if inputs.get('agent') else ''}"
        case "announcement":
            return f"somebody else announced a call{of}"
        case "due":
            return "the time to dial had come"
        case "anew":
            return "the case was changed, or the hub started or reloaded its configuration"
        case "refusal":
            refusal = str(inputs.get("refusal") or "")
            return f"the dialler refused the attempt{of} ({_REFUSALS.get(refusal, refusal or 'it did not say why')})"
        case "deadline":
            outcome = inputs.get("outcome")
            said = f", and the phone system says {outcome}" if outcome else ""
            return f"nothing was heard of the attempt{of} until its deadline{said}"
        case "result":
            return f"a person reported {inputs.get('result') or 'a result'}{' of the attempt' + of if of else ''}"
        case "resume":
            return "a person resumed the case"
        case "stop":
            return "a person stopped the case"
        case other:
            return str(other)


def _followed(result: str, inputs: Mapping[str, Any], zone: tzinfo) -> str:
    number = inputs.get("next_number") or "the next number"
    due = f" at {_spoken(inputs['due_at'], zone)}" if inputs.get("due_at") else " later"
    would = bool(inputs.get("hindrance"))
    match result:
        case "contacted":
            return "the case is contacted"
        case "next":
            return f"{number} {'would' if would else 'is to'} be dialled now"
        case "scheduled":
            return f"{number} {'would be' if would else 'is'} looked at again{due}"
        case "exhausted":
            return "the case is exhausted"
        case "paused":
            return "the case is paused and waits for a person"
        case "cancelled":
            return "the case is cancelled"
        case "nothing":
            return "nothing follows"
        case other:
            return str(other)


def _spoken(value: Any, zone: tzinfo) -> str:
    try:
        moment = value if isinstance(value, datetime) else datetime.fromisoformat(str(value))
    except ValueError:
        return str(value)
    return moment.astimezone(zone).strftime("%Y-%m-%d %H:%M:%S %Z") if moment.tzinfo is not None else str(value)
