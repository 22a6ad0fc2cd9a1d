"""What a decoder returned, looked at before anything relies on it.

A decoder may be a stranger's. A branch that returns nothing would lose its record without a trace, a word that the
model does not have would stand in a table that promises its words, a naive time would be read in another zone on
another engine, and what the fold cannot add up takes the other records of the call along. So each is that one record's
decoder bug. What is merely too large or too long the database refuses, also for that record alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

from cdrhub.model.agent import AgentKind, AgentState, AgentWord
from cdrhub.model.call import Call, Leg
from cdrhub.model.disposition import Direction, Disposition, EndedBy, Outcome, Role, State
from cdrhub.model.update import Authority, CallUpdate, Decoded, Ignored, LegUpdate, Sequence

_KINDS: Final[Mapping[str, type]] = {
    "str": str,
    "str | None": str,
    "int | None": int,
    "datetime | None": datetime,
    "Decimal | None": Decimal,
}
_NOT_SAID: Final = frozenset({"call_key", "leg_key", "seq", "attributes", "flags", "legs", "final", "opened"})
_WORDS: Final[Mapping[str, frozenset[str]]] = {
    "direction": frozenset(Direction),
    "state": frozenset(State) - {State.WITHDRAWN},
    "disposition": frozenset(Disposition),
    "ended_by": frozenset(EndedBy),
    "recording_state": frozenset({"none", "announced", "verified", "missing", "erased"}),
    "role": frozenset(Role),
    "outcome": frozenset(Outcome),
}
_Takes = Mapping[str, type | frozenset[str]]


def _columns(made: type[Call | Leg]) -> _Takes:
    """What each column takes: values of a type, or the words of a set."""
    stated = [each for each in fields(made) if each.name not in _NOT_SAID]
    return {each.name: _WORDS.get(each.name) or _KINDS[str(each.type)] for each in stated}


_CALL: Final = _columns(Call)
_LEG: Final = _columns(Leg)
MAX_WHY: Final = 64  #: characters of why a message is ignored: the label of a metric


def checked(decoded: object, *, digest: bytes) -> Decoded:
    """What a decoder returned for the record of this digest, as it is. TypeError for what it cannot return, ValueError
    for what cannot be in it."""
    if type(decoded) is CallUpdate:
        _check_call(decoded, digest)
        return decoded
    if type(decoded) is Ignored:
        if not (isinstance(decoded.why, str) and decoded.why.isascii() and decoded.why.isprintable()):
            raise TypeError(f"`why` of Ignored is a short constant of ASCII letters, not {_shown(decoded.why)}")
        if len(decoded.why) > MAX_WHY:
            raise ValueError(f"`why` of Ignored has at most {MAX_WHY} characters")
        if decoded.warning is not None:
            _demand("warning", decoded.warning, str)
        return decoded
    if type(decoded) is AgentState:
        _check_agent(decoded)
        return decoded
    raise TypeError(f"a decoder returns a CallUpdate, an AgentState or Ignored, not {type(decoded).__name__}")


def _check_call(update: CallUpdate, digest: bytes) -> None:
    _demand("call_key", update.call_key, str)
    if not update.call_key:
        raise ValueError("`call_key` is empty")
    _demand("kind", update.kind, str)
    if update.digest != digest:  # two records with one digest are one to the fold
        raise ValueError("`digest` is not that of the record")
    if update.event_id is not None:
        _demand("event_id", update.event_id, str)
    if update.sequence is not None:
        _demand("sequence", update.sequence, Sequence)
        _demand("sequence.core", update.sequence.core, str)
        _demand("sequence.number", update.sequence.number, int)
    _demand("authority", update.authority, Authority)
    _demand("attributes", update.attributes, Mapping)
    if update.at is not None:
        _demand_moment("at", update.at)
    _demand_words("flags", update.flags, frozenset)
    _demand_words("computed", update.computed, frozenset)
    _check_values(update.values, _CALL)
    _demand("legs", update.legs, tuple)
    for leg in update.legs:
        _demand("legs", leg, LegUpdate)
        _demand("leg_key", leg.leg_key, str)
        if leg.attempt_id is not None:
            _demand("attempt_id", leg.attempt_id, str)
        if leg.attempt_at is not None:
            _demand_moment("attempt_at", leg.attempt_at)
        _check_values(leg.values, _LEG)


def _check_agent(state: AgentState) -> None:
    _demand("kind", state.kind, AgentKind)
    _demand("state", state.state, AgentWord)
    for name in ("agent_id", "state_raw"):
        _demand(name, getattr(state, name), str)
    for name in ("reason", "queue", "event_id"):
        if (text := getattr(state, name)) is not None:
            _demand(name, text, str)
    if state.sequence is not None:
        _demand("sequence", state.sequence, int)
    if state.at is not None:
        _demand_moment("at", state.at)
    _demand_words("flags", state.flags, tuple)


def _check_values(values: Mapping[str, Any], columns: _Takes) -> None:
    _demand("values", values, Mapping)
    for name, value in values.items():
        takes = columns.get(name)
        if takes is None:
            raise ValueError(f"{_shown(name)} is no column that a record can say")
        if value is None:
            continue
        if isinstance(takes, frozenset):
            if value not in takes:
                raise ValueError(f"`{name}` has no word {_shown(value)}")
        elif takes is datetime:
            _demand_moment(name, value)
        elif type(value) is not takes and (not isinstance(value, takes) or isinstance(value, bool)):
            raise TypeError(f"`{name}` is {_kind(takes)}, not {type(value).__name__}")
        elif isinstance(value, Decimal) and not value.is_finite():
            raise ValueError(f"`{name}` is no finite number")


def _demand(name: str, value: object, kind: type) -> None:
    if type(value) is kind or (kind is Mapping and type(value) is dict) or isinstance(value, kind):
        return
    raise TypeError(f"`{name}` is {_kind(kind)}, not {type(value).__name__}")


def _demand_moment(name: str, value: datetime) -> None:
    _demand(name, value, datetime)
    if value.utcoffset() is None:
        raise ValueError(f"`{name}` is a time without a zone")


def _demand_words(name: str, words: object, kind: type[frozenset[str]] | type[tuple[str, ...]]) -> None:
    _demand(name, words, kind)
    for word in words if isinstance(words, frozenset | tuple) else ():
        _demand(name, word, str)


def _kind(kind: type) -> str:
    return f"a {kind.__name__}"


def _shown(value: object) -> str:
    return repr(value)[:60]
