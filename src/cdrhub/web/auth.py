"""Who may read what: tokens, roles, and the address a request really came from.

Without tokens, loopback may read and nobody else. With tokens, every page but /healthz and the ingest paths (whose
secret is in the path) needs `Authorization: Bearer <token>` (RFC 6750). Tokens are compared in constant time against
every configured one, so that the time taken tells nothing.
"""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_address

from cdrhub.config import Role

_RANK = {Role.READ: 1, Role.OPERATE: 2, Role.ADMIN: 3}
MAX_FORWARDED_HOPS = 16


@dataclass(frozen=True, kw_only=True, slots=True)
class Token:
    """A token as configured."""

    name: str
    token: str
    role: Role
    tenant: str | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Guard:
    """Decides about one request; pure."""

    tokens: Sequence[Token]
    trusted_proxies: Sequence[IPv4Network | IPv6Network]

    def client(self, peer: str, forwarded_for: str | None) -> str:
        """The client's address: the peer, or behind trusted proxies the last address in X-Forwarded-For that is
        not one of them. What cannot be read as an address counts as not trusted."""
        hops = [hop.strip() for hop in (forwarded_for or "").split(",")][-MAX_FORWARDED_HOPS:]
        address = peer
        for hop in reversed(hops):
            if not self._trusted(address) or not _is_address(hop):
                break
            address = hop
        return address

    def allows(self, *, client: str, authorization: str | None, role: Role) -> bool:
        """Whether a request of `client` with this Authorization header may do what needs `role`."""
        if not self.tokens:
            return role is Role.READ and _is_loopback(client)
        scheme, _, given = (authorization or "").partition(" ")
        given_bytes = given.strip().encode("utf-8", "surrogateescape") if scheme.lower() == "bearer" else b""
        allowed = False
        for token in self.tokens:
            if hmac.compare_digest(token.token.encode(), given_bytes):
                allowed = _RANK[token.role] >= _RANK[role]
        return allowed

    def _trusted(self, address: str) -> bool:
        if not _is_address(address):
            return False
        parsed = ip_address(address)
        return any(parsed in network for network in self.trusted_proxies)


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def _is_loopback(text: str) -> bool:
    return _is_address(text) and ip_address(text).is_loopback
