"""What every dialler that sends its orders over HTTP has in common."""

from __future__ import annotations

from abc import ABC, abstractmethod

from cdrhub.model.dialling import Answer, DialOrder, Standing
from cdrhub.sources.dialling.answers import answering
from cdrhub.sources.dialling.http import HttpClient


class HttpDialler(ABC):
    """A `Dialler` over HTTP. Where the vendor has no request for it, what became of a call only its records tell, and
    no call can be ended."""

    idempotent = False

    def __init__(self, name: str, *, seconds: float, public_only: bool = False) -> None:
        self._http = HttpClient(who=f"the dialler {name}", seconds=seconds, public_only=public_only)

    @abstractmethod
    async def _dial(self, order: DialOrder) -> Answer:
        """Ask for one call. Raises OrderRefused, AnswerUnseen."""

    async def dial(self, order: DialOrder) -> Answer:
        """Ask for one call (see `Dialler.dial`)."""
        return await answering(self._dial(order))

    async def ask(self, *, attempt_id: str, vendor_ref: str) -> Standing:  # noqa: ARG002 - of the protocol
        """Nothing is known, unless the vendor can be asked."""
        return Standing()

    async def hang_up(self, *, attempt_id: str, vendor_ref: str) -> None:  # noqa: B027 - optional
        """Does nothing, unless the vendor can end a call."""

    async def close(self) -> None:
        """Let go of connections."""
        await self._http.close()
