"""The errors of cdrhub.

::

    CdrhubError
    ├── ConfigError        the TOML file cannot be used; names the key and says what to do
    ├── AddressUnavailable a port cannot be had at the moment
    ├── ReloadFailed       a new configuration met a bug and was not taken over; the cause says where
    ├── DecodeError        one record cannot be understood; it is kept in suspense with `reason`
    ├── IntakeRefused      a record could not be made durable; the sender must keep it
    │   └── JournalFull    the journal reached its size limit
    ├── JournalError       the journal in this directory cannot be used as it is
    │   └── JournalLocked  another process holds it
    ├── StoreError         the database cannot be used as it is
    │   ├── SchemaOutdated an older (or newer) schema; names `cdrhub db upgrade`
    │   ├── StoreUnavailable  the database is away or too busy; nothing was written, try again
    │   │   └── StoreDamaged      its file contradicts itself; trying again helps when somebody has restored it
    │   └── NotFound       a record, call or source that was asked for does not exist
    ├── SourceSignal       what a source's session tells its runner
    │   ├── NotConnected   the link is down: come back after a back-off
    │   ├── EndOfInput     there is nothing more to read: do not come back
    │   └── BackOff        come back after `seconds`, not earlier (a refused password)
    └── UsageError         a command was asked for something impossible

Every message is one line that a person can act on.
"""

from __future__ import annotations

from enum import StrEnum


class Reason(StrEnum):
    """Why a record is in suspense. The words are stable: people filter by them."""

    UNPARSABLE = "unparsable"  #: not of the vendor's format at all
    WRONG_FIELD_COUNT = "wrong_field_count"  #: a 3CX line whose columns do not fit the layout
    MISSING_KEY = "missing_key"  #: the identity of the call is not in the record
    BAD_VALUE = "bad_value"  #: a value that the call cannot do without cannot be read
    TOO_LONG = "too_long"  #: over a length limit; the first part is kept
    FORBIDDEN = "forbidden"  #: refused for safety, e.g. an XML document type
    DECODER_BUG = "decoder_bug"  #: our own code raised; please report it
    STORE_REFUSED = "store_refused"  #: the database refused this one record
    POISON = "poison"  #: was in flight at three starts that did not end well


def told(error: BaseException) -> str:
    """What an error says, or what it is called where it says nothing: a stranger's may even fail at that."""
    try:
        said = str(error)
    except Exception:  # noqa: BLE001
        said = ""
    return said or type(error).__name__


class CdrhubError(Exception):
    """An error of cdrhub."""


class ConfigError(CdrhubError):
    """The configuration cannot be used."""


class AddressUnavailable(CdrhubError):
    """A port cannot be had at the moment; the message names the key and the address."""


class ReloadFailed(CdrhubError):
    """A new configuration met a bug, of a plug-in perhaps, and was not taken over: everything is as it was."""


class DecodeError(CdrhubError):
    """A record cannot be understood; it is kept in suspense until someone repairs or discards it."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


class IntakeRefused(CdrhubError):
    """A record could not be made durable in time; the sender must keep it and send it again."""


class JournalFull(IntakeRefused):
    """The journal reached its size limit; it takes records again when the database has caught up."""


class JournalError(CdrhubError):
    """The journal in this directory cannot be used as it is; the message names the directory."""


class JournalLocked(JournalError):
    """Another process holds the journal: stop that one, or give this one another data_dir."""


class StoreError(CdrhubError):
    """The database cannot be used as it is."""


class SchemaOutdated(StoreError):
    """The schema in the database is not the one of this version: run `cdrhub db upgrade`."""


class StoreUnavailable(StoreError):
    """The database is away or too busy; nothing was written. Trying again later is safe."""


class StoreDamaged(StoreUnavailable):
    """The database's file contradicts itself, or is none; nothing was written. Restore it from a backup."""


class NotFound(StoreError):
    """Nothing of that name or number exists."""


class SourceSignal(CdrhubError):
    """What a source's session tells the runner that owns its loop."""


class NotConnected(SourceSignal):
    """The link to the phone system is down; come back after a back-off."""


class EndOfInput(SourceSignal):
    """There is nothing more to read; the runner does not come back."""


class BackOff(SourceSignal):
    """The phone system refused us; come back after `seconds` and not earlier."""

    seconds = 0.0  # of a kind of a stranger's own that does not say

    def __init__(self, seconds: float, why: str) -> None:
        super().__init__(why)
        self.seconds = float(seconds)  # whoever hands over a header as it came is told where he did


class UsageError(CdrhubError):
    """A command was asked for something that cannot be done; the message says what can."""
