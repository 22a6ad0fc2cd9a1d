"""The coverage ledger of one source: from when to when it saw its phone system, and when it was blind.

A pure account of links: it is told that a link came or went and returns the stretches of time that are thereby
complete. The hub journals them as inferences, so that `cdrhub coverage` and every report can say what was not seen.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta

from cdrhub.model.inference import Coverage, CoverageState

MAX_DETAIL = 500
SET_BACK = timedelta(days=1)
"""When the clock is set back by less than this, the next stretch begins right after the beginning of the one before,
which would otherwise seem to last. A clock that is set back by more had been far ahead."""


@dataclass(slots=True)
class CoverageLedger:
    """What one source sees at the moment. `without_links` is its state while no link is up: `blind` where the phone
    system keeps a connection, `idle` where it comes when it has something to say."""

    without_links: CoverageState
    state: CoverageState | None = None
    since: datetime | None = None
    detail: str = ""
    links: set[str] = field(default_factory=set)

    def begin(self, now: datetime) -> list[Coverage]:
        """The source starts to work."""
        return self._become(self.without_links, now, "started")

    def link_up(self, link: str, now: datetime, detail: str = "") -> list[Coverage]:
        """A link came up."""
        self.links.add(link)
        return self._become("connected", now, detail or link)

    def link_down(self, link: str, now: datetime, detail: str = "") -> list[Coverage]:
        """A link went down."""
        self.links.discard(link)
        return [] if self.links else self._become(self.without_links, now, detail or f"{link} closed")

    def quiet(self, now: datetime, detail: str) -> list[Coverage]:
        """Connected, and unusually silent."""
        return self._become("quiet", now, detail) if self.state in ("connected", "idle") else []

    def heard(self, now: datetime) -> list[Coverage]:
        """A record came: silence is over."""
        if self.state != "quiet":
            return []
        return self._become("connected" if self.links else self.without_links, now, "a record came")

    def end(self, now: datetime, detail: str) -> list[Coverage]:
        """The source stops: from now on it is blind until somebody says otherwise."""
        self.links.clear()
        return self._become("blind", now, detail)

    def _become(self, state: CoverageState, now: datetime, detail: str) -> list[Coverage]:
        if state == self.state:
            return []
        if self.since is not None and timedelta(0) <= self.since - now < SET_BACK:
            now = self.since + timedelta.resolution
        closed = []
        if self.state is not None and self.since is not None and now > self.since:
            closed.append(Coverage(state=self.state, since=self.since, until=now, detail=self.detail))
        self.state, self.since, self.detail = state, now, detail[:MAX_DETAIL]
        closed.append(Coverage(state=state, since=now, until=None, detail=self.detail))
        return closed
