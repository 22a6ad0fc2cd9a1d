"""FreeSWITCH's words in the words of the model.

Hang-up causes are those of `switch_types.h` (`switch_call_cause_t`: ITU-T Q.850 and FreeSWITCH's own), cancel reasons
those of `mod_callcenter.c`. A word that is not here is kept, and flagged `unmapped_word`.
"""

from __future__ import annotations

from cdrhub.model.disposition import Disposition, Outcome

_FAILED = (
    "UNALLOCATED_NUMBER NO_ROUTE_TRANSIT_NET NO_ROUTE_DESTINATION CHANNEL_UNACCEPTABLE NUMBER_CHANGED "
    "REDIRECTION_TO_NEW_DESTINATION EXCHANGE_ROUTING_ERROR DESTINATION_OUT_OF_ORDER INVALID_NUMBER_FORMAT "
    "FACILITY_REJECTED NORMAL_UNSPECIFIED NORMAL_CIRCUIT_CONGESTION NETWORK_OUT_OF_ORDER NORMAL_TEMPORARY_FAILURE "
    "SWITCH_CONGESTION ACCESS_INFO_DISCARDED REQUESTED_CHAN_UNAVAIL PRE_EMPTED FACILITY_NOT_SUBSCRIBED "
    "OUTGOING_CALL_BARRED INCOMING_CALL_BARRED BEARERCAPABILITY_NOTAUTH BEARERCAPABILITY_NOTAVAIL SERVICE_UNAVAILABLE "
    "BEARERCAPABILITY_NOTIMPL CHAN_NOT_IMPLEMENTED FACILITY_NOT_IMPLEMENTED SERVICE_NOT_IMPLEMENTED "
    "INVALID_CALL_REFERENCE INCOMPATIBLE_DESTINATION INVALID_MSG_UNSPECIFIED MANDATORY_IE_MISSING "
    "MESSAGE_TYPE_NONEXIST WRONG_MESSAGE IE_NONEXIST INVALID_IE_CONTENTS WRONG_CALL_STATE RECOVERY_ON_TIMER_EXPIRE "
    "MANDATORY_IE_LENGTH_ERROR PROTOCOL_ERROR INTERWORKING CRASH SYSTEM_SHUTDOWN USER_NOT_REGISTERED GATEWAY_DOWN "
    "INVALID_GATEWAY INVALID_URL INVALID_PROFILE SRTP_READ_ERROR MEDIA_TIMEOUT DOES_NOT_EXIST_ANYWHERE NOT_ACCEPTABLE "
    "NO_IDENTITY BAD_IDENTITY_INFO UNSUPPORTED_CERTIFICATE INVALID_IDENTITY STALE_DATE REJECT_ALL"
)

#: What became of a leg that nobody answered, by its hang-up cause.
UNANSWERED_BY_CAUSE: dict[str, Outcome] = {
    "NO_ANSWER": Outcome.NO_ANSWER,
    "NO_USER_RESPONSE": Outcome.NO_ANSWER,
    "SUBSCRIBER_ABSENT": Outcome.NO_ANSWER,
    "ALLOTTED_TIMEOUT": Outcome.NO_ANSWER,
    "PROGRESS_TIMEOUT": Outcome.NO_ANSWER,
    "USER_BUSY": Outcome.BUSY,
    "BUSY_EVERYWHERE": Outcome.BUSY,
    "CALL_REJECTED": Outcome.REJECTED,
    "DECLINE": Outcome.REJECTED,
    "UNWANTED": Outcome.REJECTED,
    "ORIGINATOR_CANCEL": Outcome.CANCELLED,
    "NORMAL_CLEARING": Outcome.CANCELLED,
    "MANAGER_REQUEST": Outcome.CANCELLED,
    "BLIND_TRANSFER": Outcome.CANCELLED,
    "ATTENDED_TRANSFER": Outcome.CANCELLED,
    "LOSE_RACE": Outcome.LOST_RACE,
    "PICKED_OFF": Outcome.LOST_RACE,
    **dict.fromkeys(_FAILED.split(), Outcome.FAILED),
}

#: What became of a pass through a queue, by CC-Cancel-Reason (channel variable cc_cancel_reason).
QUEUE_BY_CANCEL_REASON: dict[str, Outcome] = {
    "TIMEOUT": Outcome.TIMEOUT,
    "NO_AGENT_TIMEOUT": Outcome.NO_AGENT,
    "BREAK_OUT": Outcome.ABANDONED,
    "EXIT_WITH_KEY": Outcome.EXIT_KEY,
    "NONE": Outcome.ABANDONED,
}

DISPOSITION_BY_OUTCOME: dict[Outcome, Disposition] = {
    Outcome.NO_ANSWER: Disposition.NO_ANSWER,
    Outcome.BUSY: Disposition.BUSY,
    Outcome.REJECTED: Disposition.REJECTED,
    Outcome.CANCELLED: Disposition.CANCELLED,
    Outcome.LOST_RACE: Disposition.CANCELLED,
    Outcome.FAILED: Disposition.FAILED,
}

#: callcenter::info actions that speak of agents' settings or of a queue's length, not of a call.
NOT_OF_A_CALL: dict[str, str] = {
    "members-count": "members_count",
    "agent-contact-change": "agent_setting",
    "agent-add": "agent_setting",
}
