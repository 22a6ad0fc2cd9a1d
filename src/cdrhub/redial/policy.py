"""The rules that let a number be dialled now, later or never: each one a pure function with a name.

They are asked in one fixed order, and the first that objects decides; its name and its reason are stored with the
decision (`cdrhub cases explain`). The preset `plain` has no limits beside the hard stop. The preset `cautious` takes
its figures from published rules, named at each constant; they are pointers, not legal advice.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, time, timedelta
from enum import StrEnum
from functools import lru_cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import phonenumbers
from phonenumbers import timezone as number_zones

from cdrhub.model.disposition import Disposition
from cdrhub.redial.model import CLOSED, Case, Number
from cdrhub.redial.window import Hours, Window

DO_NOT_CALL = "do_not_call"  #: `cases.state_reason` too, of a case that waits until a number may be called again
HARD_STOP_REQUESTS = 5  #: on one number within HARD_STOP_PERIOD, whatever any policy says
HARD_STOP_PERIOD = timedelta(hours=24)
NUMBER_IN_CALL_LOOK = timedelta(seconds=15)  #: until a number that is in a call is looked at again
AGENT_BUSY_LOOK = timedelta(seconds=15)
RINGS_WITHIN = timedelta(minutes=2)  #: of a request: the agent's telephone rings first, and is picked up
UNHEALTHY_LOOK = timedelta(seconds=30)  #: until a blind source is looked at again


class Mode(StrEnum):
    """What redial does with its decisions."""

    OFF = "off"  #: none are taken; the public facts are written
    OBSERVE = "observe"  #: taken and explained; nothing is dialled
    ON = "on"


@dataclass(frozen=True, kw_only=True, slots=True)
class Policy:
    """Limits. None, or empty, is no limit."""

    number_cap: int | None = None  #: attempts on one number of a case, over all rounds
    case_cap: int | None = None  #: attempts of a case, over all rounds
    period_cap: int | None = None  #: attempts of a case within `period`
    period: timedelta = timedelta(days=7)
    cool_down: Mapping[Disposition, timedelta] = field(default_factory=dict)  #: of a number, after such an end
    contacted_cool_down: timedelta | None = None  #: of the whole case, after a conversation
    between_numbers: timedelta | None = None  #: of the whole case, after any attempt
    window: Window | None = None


PLAIN = Policy()

CAUTIOUS = Policy(
    number_cap=3,
    # 12 CFR 1006.14(b)(2), Regulation F: no more than 7 calls in 7 days over all numbers, 7 days after a conversation
    period_cap=7,
    period=timedelta(days=7),
    contacted_cool_down=timedelta(days=7),
    cool_down={
        Disposition.BUSY: timedelta(minutes=5),  # Newfies-Dialer's and Medallia's retry interval
        Disposition.VOICEMAIL: timedelta(hours=24),  # Ofcom, persistent misuse, until 2017
        Disposition.ABANDONED: timedelta(hours=72),  # Ofcom, persistent misuse, until 2017
    },
    between_numbers=timedelta(minutes=30),  # Enigma's retry_timeout
    window=Window(hours=(Hours(start=time(8), end=time(21)),)),  # 47 CFR 64.1200(c)(1), the called party's local time
)

PRESETS: Mapping[str, Policy] = {"plain": PLAIN, "cautious": CAUTIOUS}


@dataclass(frozen=True, kw_only=True, slots=True)
class Surroundings:
    """What the rules must know beside the case: gathered by the engine in the transaction that decides."""

    now: datetime
    requests: Mapping[str, Sequence[datetime]] = field(default_factory=dict)
    """Number key → moments of requests on it within the last HARD_STOP_PERIOD, in every case of the tenant; what was
    refused, or whose agent did not pick up, is none."""
    do_not_call: Mapping[str, datetime | None] = field(default_factory=dict)
    """Number key → until when it must not be called (None: for ever), of the tenant's list."""
    held: Mapping[str, datetime] = field(default_factory=dict)
    """Number key → until when it is held because it was dialled for another case."""
    in_call: frozenset[str] = frozenset()  #: keys that some source shows queued, ringing or answered
    requested: frozenset[str] = frozenset()  #: keys that were requested for another case and may ring
    talked_at: datetime | None = None
    """When the last conversation with the person ended that was of no attempt: they called, or somebody else did."""
    asked_back: datetime | None = None  #: when the person of the case asked last to be called back
    agent_busy: bool = False  #: the agent has an attempt of another case that may ring, or is in a call
    source_healthy: bool = True
    paused_by: str = ""  #: the scope that a person paused: "all", "source lagos", "campaign x", "agent 101"


