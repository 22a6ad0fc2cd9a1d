"""asterCC's events of agents: login, break, work after a call, and what an agent has chosen to take.

The vendor documents none of them. What they mean is what the vendor's own agent panel makes of them
(https://github.com/Sonicwell/astercc-chrome-plugin, js/script.js): `login` and `logoff` are of one agent group, and so
are the modes; `acwring`, `acwanswer` and `acwoff` choose after which calls work follows, `hangupacw` begins that work
and `acwstop` ends it.
"""

from __future__ import annotations

from collections.abc import Mapping

from cdrhub.model.agent import AgentKind, AgentState, AgentWord
from cdrhub.sources.agents import agent_state
from cdrhub.sources.astercc.times import event_time

_WORDS: Mapping[AgentKind, Mapping[str, AgentWord]] = {
    AgentKind.STATUS: {
        "login": AgentWord.AVAILABLE,
        "nopaused": AgentWord.AVAILABLE,
        "paused": AgentWord.ON_BREAK,
        "logoff": AgentWord.LOGGED_OUT,
    },
    AgentKind.STATE: {"hangupacw": AgentWord.WRAP_UP, "acwstop": AgentWord.WAITING},
    AgentKind.MODE: {
        "acwoff": AgentWord.WRAP_UP_OFF,
        "acwring": AgentWord.WRAP_UP_AFTER_RING,
        "acwanswer": AgentWord.WRAP_UP_AFTER_ANSWER,
        "workwayall": AgentWord.WORK_ALL,
        "workwaydialin": AgentWord.WORK_INBOUND,
        "workwaydialout": AgentWord.WORK_OUTBOUND,
    },
}
_KIND_OF = {word: kind for kind, words in _WORDS.items() for word in words}


def of_an_agent(event: str) -> bool:
    """Whether an event of that name, in lower case, speaks of an agent rather than of a call."""
    return event in _KIND_OF


def read_agent_state(fields: Mapping[str, str], *, timezone: str) -> AgentState:
    """What an event says of its agent; `timezone` is that of the server. Raises DecodeError without `agentno`."""
    event = fields["event"].strip().lower()
    kind = _KIND_OF[event]
    flags: set[str] = set()
    return agent_state(
        kind=kind,
        agent=fields.get("agentno"),
        word=event,
        words=_WORDS[kind],
        at=event_time(fields.get("eventTime", ""), timezone=timezone, flags=flags),
        queue=fields.get("AgentGroupId"),
        sequence=fields.get("eventid", "").strip(),
        flags=flags,
    )
