"""What a simulated 3CX is told to dial: the Call Control API of v20, and the make_call link of older versions.

Any client, secret and PIN is right. A client has one live token: a new one ends the one before.
https://www.3cx.com/docs/call-control-api-endpoints/ · http://www.3cx.com/blog/docs/3cx-http-api
"""

from __future__ import annotations

import re
import secrets
from datetime import UTC, datetime
from typing import Any, Final

import orjson
from aiohttp import web

from cdrhub.sources.simulation.dialled import FIRST_NUMBER, Ordered
from cdrhub.sources.simulation.planned import PlannedCall
from cdrhub.sources.threecx.simulate.lines import Line

PATH: Final = "/{path:.*}"
TOKEN_SECONDS: Final = 60
MAX_CALLS: Final = 10_000  #: whose participants are remembered

_EXTENSION = re.compile(r"[0-9]{2,6}")
_CONTROL = re.compile(r"/callcontrol/([^/]{1,64})(/makecall)?")
_SESSION: Final = "/ivr/(S(simulated0cdrhub))/PbxAPI.aspx"


class CallControl:
    """The handler of PATH."""

    def __init__(self, ordered: Ordered[Line]) -> None:
        self._ordered = ordered
        self._token = ""
        self._calls: dict[int, PlannedCall] = {}  #: by callid

    async def handle(self, request: web.Request) -> web.Response:
        """Answer one request."""
        path = request.path
        if path == "/connect/token" and request.method == "POST":
            return await self._connect(request)
        if path in ("/ivr/PbxAPI.aspx", _SESSION) and request.method == "GET":
            return self._link(request)
        found = _CONTROL.fullmatch(path)
        if found is None:
            return web.Response(status=404)
        said = request.headers.get("Authorization", "").removeprefix("Bearer ")
        if not self._token or not secrets.compare_digest(said.encode(), self._token.encode()):
            return web.Response(status=401)
        extension, makes = found.groups()
        if _EXTENSION.fullmatch(extension) is None:
            return web.Response(status=404)
        if makes is None:
            return _json(self._state(extension))
        return await self._make(request, extension)

    async def _connect(self, request: web.Request) -> web.Response:
        form = await request.post()
        if form.get("grant_type") != "client_credentials" or not form.get("client_id") or not form.get("client_secret"):
            return web.Response(status=400)
        self._token = secrets.token_urlsafe(24)
        return _json({"token_type": "Bearer", "expires_in": TOKEN_SECONDS, "access_token": self._token})

    async def _make(self, request: web.Request, extension: str) -> web.Response:
        try:
            asked = orjson.loads(await request.read())
        except orjson.JSONDecodeError:
            return web.Response(status=400)
        destination = asked.get("destination") if isinstance(asked, dict) else None
        customer = self._ordered.number(destination) if isinstance(destination, str) else None
        if customer is None:
            return web.Response(status=422)
        call = self._ordered.place(extension=extension, customer=customer, back={})
        if call is None:
            return _json({"finalstatus": "Failure", "reason": "NotAvailable", "reasontext": "too many calls"})
        return _json({"finalstatus": "Success", "reason": "None", "reasontext": "", "result": self._remember(call)})

    def _link(self, request: web.Request) -> web.Response:
        """The link: into a session first, then it does what it says."""
        if request.path != _SESSION:
            return web.Response(status=302, headers={"Location": f"{_SESSION}?{request.query_string}"})
        asked = request.query
        customer = self._ordered.number(asked.get("to", ""))
        if asked.get("func") != "make_call" or _EXTENSION.fullmatch(asked.get("from", "")) is None or customer is None:
            return web.Response(status=400)
        call = self._ordered.place(extension=asked["from"], customer=customer, back={})
        return web.Response(status=503 if call is None else 200)

    def _remember(self, call: PlannedCall) -> dict[str, Any]:
        """`call` as a result; it can be asked about while it lives."""
        callid = call.number - FIRST_NUMBER + 1
        if len(self._calls) >= MAX_CALLS:
            del self._calls[next(iter(self._calls))]
        self._calls[callid] = call
        return _participant(callid, call)

    def _state(self, extension: str) -> dict[str, Any]:
        now = datetime.now(UTC)
        live = [
            _participant(callid, call)
            for callid, call in self._calls.items()
            if call.caller is not None and call.caller.extension == extension and call.ended_at > now
        ]
        return {"dn": extension, "type": "Wextension", "devices": [], "participants": live}


def _participant(callid: int, call: PlannedCall) -> dict[str, Any]:
    """The agent's part in a call."""
    return {
        "id": callid,
        "status": "Dialing",
        "dn": "" if call.caller is None else call.caller.extension,
        "party_caller_id": "" if call.customer is None else call.customer.dialled,
        "party_dn": "",
        "device_id": "",
        "callid": callid,
        "legid": 1,
    }


def _json(said: dict[str, Any]) -> web.Response:
    return web.Response(body=orjson.dumps(said), content_type="application/json")
