"""What decoders share to read a state of an agent."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from cdrhub.errors import DecodeError, Reason
from cdrhub.model.agent import AgentKind, AgentState, AgentWord
from cdrhub.model.update import MAX_TEXT, MAX_TIME, MIN_TIME, bounded_key, clean_text
from cdrhub.sources.digits import SEQUENCE_DIGITS, whole


def agent_state(
    *,
    kind: AgentKind,
    agent: str | None,
    word: str | None,
    words: Mapping[str, AgentWord],
    at: datetime | None,
    reason: str | None = None,
    queue: str | None = None,
    sequence: str | None = None,
    event_id: str | None = None,
    flags: set[str] | None = None,
) -> AgentState:
    """The state that the vendor's `word` stands for in `words`, an unknown one flagged `unmapped_word`.

    Empty text says nothing; text is cleaned and cut as that of a call is. `at` is UTC. Raises DecodeError where the
    message names no agent or no state.
    """
    said = flags if flags is not None else set()
    agent_id = _text(agent, said)
    raw = _text(word, said)
    if agent_id is None or raw is None:
        missing = "his id" if raw else "a word for it"
        raise DecodeError(Reason.MISSING_KEY, f"the {kind} of an agent without {missing}")
    state = words.get(raw)
    if state is None:
        said.add("unmapped_word")
    if at is not None and not MIN_TIME <= at < MAX_TIME:
        said.add("value_dropped")
        at = None
    return AgentState(
        kind=kind,
        agent_id=agent_id,
        state=state or AgentWord.UNKNOWN,
        state_raw=raw,
        at=at,
        reason=_text(reason, said),
        queue=_text(queue, said),
        sequence=whole(sequence, digits=SEQUENCE_DIGITS),
        flags=tuple(sorted(said)),
        event_id=bounded_key(event_id) if event_id is not None else None,
    )


def _text(text: str | None, flags: set[str]) -> str | None:
    return clean_text((text or "").strip(), flags, limit=MAX_TEXT) or None
