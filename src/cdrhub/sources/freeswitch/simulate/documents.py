"""CDR documents of the simulated switch, as mod_json_cdr writes them with `encode-values` off: one per channel.

A document's variables are those of the channel's CHANNEL_HANGUP_COMPLETE, name for name (compared with recorded
traffic). Left out is what says nothing of a call: `callStats`, `app_log` and the extensions of the callflow.
https://developer.signalwire.com/freeswitch/FreeSWITCH-Explained/Modules/mod_json_cdr_6587399/
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import orjson

from cdrhub.sources.freeswitch.simulate.events import Event

_VARIABLE: Final = "variable_"
#: Members of a caller profile and the headers that say the same, after `Caller-` or `Other-Leg-`.
_PROFILE: Final = {
    "username": "Username",
    "dialplan": "Dialplan",
    "caller_id_name": "Caller-ID-Name",
    "ani": "ANI",
    "caller_id_number": "Caller-ID-Number",
    "network_addr": "Network-Addr",
    "rdnis": "RDNIS",
    "destination_number": "Destination-Number",
    "uuid": "Unique-ID",
    "source": "Source",
    "context": "Context",
    "chan_name": "Channel-Name",
}
_TIMES: Final = {
    "created_time": "Channel-Created",
    "profile_created_time": "Profile-Created",
    "progress_time": "Channel-Progress",
    "progress_media_time": "Channel-Progress-Media",
    "answered_time": "Channel-Answered",
    "bridged_time": "Channel-Bridged",
    "last_hold_time": "Channel-Last-Hold",
    "hold_accum_time": "Channel-Hold-Accum",
    "hangup_time": "Channel-Hangup",
    "resurrect_time": "Channel-Resurrect",
    "transfer_time": "Channel-Transfer",
}


def document(hangup: Event) -> bytes:
    """The document of the channel whose CHANNEL_HANGUP_COMPLETE this is."""
    headers = hangup.first
    variables = {name.removeprefix(_VARIABLE): value for name, value in headers.items() if name.startswith(_VARIABLE)}
    body = {
        "core-uuid": headers["Core-UUID"],
        "switchname": headers["FreeSWITCH-Switchname"],
        "channel_data": {
            "state": headers["Channel-State"],
            "direction": headers["Call-Direction"],
            "state_number": headers["Channel-State-Number"],
            "flags": "0=1;1=1;39=1;40=1",
            "caps": "1=1;2=1;3=1;4=1;5=1;6=1;8=1;9=1;10=1",
        },
        "variables": variables,
        "callflow": _callflow(headers, variables),
    }
    return orjson.dumps(body)


def _callflow(headers: Mapping[str, str], variables: Mapping[str, str]) -> list[dict[str, Any]]:
    """The caller profile that the channel ended with, and before a transfer the one that it began with."""
    last = _profile(headers, "Caller-")
    other = headers.get("Other-Type")
    if other is not None:
        last[other] = {f"{other}_caller_profiles": [_profile(headers, "Other-Leg-")]}
    times = {name: headers.get(f"Caller-{header}-Time", "0") for name, header in _TIMES.items()}
    first = variables.get("sip_req_user") if headers["Call-Direction"] == "inbound" else headers.get("Caller-RDNIS")
    moved = "transfer_history" in variables and first is not None
    flow = [{"profile_index": "2" if moved else "1", "caller_profile": last, "times": times}]
    if moved:
        before = {**_profile(headers, "Caller-"), "destination_number": first, "rdnis": ""}
        began = {**times, "profile_created_time": times["created_time"], "bridged_time": "0", "hangup_time": "0"}
        flow.append({"profile_index": "1", "caller_profile": before, "times": began})
    return flow


def _profile(headers: Mapping[str, str], side: str) -> dict[str, Any]:
    return {"aniii": "", **{name: headers.get(side + header, "") for name, header in _PROFILE.items()}}
