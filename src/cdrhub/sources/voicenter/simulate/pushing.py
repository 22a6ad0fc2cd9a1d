"""The HTTP client of a simulated Voicenter account: it sends again what was not acknowledged."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

from cdrhub.sources.simulation.dialled import Ordering
from cdrhub.sources.simulation.pushing import HINTS, push_calls, pushing
from cdrhub.sources.simulation.simulation import Simulation
from cdrhub.sources.voicenter.simulate.account import Account
from cdrhub.sources.voicenter.simulate.clicks import PATH, Click2Call

ANSWER_SECONDS: Final = 5.0  #: that an answer is waited for; the vendor: "a few seconds"
SENDS: Final = 5  #: attempts at one push
RESEND_SECONDS: Final = 1.0

_HINTS: Final[Mapping[int, str]] = MappingProxyType(
    {
        **HINTS,
        413: ": the push is longer than `max_body`",
        503: ": the hub cannot keep records at the moment; its log says why",
    }
)


async def simulate(
    simulation: Simulation,
    account: Account,
    *,
    url: str,
    resend_seconds: float = RESEND_SECONDS,
    ordering: Ordering | None = None,
    trouble: Callable[[str], None] = lambda _: None,
) -> None:
    """Push what the simulated centre makes to `url`, until it is over and every push was answered or given up.

    With `ordering` Click2Call is there as long as the centre works, and calls that are ordered are pushed as well.
    `trouble` is told why a push was not acknowledged.

    A push counts as acknowledged once it is answered, also with "not understood": then the receiver keeps it. The
    entry of a call goes into the ledger whether its pushes were acknowledged or not.
    """
    async with pushing(
        url,
        sent=simulation.sent,
        acknowledges=_acknowledges,
        answer_seconds=ANSWER_SECONDS,
        hints=_HINTS,
        sends=SENDS,
        resend_seconds=resend_seconds,
        trouble=trouble,
    ) as push:
        await push_calls(
            simulation,
            push,
            render=account.render,
            ordering=ordering,
            path=PATH,
            handler=lambda ordered: Click2Call(ordered).handle,
        )


def _acknowledges(status: int, body: bytes) -> bool:  # noqa: ARG001 - whatever the answer says
    return status == 200
