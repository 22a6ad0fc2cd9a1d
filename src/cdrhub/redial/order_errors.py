"""Why an order cannot be carried out. Each says what to do; nothing of the order was done."""

from __future__ import annotations

from cdrhub.errors import CdrhubError, NotFound


class OrderError(CdrhubError):
    """The order cannot be carried out."""


class NoSuchCase(OrderError, NotFound):
    """There is no case of that code."""


class NoSuchAttempt(OrderError, NotFound):
    """There is no attempt of that id."""


class CaseBusy(OrderError):
    """An attempt of the case, or of its agent, is live: wait for its end or stop the case."""


class AmbiguousCode(OrderError):
    """Several tenants have a case of that code: say which tenant."""


class RedialOff(OrderError):
    """Redial is off: set `redial.mode` to "on", or to "observe" to see what it would do."""


class NumberUnusable(OrderError):
    """A text is no telephone number."""
