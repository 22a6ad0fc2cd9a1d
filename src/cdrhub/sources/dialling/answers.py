"""Answers to an order to dial, raised where they are found and returned by `answering`.

::

    CdrhubError
    ├── OrderRefused    no, and it is known: nothing was dialled
    └── AnswerUnseen    the request may have arrived; what was answered is not known
"""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Final

from cdrhub.errors import CdrhubError
from cdrhub.model.dialling import Answer, Refusal, Refused, Unseen

MAX_SHOWN: Final = 200  #: characters of a vendor's words in the detail of an answer
MAX_VENDOR_REF: Final = 128  #: characters of what a vendor calls the call that was ordered


class OrderRefused(CdrhubError):
    """The order was refused, or could not be sent."""

    def __init__(self, refusal: Refusal, detail: str) -> None:
        super().__init__(detail)
        self.refusal = refusal


class AnswerUnseen(CdrhubError):
    """Nobody can say whether the order was taken."""


async def answering(dialling: Awaitable[Answer]) -> Answer:
    """What `dialling` returns, or the answer that it raises."""
    try:
        return await dialling
    except OrderRefused as error:
        return Refused(refusal=error.refusal, detail=str(error))
    except AnswerUnseen as error:
        return Unseen(detail=str(error))


def shown(text: object, *, without: str = "") -> str:
    """A vendor's words as they may be kept: one line of printable characters, MAX_SHOWN at most, and without the
    secret `without` that a vendor may repeat."""
    try:
        said = str(text)[: 4 * MAX_SHOWN]
    except RecursionError:  # JSON that is nested as deeply as it can be read holds nobody's words
        return ""
    if without:
        said = said.replace(without, "…")
    return "".join(letter if letter.isprintable() else " " for letter in said).strip()[:MAX_SHOWN]
