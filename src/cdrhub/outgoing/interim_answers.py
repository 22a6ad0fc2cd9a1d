"""Answers of which a server says too much beforehand.

Before its answer a server may send interim ones (1xx; RFC 9110, 15.2). aiohttp reads them without end and lets nothing
else of the event loop work meanwhile: a peer that sends nothing else stops the whole hub for as long as a request may
take.
"""

from __future__ import annotations

from typing import Any

from aiohttp import ClientResponse
from aiohttp.connector import Connection
from aiohttp.http import HttpProcessingError

MAX_INTERIM = 16  #: interim answers before the answer


class BoundedResponse(ClientResponse):
    """For `aiohttp.ClientSession(response_class=…)`: what comes after MAX_INTERIM interim answers is not read."""

    async def start(self, connection: Connection) -> ClientResponse:
        """Read the head of the answer. Raises ClientResponseError where too many come before it."""
        protocol: Any = connection.protocol
        read, heads = protocol.read, 0

        async def counted() -> Any:
            nonlocal heads
            heads += 1
            if heads > MAX_INTERIM + 1:
                raise HttpProcessingError(message="interim answers without end")
            return await read()

        protocol.read = counted  # aiohttp has no place of its own for this
        try:
            return await super().start(connection)
        finally:
            del protocol.read
