"""`callcenter::info` events of mod_callcenter that speak of an agent: his status, his state, his missed calls.

The words are those of `AGENT_STATUS_CHART` and `AGENT_STATE_CHART` in `mod_callcenter.c` of
https://github.com/signalwire/freeswitch. The wrap-up time of mod_callcenter is no state of its own: the agent is
`Waiting` and is not offered a call before it is over.

What no event told, the list of agents does: see `AgentsHeard`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any

from cdrhub.model.agent import AgentKind, AgentState, AgentWord
from cdrhub.model.inference import agent_inference
from cdrhub.sources.agents import agent_state
from cdrhub.sources.freeswitch.channel import microseconds
from cdrhub.sources.freeswitch.headers import Headers
from cdrhub.sources.freeswitch.listings import ListedAgent

MAX_AGENTS = 10_000  #: whose last words are remembered; a switch with more has them told anew now and then
RECONCILED = "reconciled"  #: flag of what the switch said when it was asked, and not by an event

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


def read_agent_state(action: str, headers: Headers, *, event_id: str | None) -> AgentState:
    """What an event of ACTIONS says of its agent; the same event as plain text and as JSON has one `event_id`. Raises
    DecodeError without CC-Agent or the header with the word."""
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
        event_id=event_id,
    )


class AgentsHeard:
    """The last known words of each agent on one connection, from events or from asking the switch.

    A change that an event told is not told again. Where the list of agents differs, an event was missed: the change
    becomes an inference (model/inference.py) that depends on the list alone, so that two hubs, and one that comes back,
    write the same.
    """

    def __init__(self) -> None:
        self._words: dict[tuple[str, AgentKind], str] = {}

    def note(self, headers: Headers) -> None:
        """Note what an event says, if it is of an agent."""
        if headers.get("Event-Name") != "CUSTOM":
            return  # the first header tells: looking for one that is not there reads an event to its end
        known = ACTIONS.get(headers.get("CC-Action") or "")
        if known is None:
            return
        kind, header, _, _ = known
        agent, word = headers.get("CC-Agent"), headers.get(header)
        if agent is not None and word is not None:
            self._put((agent, kind), word)

    def so_far(self) -> Mapping[tuple[str, AgentKind], str]:
        """What was heard until now: to be taken before the switch is asked."""
        return dict(self._words)

    def missed(
        self,
        listed: Iterable[ListedAgent],
        *,
        before: Mapping[tuple[str, AgentKind], str],
        lately: Callable[[datetime], bool],
    ) -> list[dict[str, Any]]:
        """The inferences for what the list says and no event told; they count as heard from now on.

        `before` is what had been heard before the list was made: agents heard of since then are left out, for the
        events know more than the list. So are changes made `lately`, of which an event may still tell.
        """
        found = []
        for agent in listed:
            for state, after in _states(agent):
                key = (agent.name, state.kind)
                moment = state.at or after
                recent = moment is not None and lately(moment)
                if not recent and self._words.get(key) == before.get(key) != state.state_raw:
                    self._put(key, state.state_raw)
                    found.append(agent_inference(state, after=None if state.at else after))
        return found

    def _put(self, key: tuple[str, AgentKind], word: str) -> None:
        if len(self._words) >= MAX_AGENTS and key not in self._words:
            self._words.clear()
        self._words[key] = word


def _states(agent: ListedAgent) -> list[tuple[AgentState, datetime | None]]:
    """What a row of the list says, each with the last thing known to have been before it.

    The list has the moment of a status; that of a state only where it is that of a call's offer, begin or end. An agent
    whose status was never set and who never had a call says nothing: that is how the switch read him from its file.
    """
    moments = [at for at in (agent.status_at, agent.offered_at, agent.bridged_at, agent.freed_at) if at is not None]
    last = max(moments, default=None)
    began = {"Receiving": agent.offered_at, "In a queue call": agent.bridged_at, "Waiting": agent.freed_at}
    found: list[tuple[AgentState, datetime | None]] = []
    for kind, word, words, at in (
        (AgentKind.STATUS, agent.status, STATUSES, agent.status_at),
        (AgentKind.STATE, agent.state, STATES, began.get(agent.state)),
    ):
        if not word or last is None or (kind is AgentKind.STATUS and at is None):
            continue
        known = at if kind is AgentKind.STATUS or at == last else None
        found.append(
            (agent_state(kind=kind, agent=agent.name, word=word, words=words, at=known, flags={RECONCILED}), last)
        )
    return found
