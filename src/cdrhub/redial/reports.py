"""What a person reports of an attempt, and whether anything follows from it. Pure.

A report often comes when its case has gone on without it. It never opens again what somebody stopped or what another
call has reached, and it skips no number that is waited for.
"""

from __future__ import annotations

from collections.abc import Mapping

from cdrhub.model.disposition import Disposition
from cdrhub.redial.decision import Decision, Result
from cdrhub.redial.model import Attempt, AttemptState, Case, CaseState, Number, PlacedBy, Reported

OUTCOMES: Mapping[Reported, Disposition] = {
    Reported.VOICEMAIL: Disposition.VOICEMAIL,
    Reported.WRONG_PARTY: Disposition.UNKNOWN,
}
"""What a report makes of an attempt's outcome; after all others the person was spoken to, or the record stands."""

_GOING_ON = frozenset({Reported.WRONG_PARTY, Reported.VOICEMAIL})
"""Reports after which the next number is dialled: if the attempt is the one that the case stands at."""

CALL_BACK = "callback"  #: the rule of a decision
AMBIGUOUS = "ambiguous"  #: `cases.state_reason` of a person who was reached, nobody can tell for which case


def what_hinders(case: Case, attempt: Attempt, result: Reported) -> Decision | None:
    """Why a report of `attempt`, as it was before, changes nothing of its case. None: nothing hinders it."""
    if result is Reported.DO_NOT_CALL:
        return None
    if attempt.round != case.round:
        return Decision(
            result=Result.NOTHING, rule="earlier_round", detail=f"round {attempt.round} of {case.round}, {result}"
        )
    if result not in _GOING_ON | {Reported.CALLBACK}:
        return None
    if case.state is CaseState.CANCELLED:
        return Decision(result=Result.NOTHING, rule="case_closed", detail=f"the case is {case.state}")
    if result is Reported.CALLBACK:
        return None
    if case.closed and not (attempt.state is AttemptState.ENDED and attempt.outcome is Disposition.ANSWERED):
        return Decision(result=Result.NOTHING, rule="case_closed", detail=f"the case is {case.state}")
    if attempt.state is AttemptState.SUPERSEDED or case.state_reason == AMBIGUOUS:
        return Decision(result=Result.NOTHING, rule="superseded")
    later = [one for one in case.of_round() if one.id > attempt.id and one.placed_by is not PlacedBy.AGENT]
    if any(one.state is not AttemptState.CANCELLED for one in later):
        return Decision(result=Result.NOTHING, rule="went_on")
    return None


def number_of(attempt: Attempt) -> Number:
    """The number of an attempt that its case does not have."""
    e164 = attempt.key if attempt.key.startswith("+") else None
    return Number(position=0, number=attempt.key, key=attempt.key, e164=e164)