@dataclass(frozen=True, kw_only=True, slots=True)
class Objection:
    """A rule says no: until a moment (UTC), or, with None, as long as this round lasts."""

    rule: str
    until: datetime | None
    detail: str


Rule = Callable[[Case, Number, Policy, Surroundings], Objection | None]


def case_closed(case: Case, _number: Number, _policy: Policy, _around: Surroundings) -> Objection | None:
    """A case that is contacted, exhausted or cancelled is not dialled."""
    if case.state not in CLOSED:
        return None
    return Objection(rule="case_closed", until=None, detail=f"the case is {case.state}")


def do_not_call(_case: Case, number: Number, _policy: Policy, around: Surroundings) -> Objection | None:
    """A number on the tenant's list, or marked in its case, is not dialled while the entry holds."""
    if number.do_not_call:
        return Objection(rule=DO_NOT_CALL, until=None, detail="marked in the case")
    if number.key not in around.do_not_call:
        return None
    until = around.do_not_call[number.key]
    if until is not None and until <= around.now:
        return None
    return Objection(rule=DO_NOT_CALL, until=until, detail="on the do-not-call list")


def hard_stop(_case: Case, number: Number, _policy: Policy, around: Surroundings) -> Objection | None:
    """No number is requested more than HARD_STOP_REQUESTS times within HARD_STOP_PERIOD, under any policy."""
    since = around.now - HARD_STOP_PERIOD
    recent = sorted(at for at in around.requests.get(number.key, ()) if at > since)
    if len(recent) < HARD_STOP_REQUESTS:
        return None
    frees = recent[-HARD_STOP_REQUESTS] + HARD_STOP_PERIOD
    return Objection(rule="hard_stop", until=frees, detail=f"{len(recent)} requests within 24 hours")


def number_cap(case: Case, number: Number, policy: Policy, _around: Surroundings) -> Objection | None:
    """So many attempts on one number of a case, over all rounds."""
    made = sum(attempt.tried for attempt in case.attempts if attempt.number_key == number.key)
    if policy.number_cap is None or made < policy.number_cap:
        return None
    return Objection(rule="number_cap", until=None, detail=f"{made} attempts on this number")


def case_cap(case: Case, _number: Number, policy: Policy, _around: Surroundings) -> Objection | None:
    """So many attempts of a case, over all rounds."""
    made = sum(attempt.tried for attempt in case.attempts)
    if policy.case_cap is None or made < policy.case_cap:
        return None
    return Objection(rule="case_cap", until=None, detail=f"{made} attempts of this case")


def period_cap(case: Case, _number: Number, policy: Policy, around: Surroundings) -> Objection | None:
    """So many attempts of a case within a period that moves along."""
    if policy.period_cap is None:
        return None
    since = around.now - policy.period
    made = sorted(at for attempt in case.attempts if attempt.tried and (at := attempt.requested_at) and at > since)
    if len(made) < policy.period_cap:
        return None
    frees = made[-policy.period_cap] + policy.period
    return Objection(rule="period_cap", until=frees, detail=f"{len(made)} attempts within {policy.period}")


def cool_down(case: Case, number: Number, policy: Policy, around: Surroundings) -> Objection | None:
    """Time that must pass: on the number after its last result, on the case after an attempt or a conversation; but not
    after one in which the person asked to be called back (12 CFR 1006.14(b)(3)(i))."""
    waits = []
    talked, asked = around.talked_at, around.asked_back
    if talked is not None and policy.contacted_cool_down is not None and not (asked is not None and talked <= asked):
        waits.append((talked + policy.contacted_cool_down, "after a conversation"))
    for attempt in case.attempts:
        over = attempt.ended_at or attempt.requested_at
        if over is None or not attempt.tried:
            continue
        if policy.between_numbers is not None:
            waits.append((over + policy.between_numbers, "after the last attempt"))
        asked_back = asked is not None and (attempt.requested_at or over) <= asked
        if attempt.outcome is Disposition.ANSWERED and policy.contacted_cool_down is not None and not asked_back:
            waits.append((over + policy.contacted_cool_down, "after a conversation"))
        if attempt.number_key == number.key and attempt.outcome is not None and attempt.outcome in policy.cool_down:
            waits.append((over + policy.cool_down[attempt.outcome], f"after {attempt.outcome}"))
    until, why = max(waits, default=(around.now, ""))
    return Objection(rule="cool_down", until=until, detail=why) if until > around.now else None


