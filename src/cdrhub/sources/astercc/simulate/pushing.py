"""The HTTP client of a simulated asterCC: every event is pushed once, and what comes of it is counted."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

from cdrhub.sources.astercc.simulate.events import Team
from cdrhub.sources.astercc.simulate.makecall import PATH, MakeCall
from cdrhub.sources.simulation.dialled import Ordering
from cdrhub.sources.simulation.pushing import HINTS, push_calls, pushing
from cdrhub.sources.simulation.simulation import Simulation

#: That an answer is waited for. The document names no limit; an event is not sent again, so a short one loses it.
ANSWER_SECONDS: Final = 60.0

_HINTS: Final[Mapping[int, str]] = MappingProxyType(
    {**HINTS, 503: ": the hub cannot keep events at the moment; its log says why"}
)


async def simulate(
    simulation: Simulation,
    *,
    url: str,
    timezone: str = "UTC",
    broken: float = 0.0,
    ordering: Ordering | None = None,
    trouble: Callable[[str], None] = lambda _: None,
) -> None:
    """Push what the simulated centre makes to `url`, until it is over.

    With `ordering` MAKECALL is there as long as the centre works, and calls that are ordered are pushed as well. A
    call's entry goes into the ledger when its last event leaves, acknowledged or not: what the hub did not take is
    missing there. `timezone` and `broken` are those of `Team`. `trouble` is told why an event was not
    acknowledged. Cancelling drops what is under way.
    """
    team = Team(simulation.centre, timezone=timezone, broken=broken)
    async with pushing(
        url,
        sent=simulation.sent,
        acknowledges=_acknowledges,
        answer_seconds=ANSWER_SECONDS,
        hints=_HINTS,
        trouble=trouble,
    ) as push:
        await push_calls(
            simulation,
            push,
            render=team.render,
            ordering=ordering,
            path=PATH,
            handler=lambda ordered: MakeCall(ordered).handle,
        )


def _acknowledges(status: int, body: bytes) -> bool:
    return (status, body) == (200, b"OK")
