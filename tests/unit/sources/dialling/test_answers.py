"""Errors that are answers, and a vendor's words as they may be kept."""

from __future__ import annotations

import pytest

from cdrhub.model.dialling import Accepted, Answer, Refusal, Refused, Unseen
from cdrhub.sources.dialling.answers import MAX_SHOWN, AnswerUnseen, OrderRefused, answering, shown


async def dialling(error: Exception | None = None) -> Answer:
    if error is not None:
        raise error
    return Accepted(vendor_ref="1")


async def test_an_error_that_is_an_answer_is_returned() -> None:
    assert await answering(dialling()) == Accepted(vendor_ref="1")
    refused = await answering(dialling(OrderRefused(Refusal.AGENT, "away")))
    assert refused == Refused(refusal=Refusal.AGENT, detail="away")
    assert await answering(dialling(AnswerUnseen("gone"))) == Unseen(detail="gone")


async def test_any_other_error_is_none() -> None:
    with pytest.raises(ZeroDivisionError):
        await answering(dialling(ZeroDivisionError()))


def test_a_vendors_words_are_one_printable_line_without_the_secret() -> None:
    assert shown(" it\r\nsays\x1b[31m \u202eno ") == "it  says [31m  no"
    assert len(shown("x" * 10 * MAX_SHOWN)) == MAX_SHOWN
    assert shown("pin=4711 is wrong", without="4711") == "pin=… is wrong"


def test_what_is_nested_too_deeply_is_no_word() -> None:
    deep: list[object] = []
    for _ in range(100_000):
        deep = [deep]
    assert shown({"why": deep}) == ""
    assert shown(["agent", 7]) == "['agent', 7]"
