"""`callcenter::info` events of mod_callcenter that speak of an agent: his status, his state, his missed calls.

The words are those of `AGENT_STATUS_CHART` and `AGENT_STATE_CHART` in `mod_callcenter.c` of
https://github.com/signalwire/freeswitch. The wrap-up time of mod_callcenter is no state of its own: the agent is
`Waiting` and is not offered a call before it is over.
"""

from __future__ import annotations

from collections.abc import Mapping

from cdrhub.model.agent import AgentKind, AgentState, AgentWord
from cdrhub.sources.agents import agent_state
from cdrhub.sources.freeswitch.channel import microseconds
from cdrhub.sources.freeswitch.headers import Headers

STATUSES: Mapping[str, AgentWord] = {
    "Available": AgentWord.AVAILABLE,
    "Available (On Demand)": AgentWord.AVAILABLE,
    "On Break": AgentWord.ON_BREAK,
    "Logged Out": AgentWord.LOGGED_OUT,
    "Unknown": AgentWord.UNKNOWN,
}
STATES: Mapping[str, AgentWord] = {
    "Waiting": AgentWord.WAITING,
    "Receiving": AgentWord.RECEIVING,
    "In a queue call": AgentWord.IN_CALL,
    "Idle": AgentWord.IDLE,
    "Reserved": AgentWord.RESERVED,
    "Unknown": AgentWord.UNKNOWN,
}
#: By CC-Action: the kind, the header with the word, what the words mean, and why it is so.
ACTIONS: Mapping[str, tuple[AgentKind, str, Mapping[str, AgentWord], str | None]] = {
    "agent-status-change": (AgentKind.STATUS, "CC-Agent-Status", STATUSES, None),
    "agent-state-change": (AgentKind.STATE, "CC-Agent-State", STATES, None),
    "agent-max-no-answer": (AgentKind.STATUS, "CC-Agent-No-Answer-Status", STATUSES, "max_no_answer"),
}


def read_agent_state(action: str, headers: Headers) -> AgentState:
    """What an event of ACTIONS says of its agent. Raises DecodeError without CC-Agent or the header with the word."""
    kind, header, words, reason = ACTIONS[action]
    get = headers.get
    return agent_state(
        kind=kind,
        agent=get("CC-Agent"),
        word=get(header),
        words=words,
        at=microseconds(get("Event-Date-Timestamp")),
        reason=reason,
        queue=get("CC-Queue"),
        sequence=get("Event-Sequence"),
    )
