"""A resolver for clients that must not connect to private addresses.

The check is made on the address that is then connected to: a name which changes its address between two look-ups gains
nothing.
"""

from __future__ import annotations

import socket

from aiohttp import ThreadedResolver
from aiohttp.abc import AbstractResolver, ResolveResult

from cdrhub.outgoing.private_addresses import PrivateAddress, is_public


class PublicResolver(AbstractResolver):
    """Looks names up like the system does and refuses those that lead to a private address.

    For `aiohttp.TCPConnector(resolver=…)`. Raises PrivateAddress where any of a name's addresses is private.
    """

    def __init__(self, inner: AbstractResolver | None = None) -> None:
        self._inner = inner or ThreadedResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        found = await self._inner.resolve(host, port, family)
        if any(not is_public(one["host"]) for one in found):
            raise PrivateAddress(f"{host} lies in a private network")
        return found

    async def close(self) -> None:
        await self._inner.close()
