"""The only door through which a number or an agent gets into a command or a request."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from cdrhub.model.dialling import Refusal
from cdrhub.sources.dialling.answers import OrderRefused
from cdrhub.sources.dialling.orders import PhoneDiallerConfig, agent_of, number_of, reference_of
from support.dialling import ATTEMPT, order


def refusal_of(reading: Callable[[], str]) -> Refusal | str:
    """What `reading` gives, or the class of its refusal."""
    try:
        return reading()
    except OrderRefused as refused:
        return refused.refusal


HOSTILE = st.text(alphabet="+0123456789*#abzAZ._-@:/&=?%{},' \"\r\n\t\0;|$`\\<>()[]é٣", max_size=40)


def config(**said: Any) -> PhoneDiallerConfig:
    return PhoneDiallerConfig(**{"type": "any"} | said)


@pytest.mark.parametrize(
    ("said", "number", "dialled"),
    [
        ({}, "+33612345678", "+33612345678"),
        ({"number_form": "digits"}, "+33612345678", "33612345678"),
        ({"number_form": "national", "region": "FR"}, "+33612345678", "0612345678"),
        ({"number_form": "national", "region": "FR"}, "+442079460958", "00442079460958"),
        ({"number_form": "national", "region": "NG"}, "+2348031234567", "08031234567"),
        ({"number_form": "national", "region": "FR"}, "*80", "*80"),
        ({"prefix": "9"}, "+33612345678", "9+33612345678"),
        ({"prefix": "9", "number_form": "digits"}, "147", "9147"),
        ({}, "+911", "+911"),
    ],
)
def test_a_number_as_it_is_dialled(said: dict[str, Any], number: str, dialled: str) -> None:
    assert number_of(order(number=number), config(**said)) == dialled


@pytest.mark.parametrize("number", ["+911", "+44999", "+4420794", "+999123456", "+", "+0"])
@pytest.mark.parametrize("form", ["digits", "national"])
def test_a_number_that_no_plan_knows_becomes_no_number_of_this_country(form: str, number: str) -> None:
    said = config(number_form=form, region="GB")
    assert refusal_of(lambda: number_of(order(number=number), said)) is Refusal.NUMBER


@pytest.mark.parametrize(
    ("said", "number"),
    [
        ({}, "112"),
        ({"prefix": "9"}, "11"),  # with the outside line it is another one
        ({"prefix": "0", "number_form": "national", "region": "GB"}, "999"),
    ],
)
def test_an_emergency_number_is_not_dialled(said: dict[str, Any], number: str) -> None:
    assert refusal_of(lambda: number_of(order(number=number), config(**said))) is Refusal.NUMBER


FORMS = [config(), config(number_form="digits"), config(number_form="national", region="FR")]


@given(HOSTILE, st.sampled_from(FORMS))
def test_a_number_holds_nothing_but_what_is_dialled(text: str, form: PhoneDiallerConfig) -> None:
    dialled = refusal_of(lambda: number_of(order(number=text), form))
    assert dialled is Refusal.NUMBER or re.fullmatch(r"\+?[0-9*#]{1,32}", dialled, re.ASCII)


SIGNS = [chr(point) for point in range(0x300) if not chr(point).isalnum()] + ["٣", "３", "\u2028", "\u202e"]


@pytest.mark.parametrize("form", FORMS)
def test_no_other_sign_gets_into_a_number(form: PhoneDiallerConfig) -> None:
    taken = {
        sign
        for sign in [*SIGNS, "a", "é"]
        for text in (f"123{sign}45", f"{sign}33612345678", f"12345{sign}", f"+12{sign}345")
        if refusal_of(lambda text=text: number_of(order(number=text), form)) is not Refusal.NUMBER  # type: ignore[misc]
    }
    assert taken == {"*", "#", "+"}  # a plus sign before all else
    assert refusal_of(lambda: number_of(order(number="12+345"), form)) is Refusal.NUMBER


def test_no_other_sign_gets_into_an_agent() -> None:
    taken = {
        sign
        for sign in [*SIGNS, "é"]
        for text in (f"10{sign}1", f"{sign}101", f"101{sign}")
        if refusal_of(lambda text=text: agent_of(order(agent=text))) is not Refusal.AGENT  # type: ignore[misc]
    }
    assert taken == {".", "_", "-"}


@given(HOSTILE)
def test_an_agent_is_a_plain_name(text: str) -> None:
    agent = refusal_of(lambda: agent_of(order(agent=text)))
    assert agent is Refusal.AGENT or (agent == text and re.fullmatch(r"[A-Za-z0-9._-]{1,64}", agent, re.ASCII))


@given(HOSTILE)
def test_a_reference_is_an_id(text: str) -> None:
    reference = refusal_of(lambda: reference_of(text))
    assert reference is Refusal.CONFIGURATION or re.fullmatch(r"[A-Za-z0-9-]{1,64}", reference, re.ASCII)
    assert reference_of(ATTEMPT) == ATTEMPT


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ({"number_form": "national"}, "region"),
        ({"prefix": "9,"}, "prefix"),
        ({"prefix": "123456789"}, "prefix"),
        ({"max_live": 0}, "max_live"),
        ({"max_per_second": 0}, "max_per_second"),
    ],
)
def test_settings_that_cannot_be(said: dict[str, Any], why: str) -> None:
    with pytest.raises(ValidationError, match=why):
        config(**said)
