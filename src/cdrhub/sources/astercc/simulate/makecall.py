"""MAKECALL of a simulated asterCC: orders by GET or as a form, answered `|Retuen|code|Retuen|message`.

https://wiki.astercc.org/doku.php?do=export_raw&id=en:custom_development_guide:apis:http:call. What it knows to refuse:
parameters that are empty (BackMsg_01) or wrong (28), an agent whom the team does not have (24), more calls than it
takes (20).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from aiohttp import web

from cdrhub.sources.astercc.simulate.events import AGENT_PREFIX, USERDATA
from cdrhub.sources.simulation.dialled import Ordered
from cdrhub.sources.simulation.pushing import Push

PATH: Final = "/asterccinterfaces"
ACCEPTED: Final = 19
NEEDED: Final = ("targetdn", "usertype", "user", "orgidentity", "pwdtype", "password", "modeltype", "model_id")

_AGENT = re.compile(rf"{AGENT_PREFIX}([0-9]{{1,16}})")


class MakeCall:
    """The handler of PATH."""

    def __init__(self, ordered: Ordered[Push]) -> None:
        self._ordered = ordered

    async def handle(self, request: web.Request) -> web.Response:
        """Take one order."""
        fields = request.query if request.method != "POST" else await request.post()
        message = self._asked({name: value for name, value in fields.items() if isinstance(value, str)})
        code = 1 if message == ACCEPTED else 2
        return web.Response(text=f"|Retuen|{code}|Retuen|BackMsg_{message:02}")

    def _asked(self, said: Mapping[str, str]) -> int:
        """The number of the answer's message."""
        if not all(said.get(name) for name in NEEDED):
            return 1
        agent, customer = _AGENT.fullmatch(said["user"]), self._ordered.number(said["targetdn"])
        if said.get("EVENT") != "MAKECALL" or customer is None:
            return 28
        if agent is None:
            return 24
        userdata = said.get(USERDATA, "") if said["modeltype"] == "Campaign" else ""
        call = self._ordered.place(
            extension=agent[1],
            customer=customer,
            back={USERDATA: userdata} if userdata else {},
        )
        return 20 if call is None else ACCEPTED
