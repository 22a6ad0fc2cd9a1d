"""A bare aiohttp handler: reads the body, answers the same bytes as cdrhub, keeps nothing."""

from __future__ import annotations

import sys

from aiohttp import web

REPLY = b'{"err":0,"errdesc":"OK"}'


async def push(request: web.Request) -> web.Response:
    """Answer at once."""
    await request.read()
    return web.Response(body=REPLY, content_type="application/json")


def main() -> None:
    """`python -m bench.peers.bare_aiohttp PORT`"""
    app = web.Application()
    app.router.add_post("/push", push)
    web.run_app(app, host="127.0.0.1", port=int(sys.argv[1]), access_log=None, print=None)


if __name__ == "__main__":
    main()