def calling_window(case: Case, number: Number, policy: Policy, around: Surroundings) -> Objection | None:
    """Only within the calling window, in the zone of the case, else of the number, and not so shortly before its end
    that the person's telephone would ring behind it.

    A number whose zone is one of several is called only while all of them are inside; one whose zone nobody knows is
    not called.
    """
    window = policy.window
    if window is None:
        return None
    zones = zones_of(case.timezone, number.e164 or number.number)
    if not zones:
        return Objection(rule="calling_window", until=None, detail="nobody knows its zone: name the one of the case")
    until = window.ending_sooner(RINGS_WITHIN).next_inside(zones, around.now)
    if until == around.now:
        return None
    where = ", ".join(zone.key for zone in zones[:3])
    why = f"outside {window}, or about to be," if until is not None else "no common hour in"
    return Objection(rule="calling_window", until=until, detail=f"{why} {where}")


def number_in_call(case: Case, _number: Number, _policy: Policy, around: Surroundings) -> Objection | None:
    """A person of whom some source shows any number in a call is left alone until that call ends: it may be the call
    that reaches them."""
    keys = {number.key for number in case.numbers}
    if not keys & around.in_call:
        return None
    return Objection(rule="number_in_call", until=around.now + NUMBER_IN_CALL_LOOK, detail="they are in a call now")


def shared_number(_case: Case, number: Number, _policy: Policy, around: Surroundings) -> Objection | None:
    """A number that was just dialled for another case is held."""
    until = around.held.get(number.key)
    if until is None or until <= around.now:
        return None
    return Objection(rule="shared_number", until=until, detail="dialled for another case")


def number_requested(case: Case, _number: Number, _policy: Policy, around: Surroundings) -> Objection | None:
    """A person of whom any number was requested is left alone until that call was seen to end, or its deadline passed:
    it may ring unseen, also when its attempt was superseded or its case stopped meanwhile."""
    keys = {number.key for number in case.numbers}
    if not keys & around.requested and not any(attempt.may_ring(around.now) for attempt in case.attempts):
        return None
    until = around.now + NUMBER_IN_CALL_LOOK
    return Objection(rule="number_requested", until=until, detail="nobody saw the end of a call that was requested")


def agent_busy(_case: Case, _number: Number, _policy: Policy, around: Surroundings) -> Objection | None:
    """The agent has one call at a time."""
    if not around.agent_busy:
        return None
    return Objection(rule="agent_busy", until=around.now + AGENT_BUSY_LOOK, detail="the agent is in a call")


def source_unhealthy(_case: Case, _number: Number, _policy: Policy, around: Surroundings) -> Objection | None:
    """What a blind source dials nobody would see end."""
    if around.source_healthy:
        return None
    return Objection(rule="source_unhealthy", until=around.now + UNHEALTHY_LOOK, detail="the source is blind")


def redial_paused(_case: Case, _number: Number, _policy: Policy, around: Surroundings) -> Objection | None:
    """A person paused redial, or a part of it."""
    if not around.paused_by:
        return None
    return Objection(rule="redial_paused", until=around.now + UNHEALTHY_LOOK, detail=around.paused_by)


RULES: Sequence[Rule] = (
    case_closed,
    do_not_call,
    hard_stop,
    number_cap,
    case_cap,
    period_cap,
    cool_down,
    calling_window,
    number_in_call,
    shared_number,
    number_requested,
    agent_busy,
    source_unhealthy,
    redial_paused,
)
"""In the order in which they are asked. That nothing is dialled in the modes `off` and `observe` is the engine's."""


WORKED_OUT = frozenset({"period_cap", "cool_down", "calling_window", "shared_number"})
"""Rules by which a case waits for a moment that may lie days away, and that would be another under other settings."""


def objection(case: Case, number: Number, policy: Policy, around: Surroundings) -> Objection | None:
    """The first rule that objects to dialling `number` now, or None: it may be dialled."""
    for rule in RULES:
        found = rule(case, number, policy, around)
        if found is not None:
            return found
    return None


@lru_cache(maxsize=65_536)
def zones_of(case_zone: str, number: str) -> tuple[ZoneInfo, ...]:
    """The zones in which a person may be: that of the case, else those of a number with a country code (libphonenumber,
    of its whole country where it is not known there); none where nobody knows."""
    zones = []
    for name in (case_zone,) if case_zone else _zones_of_number(number):
        try:
            zones.append(ZoneInfo(name))
        except (ZoneInfoNotFoundError, ValueError):  # libphonenumber's own `Etc/Unknown`
            continue
    return tuple(zones)


def _zones_of_number(number: str) -> Sequence[str]:
    try:
        parsed = phonenumbers.parse(number)
    except phonenumbers.NumberParseException:  # without a country code
        return ()
    if phonenumbers.is_valid_number(parsed):
        return number_zones.time_zones_for_number(parsed)
    return number_zones.time_zones_for_geographical_number(parsed)
