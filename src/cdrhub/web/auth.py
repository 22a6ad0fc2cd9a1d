"""Who may read what: tokens, roles, and the address a request really came from.

Without tokens, loopback may read and nobody else. With tokens, every page but /healthz and the ingest paths (whose
secret is in the path) needs `Authorization: Bearer <token>` (RFC 6750). Tokens are compared in constant time against
every configured one, so that the time taken tells nothing.
"""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from dataclasses import dataclass

from cdrhub.addresses import Network, read_ip, split_address
from cdrhub.config import Role

_RANK = {Role.READ: 1, Role.OPERATE: 2, Role.ADMIN: 3}
MAX_FORWARDED_HOPS = 16
MAX_HOP = 64  #: characters that are looked at of one


@dataclass(frozen=True, kw_only=True, slots=True)
class Token:
    """A token as configured."""

    name: str
    token: str
    role: Role
    tenant: str | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Holder:
    """Who asks: the name of the token, what it may do, and the one tenant that it sees (None: all)."""

    name: str
    role: Role
    tenant: str | None

    def may(self, role: Role) -> bool:
        """Whether what needs `role` is allowed."""
        return _RANK[self.role] >= _RANK[role]


ON_LOOPBACK = Holder(name="loopback", role=Role.READ, tenant=None)
"""Whoever asks from this machine, while no token is configured."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Guard:
    """Decides about one request; pure."""

    tokens: Sequence[Token]
    trusted_proxies: Sequence[Network]

    def client(self, peer: str, forwarded_for: str | None) -> str:
        """The client's address: the peer, or behind trusted proxies the last address in X-Forwarded-For that is
        not one of them. What cannot be read as an address is not one of them either, and nobody whom an allow-list
        lets in. `forwarded_for` are all headers of that name, joined by commas in their order (RFC 9110, 5.3)."""
        address = peer
        for hop in reversed(forwarded_for.split(",")[-MAX_FORWARDED_HOPS:] if forwarded_for else ()):
            if not self._trusted(address):
                break
            address = _without_port(hop.strip()[:MAX_HOP])
        return address

    def holder(self, *, client: str, authorization: str | None) -> Holder | None:
        """Who a request of `client` with this Authorization header comes from; None: nobody who is known."""
        if not self.tokens:
            return ON_LOOPBACK if _is_loopback(client) else None
        scheme, _, given = (authorization or "").partition(" ")
        given_bytes = given.strip().encode("utf-8", "surrogateescape") if scheme.lower() == "bearer" else b""
        found = None
        for token in self.tokens:
            if hmac.compare_digest(token.token.encode(), given_bytes):
                found = Holder(name=token.name, role=token.role, tenant=token.tenant or None)
        return found

    def _trusted(self, address: str) -> bool:
        parsed = read_ip(address)
        return parsed is not None and any(parsed in network for network in self.trusted_proxies)


def _without_port(hop: str) -> str:
    """Some proxies write `192.0.2.7:4711` or `[2001:db8::7]:4711`."""
    try:
        return split_address(hop)[0]
    except ValueError:
        return hop


def _is_loopback(text: str) -> bool:
    address = read_ip(text)
    return address is not None and address.is_loopback
