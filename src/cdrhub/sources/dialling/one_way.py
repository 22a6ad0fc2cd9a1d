"""A dialler that takes orders and tells nothing more: its calls are known by their records, and none can be ended."""

from __future__ import annotations

from abc import ABC, abstractmethod

from cdrhub.model.dialling import Answer, DialOrder, Standing
from cdrhub.sources.dialling.answers import answering
from cdrhub.sources.dialling.http import HttpClient


class OneWayDialler(ABC):
    """The dialler of an interface over HTTP that knows one request: make this call."""

    idempotent = False

    def __init__(self, http: HttpClient) -> None:
        self._http = http

    @abstractmethod
    async def _dial(self, order: DialOrder) -> Answer:
        """Ask for one call. Raises OrderRefused, AnswerUnseen."""

    async def dial(self, order: DialOrder) -> Answer:
        """Ask for one call (see `Dialler.dial`)."""
        return await answering(self._dial(order))

    async def ask(self, *, attempt_id: str, vendor_ref: str) -> Standing:  # noqa: ARG002 - of the protocol
        """Nothing: it cannot be asked."""
        return Standing()

    async def hang_up(self, *, attempt_id: str, vendor_ref: str) -> None:  # noqa: B027 - that is all it does
        """Nothing: it ends no call."""

    async def close(self) -> None:
        """Let go of connections."""
        await self._http.close()
