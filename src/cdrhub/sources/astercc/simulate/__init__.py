"""A simulated asterCC: the events of a believable contact centre, and the HTTP client that pushes them."""

from __future__ import annotations

from cdrhub.sources.astercc.simulate.events import MIX, Team
from cdrhub.sources.astercc.simulate.makecall import PATH
from cdrhub.sources.astercc.simulate.pushing import simulate

__all__ = ["MIX", "PATH", "Team", "simulate"]
