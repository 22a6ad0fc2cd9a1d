"""What one client of the Event Socket asked to hear, with the quirks of the real mod_event_socket.c.

Every word after CUSTOM is a subclass, also when it is the name of an event; unknown words are passed over in silence;
CUSTOM without a subclass hears none of ours. https://github.com/signalwire/freeswitch
"""

from __future__ import annotations

from typing import Final

from cdrhub.sources.freeswitch.simulate.events import Event

FORMATS: Final = ("plain", "json")  #: `xml` is not simulated

_EVENT_NAMES: Final = (
    "CUSTOM CLONE CHANNEL_CREATE CHANNEL_DESTROY CHANNEL_STATE CHANNEL_CALLSTATE CHANNEL_ANSWER CHANNEL_HANGUP "
    "CHANNEL_HANGUP_COMPLETE CHANNEL_EXECUTE CHANNEL_EXECUTE_COMPLETE CHANNEL_HOLD CHANNEL_UNHOLD CHANNEL_BRIDGE "
    "CHANNEL_UNBRIDGE CHANNEL_PROGRESS CHANNEL_PROGRESS_MEDIA CHANNEL_OUTGOING CHANNEL_PARK CHANNEL_UNPARK "
    "CHANNEL_APPLICATION CHANNEL_ORIGINATE CHANNEL_UUID API LOG INBOUND_CHAN OUTBOUND_CHAN STARTUP SHUTDOWN PUBLISH "
    "UNPUBLISH TALK NOTALK SESSION_CRASH MODULE_LOAD MODULE_UNLOAD DTMF MESSAGE PRESENCE_IN NOTIFY_IN PRESENCE_OUT "
    "PRESENCE_PROBE MESSAGE_WAITING MESSAGE_QUERY ROSTER CODEC BACKGROUND_JOB DETECTED_SPEECH DETECTED_TONE "
    "PRIVATE_COMMAND HEARTBEAT TRAP ADD_SCHEDULE DEL_SCHEDULE EXE_SCHEDULE RE_SCHEDULE RELOADXML NOTIFY PHONE_FEATURE "
    "PHONE_FEATURE_SUBSCRIBE SEND_MESSAGE RECV_MESSAGE REQUEST_PARAMS CHANNEL_DATA GENERAL COMMAND SESSION_HEARTBEAT "
    "CLIENT_DISCONNECTED SERVER_DISCONNECTED SEND_INFO RECV_INFO RECV_RTCP_MESSAGE SEND_RTCP_MESSAGE CALL_SECURE NAT "
    "RECORD_START RECORD_STOP PLAYBACK_START PLAYBACK_STOP CALL_UPDATE FAILURE SOCKET_DATA MEDIA_BUG_START "
    "MEDIA_BUG_STOP CONFERENCE_DATA_QUERY CONFERENCE_DATA CALL_SETUP_REQ CALL_SETUP_RESULT CALL_DETAIL DEVICE_STATE "
    "TEXT SHUTDOWN_REQUESTED ALL"
)
EVENT_NAMES: Final = frozenset(_EVENT_NAMES.split())  #: of switch_event.c
_ALL: Final = "ALL"
_CUSTOM: Final = "CUSTOM"


class Subscription:
    """The events, subclasses and filters of one client."""

    def __init__(self) -> None:
        self.format = "plain"
        self.active = False  #: whether anything was ever asked for; without it there is nothing to stop
        self._names: set[str] = set()
        self._subclasses: set[str] = set()
        self._filters: list[tuple[str, str]] = []

    def event(self, words: list[str]) -> str:
        """`event [plain|json] NAME… [CUSTOM SUBCLASS…]`: the Reply-Text."""
        if words and words[0].lower() == "xml":
            return "-ERR xml is not simulated"
        if words and words[0].lower() in FORMATS:
            self.format = words.pop(0).lower()
        names, subclasses = _named(words)
        if not names:
            return "-ERR no keywords supplied"
        self._names |= names
        self._subclasses |= subclasses
        self.active = True
        return f"+OK event listener enabled {self.format}"

    def nixevent(self, words: list[str]) -> str:
        """`nixevent NAME… [CUSTOM SUBCLASS…]`: the Reply-Text. CUSTOM itself stays, its subclasses go."""
        names, subclasses = _named(words)
        if not names:
            return "-ERR no keywords supplied"
        if _ALL in names:
            self._names.clear()
        elif _ALL in self._names:
            self._names = set(EVENT_NAMES - {_ALL})
        self._names -= names - {_CUSTOM}
        self._subclasses -= subclasses
        self.active = True
        return "+OK events nixed"

    def noevents(self) -> str:
        """`noevents`: the Reply-Text."""
        if not self.active:
            return "-ERR not listening for events"
        self._names.clear()
        self._subclasses.clear()
        self.active = False
        return "+OK no longer listening for events"

    def filter(self, words: list[str]) -> str:
        """`filter HEADER VALUE`, `filter delete HEADER [VALUE]`, `filter delete all`: the Reply-Text. A value is
        compared whole; regular expressions are not simulated."""
        deletes = bool(words) and words[0].lower() == "delete"
        if words and words[0].lower() in ("delete", "add"):
            words = words[1:]
        header, value = words[0] if words else "", " ".join(words[1:])
        if deletes and header:
            self._filters = [
                (name, text)
                for name, text in self._filters
                if header.lower() != "all" and (name.lower() != header.lower() or value not in ("", text))
            ]
            return f"+OK filter deleted. [{header}][{value}]"
        if not header or not value:
            return "-ERR invalid syntax"
        self._filters.append((header, value))
        return f"+OK filter added. [{header}]=[{value}]"

    def wants(self, event: Event) -> bool:
        """Whether this client hears `event`."""
        if not self.active:
            return False
        name = event.get("Event-Name")
        if _ALL not in self._names:
            if name not in self._names:
                return False
            if name == _CUSTOM and event.get("Event-Subclass") not in self._subclasses:
                return False
        return not self._filters or any(event.get(header).lower() == text.lower() for header, text in self._filters)


def _named(words: list[str]) -> tuple[set[str], set[str]]:
    """The known events among `words`, and what follows CUSTOM."""
    names: set[str] = set()
    subclasses: set[str] = set()
    for word in words:
        if _CUSTOM in names:
            subclasses.add(word)
        elif word.upper() in EVENT_NAMES:
            names.add(word.upper())
    return names, subclasses
