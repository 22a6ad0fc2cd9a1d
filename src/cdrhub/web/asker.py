"""Who a request comes from: its client behind trusted proxies, and the holder of the token it carries.

Without tokens a request must name loopback in its Host header too, so that a page in a browser on the machine cannot
reach anything by DNS rebinding, and must not say that a proxy handed it on: one on this machine that nobody named in
`http.trusted_proxies` would let everybody in.
"""

from __future__ import annotations

from collections.abc import Mapping

from aiohttp import hdrs, web

from cdrhub.web.auth import Guard, Holder

LOOPBACK_HOSTS = frozenset({"localhost", "127.0.0.1", "[::1]"})
HANDED_ON = (hdrs.FORWARDED, hdrs.VIA, hdrs.X_FORWARDED_FOR, "X-Real-IP")  #: what proxies add
CHALLENGE: Mapping[str, str] = {hdrs.WWW_AUTHENTICATE: 'Bearer realm="cdrhub"'}
"""The header of every 401 (RFC 6750)."""


def asker(request: web.Request, guard: Guard) -> Holder | None:
    """Who asks; None: nobody who is known, which is answered 401 with CHALLENGE."""
    if not guard.tokens and not _is_of_this_machine(request):
        return None
    client = client_of(request, guard)
    return guard.holder(client=client, authorization=request.headers.get(hdrs.AUTHORIZATION))


def client_of(request: web.Request, guard: Guard) -> str:
    """Where a request came from. A proxy may add a header of its own instead of extending the one it got."""
    forwarded = request.headers.getall(hdrs.X_FORWARDED_FOR, ())
    return guard.client(request.remote or "", ",".join(forwarded) or None)


def _is_of_this_machine(request: web.Request) -> bool:
    return _names_loopback(request.host) and not any(name in request.headers for name in HANDED_ON)


def _names_loopback(host: str) -> bool:
    name = host.rsplit(":", 1)[0] if not host.endswith("]") else host
    return name.lower() in LOOPBACK_HOSTS
