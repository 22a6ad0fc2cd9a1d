"""What redial goes by: the table `[redial]` as the engine needs it."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta

from cdrhub.redial.decision import Timing
from cdrhub.redial.matching import LATE
from cdrhub.redial.policy import PLAIN, Mode, Policy


@dataclass(frozen=True, kw_only=True, slots=True)
class Settings:
    """Everything but the diallers themselves."""

    mode: Mode = Mode.OFF
    policy: Policy = PLAIN
    timing: Timing = field(default_factory=Timing)
    match_start: timedelta = LATE
    shared_hold: timedelta = timedelta(hours=1)
    first_sign: timedelta = timedelta(seconds=120)  #: until a source that reports progress must have shown the call
    attempt_timeout: timedelta = timedelta(hours=4)  #: until one that speaks only at the end must have
    result_wait: timedelta = timedelta(0)  #: that the decision of an ended attempt waits for a person's report
    manual_calls_redial: bool = False  #: an agent's own unanswered call leads to the next number as well
    hangup_superseded: bool = False
