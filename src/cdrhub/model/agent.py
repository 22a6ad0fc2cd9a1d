"""A state of an agent: what one message says of somebody who takes calls, apart from any call.

Figures such as occupancy, handling ÷ (handling + waiting), need to know when an agent waited, worked after a call or
was on a break; no call's record tells. Three *kinds* are kept apart because they go on side by side, each until the
next of its kind: whether the agent is there (status), what happens to him at the moment (state), and which work he has
set himself to take (mode). The vendor's word is kept beside ours.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from cdrhub.model.immutable import immutable


class AgentKind(StrEnum):
    """What a message tells of an agent."""

    STATUS = "status"  #: whether he is there for calls, by his own or a supervisor's will
    STATE = "state"  #: what happens to him while he is there
    MODE = "mode"  #: what he has chosen to take; says nothing of whether he is there


class AgentWord(StrEnum):
    """States of agents. docs/model.md tells which word of which vendor becomes which."""

    # status
    AVAILABLE = "available"  #: logged in and not on a break
    ON_BREAK = "on_break"
    LOGGED_OUT = "logged_out"
    # state
    WAITING = "waiting"  #: free for the next call
    RECEIVING = "receiving"  #: a call is offered to him
    IN_CALL = "in_call"
    WRAP_UP = "wrap_up"  #: work after the call
    RESERVED = "reserved"  #: chosen for a call that is not offered yet
    IDLE = "idle"  #: there, and not to be given a call until he asks for one
    # mode
    WORK_ALL = "work_all"
    WORK_INBOUND = "work_inbound"
    WORK_OUTBOUND = "work_outbound"
    WRAP_UP_OFF = "wrap_up_off"  #: no work after a call
    WRAP_UP_AFTER_RING = "wrap_up_after_ring"  #: after a call that rang, answered or not
    WRAP_UP_AFTER_ANSWER = "wrap_up_after_answer"
    # any kind
    UNKNOWN = "unknown"  #: the system does not know, or its word is not known here (flagged `unmapped_word`)


@immutable
class AgentState:
    """One observation of one agent. Its texts are storable as they are (`sources/agents.py` makes them so).

    It holds from `at` to the next one of the same agent and kind (where `queue` is set: and queue). Two that say the
    same one after the other are no change.
    """

    kind: AgentKind
    agent_id: str  #: as in `calls.agent_id` of the same source
    state: AgentWord
    state_raw: str  #: the vendor's word
    at: datetime | None = None  #: UTC; None where the message does not say: the time of its receipt stands in then
    reason: str | None = None  #: why, where the vendor says
    queue: str | None = None  #: where it holds for one queue only
    sequence: int | None = None  #: the vendor's own order, for what has the same time
    flags: tuple[str, ...] = ()  #: sorted, as in calls.flags
    event_id: str | None = None  #: the vendor's id of the event, whatever its encoding; None: the record is the event
