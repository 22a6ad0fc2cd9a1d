"""The errors of the Event Socket.

::

    NotConnected           the link is down
    ├── NotSent            and the command has not left
    ├── OutOfStep          what arrives is no stream of frames
    └── WentSilent         nothing was heard for longer than the switch's heartbeat allows; knows since when
    CdrhubError
    ├── Refused            the switch does not want us: the password, or its access list
    ├── CommandRefused     a command that cannot be sent as it is
    └── CommandFailed      the switch answered a command with an error
"""

from __future__ import annotations

from datetime import datetime

from cdrhub.errors import CdrhubError, NotConnected

MAX_SHOWN = 200  #: characters of the switch's words in an error's message


class NotSent(NotConnected):
    """There is no link to the switch, so that a command has not left: the switch has not carried it out."""


class OutOfStep(NotConnected):
    """What arrives is no stream of frames: nothing after it can be trusted, the link is of no use any more."""


class WentSilent(NotConnected):
    """Nothing was heard since `since` (aware), although we were reading: what happened after it may be lost."""

    def __init__(self, why: str, *, since: datetime) -> None:
        super().__init__(why)
        self.since = since


class Refused(CdrhubError):
    """The switch refuses us; a person must correct its access list or our password."""


class CommandRefused(CdrhubError):
    """A command that cannot be sent as it is: it holds a line break or NUL, or is too long or empty."""


class CommandFailed(CdrhubError):
    """The switch answered a command with an error; `answer` is what it said, e.g. `-ERR no such channel`."""

    def __init__(self, answer: str) -> None:
        super().__init__(f"the switch answered {answer[:MAX_SHOWN]!r}")
        self.answer = answer
