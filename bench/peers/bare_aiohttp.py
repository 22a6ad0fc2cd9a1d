"""Bare aiohttp handlers: they read the body, answer the same bytes as cdrhub, keep nothing."""

from __future__ import annotations

import sys

from aiohttp import web

REPLY = b'{"err":0,"errdesc":"OK"}'


async def voicenter(request: web.Request) -> web.Response:
    """Answer at once in JSON."""
    await request.read()
    return web.Response(body=REPLY, content_type="application/json")


async def astercc(request: web.Request) -> web.Response:
    """Answer at once in text."""
    await request.read()
    return web.Response(text="OK")


def main() -> None:
    """`python -m bench.peers.bare_aiohttp PORT`"""
    app = web.Application()
    app.router.add_post("/voicenter", voicenter)
    app.router.add_post("/astercc", astercc)
    web.run_app(app, host="127.0.0.1", port=int(sys.argv[1]), access_log=None, print=None)


if __name__ == "__main__":
    main()
