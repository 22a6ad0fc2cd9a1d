"""A receiver of webhooks that verifies, counts and keeps nothing else; and a client that posts as the hub does, from
memory: `python -m bench.peers.event_receiver PORT`, `python -m bench.peers.event_receiver PORT SECONDS CONNECTIONS`.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from datetime import UTC, datetime
from uuid import uuid4

import orjson
from aiohttp import ClientSession, TCPConnector, web
from standardwebhooks import Webhook

SECRET = "whsec_MDEyMzQ1Njc4OWFiY2RlZmdoaWprbG1ub3BxcnN0dXY="
CALLS = 250_000  #: whose events are told apart
EACH = 4  #: events of a call, of revisions 0 to 3
BODY_BYTES = 1_500  #: about what the event of a call has


class Counting:
    """What was received: `told` holds a bit for each revision of a call."""

    def __init__(self) -> None:
        self._webhook = Webhook(SECRET)
        self._told = bytearray(CALLS)
        self.events = self.repeated = self.disordered = 0

    async def take(self, request: web.Request) -> web.Response:
        """Take one event."""
        body = await request.read()
        self._webhook.verify(body, dict(request.headers), json_parse=False)
        data = orjson.loads(body)["data"]
        call, bit = int(data["call_id"][-12:], 16) % CALLS, 1 << data["revision"] % EACH
        known = self._told[call]
        self.events += 1
        self.repeated += bool(known & bit)
        self.disordered += known >= bit << 1
        self._told[call] = known | bit
        return web.Response(status=204)

    async def said(self, _request: web.Request) -> web.Response:
        """The counts, as JSON."""
        return web.json_response({"events": self.events, "repeated": self.repeated, "disordered": self.disordered})


def serve(port: int) -> None:
    """Receive until terminated."""
    counting = Counting()
    app = web.Application()
    app.router.add_post("/events", counting.take)
    app.router.add_get("/said", counting.said)
    web.run_app(app, host="127.0.0.1", port=port, access_log=None, print=None)


async def post(port: int, *, seconds: float, connections: int) -> float:
    """Post signed bodies over so many connections, each when the answer of the one before is there; how many a
    second."""
    webhook = Webhook(SECRET)
    done, until = 0, time.monotonic() + seconds

    async def one(session: ClientSession, number: int) -> None:
        nonlocal done
        while time.monotonic() < until:
            document = {"data": {"call_id": f"{number:012x}", "revision": 0, "filling": "x" * BODY_BYTES}}
            body, name, now = orjson.dumps(document), str(uuid4()), datetime.now(UTC)
            headers = {
                "webhook-id": name,
                "webhook-timestamp": str(int(now.timestamp())),
                "webhook-signature": webhook.sign(name, now, body.decode()),
            }
            async with session.post(f"http://127.0.0.1:{port}/events", data=body, headers=headers) as answer:
                await answer.read()
            done += 1

    async with ClientSession(connector=TCPConnector(limit=connections)) as session:
        await asyncio.gather(*(one(session, number) for number in range(connections)))
    return done / seconds


if __name__ == "__main__":
    if len(sys.argv) == 2:
        serve(int(sys.argv[1]))
    else:
        rate = asyncio.run(post(int(sys.argv[1]), seconds=float(sys.argv[2]), connections=int(sys.argv[3])))
        print(json.dumps({"per_second": rate}))
