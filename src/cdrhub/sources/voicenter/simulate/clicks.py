"""Click2Call of a simulated Voicenter account: orders by GET or POST-JSON, answered in JSON or XML.

https://www.voicenter.com/API/click-to-call. What it knows to refuse: parameters that are missing or wrong (1), more
calls than it takes (2), an extension that is none of the account's (3).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final
from xml.sax.saxutils import escape

import orjson
from aiohttp import web

from cdrhub.sources.simulation.dialled import Ordered
from cdrhub.sources.simulation.pushing import Push
from cdrhub.sources.voicenter.simulate.account import SIP_CODE, key_of

PATH: Final = "/ForwardDialer/click2call.aspx"
MOST_VARIABLES: Final = 10  #: `var_…` that come back

_EXTENSION = re.compile(rf"{SIP_CODE}([A-Za-z0-9]{{1,32}})")
_MESSAGES: Final = {0: "OK", 1: "Invalid parameters", 2: "Application error", 3: "Extension is offline"}


class Click2Call:
    """The handler of PATH."""

    def __init__(self, ordered: Ordered[Push]) -> None:
        self._ordered = ordered

    async def handle(self, request: web.Request) -> web.Response:
        """Take one order."""
        said = await _fields(request)
        code, call_id = self._asked(said)
        return _answer(code, call_id, written=said.get("format", "").lower())

    def _asked(self, said: Mapping[str, str]) -> tuple[int, str]:
        """The error code, and the id of the call."""
        extension = _EXTENSION.fullmatch(said.get("phone", ""))
        customer = self._ordered.number(said.get("target", ""))
        if not said.get("code") or said.get("action") != "call" or not said.get("phone") or customer is None:
            return 1, ""
        if extension is None:
            return 3, ""
        variables = [(name, value) for name, value in said.items() if name.startswith("var_")]
        call = self._ordered.place(
            extension=extension[1],
            customer=customer,
            back=dict(variables[:MOST_VARIABLES]),
        )
        return (2, "") if call is None else (0, key_of(call))


async def _fields(request: web.Request) -> Mapping[str, str]:
    """The parameters; none of a body that cannot be read."""
    if request.method != "POST":
        return dict(request.query)
    try:
        found = orjson.loads(await request.read())
    except orjson.JSONDecodeError:
        return {}
    return {str(name): str(value) for name, value in found.items()} if isinstance(found, dict) else {}


def _answer(code: int, call_id: str, *, written: str) -> web.Response:
    said: dict[str, Any] = {"ERRORCODE": code, "ERRORMESSAGE": _MESSAGES[code], "CALLID": call_id}
    if written == "json":
        return web.Response(body=orjson.dumps(said), content_type="application/json")
    members = "".join(
        f"<member><name>{name}</name><value><string>{escape(str(value))}</string></value></member>"
        for name, value in said.items()
    )
    return web.Response(text=f"<response><struct>{members}</struct></response>", content_type="text/xml")
