"""The number and the agent of an order, as they may stand in a command, a URL or a header.

Both come from outside. They are not escaped: a text with any character that is not on the list of allowed ones is
refused before anything is built of it, as a refusal of the number or of the agent.
"""

from __future__ import annotations

import re
from typing import Annotated, Final, Literal

import phonenumbers
from pydantic import AfterValidator, Field, model_validator

from cdrhub.model.dialling import DialOrder, Refusal
from cdrhub.model.numbers import NumberPlan, is_emergency
from cdrhub.sources.base import Region
from cdrhub.sources.dialler import DiallerConfig
from cdrhub.sources.dialling.answers import OrderRefused

MAX_NUMBER: Final = 32  #: characters of a number as it is dialled

NumberForm = Literal["e164", "digits", "national"]

_NUMBER = re.compile(rf"\+?[0-9*#]{{1,{MAX_NUMBER}}}")
_AGENT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_ATTEMPT = re.compile(r"[0-9A-Za-z-]{1,64}")
_NOT_DIALLED = re.compile(r"[^0-9*#+]")


def _a_prefix(text: str) -> str:
    if not re.fullmatch(r"[0-9*#]{0,8}", text):
        raise ValueError("is not a prefix: write digits, * and #, 8 at most")
    return text


class PhoneDiallerConfig(DiallerConfig):
    """The keys of a dialler that hands a number to a phone system."""

    number_form: NumberForm = Field(
        "e164",
        description="How numbers are dialled: `e164` with the plus sign, `digits` without it, `national` as people of "
        "`region` dial them.",
    )
    region: Region | None = Field(None, description="ISO 3166-1 country of the phone system, for `national`.")
    prefix: Annotated[str, AfterValidator(_a_prefix)] = Field(
        "", description="What is dialled before every number, e.g. `9` for an outside line."
    )

    @model_validator(mode="after")
    def _national_of_where(self) -> PhoneDiallerConfig:
        if self.number_form == "national" and self.region is None:
            raise ValueError('`region` is needed for number_form = "national"')
        return self


def number_of(order: DialOrder, config: PhoneDiallerConfig) -> str:
    """The order's number as the phone system wants it. Raises OrderRefused."""
    number = order.number
    if _NUMBER.fullmatch(number) is None:
        raise OrderRefused(Refusal.NUMBER, "the number holds what cannot be dialled")
    if number.startswith("+") and config.number_form != "e164" and not _has_a_plan(number):
        # `+911` and `+44999` are nobody's: without the plus sign, or as people of that country dial, somebody answers.
        raise OrderRefused(Refusal.NUMBER, "no numbering plan knows the number: it cannot be dialled in another form")
    if config.number_form == "digits":
        number = number.removeprefix("+")
    elif config.number_form == "national" and config.region is not None:
        number = _national(number, config.region)
    plan = NumberPlan(region=config.region, strip_prefixes=(config.prefix,) if config.prefix else ())
    if not order.number.startswith("+") and is_emergency(config.prefix + number, plan):
        raise OrderRefused(Refusal.NUMBER, "an emergency number is not dialled")
    return config.prefix + number


def _has_a_plan(number: str) -> bool:
    """Whether a number with a country code is as long as numbers of that country are."""
    try:
        parsed = phonenumbers.parse(number)
    except phonenumbers.NumberParseException:
        return False
    return phonenumbers.is_possible_number_with_reason(parsed) == phonenumbers.ValidationResult.IS_POSSIBLE


def _national(number: str, region: str) -> str:
    """What people of `region` dial; a number without a country code stays as it is."""
    if not number.startswith("+"):
        return number
    written = phonenumbers.format_out_of_country_calling_number(phonenumbers.parse(number), region)
    return _NOT_DIALLED.sub("", written)[:MAX_NUMBER] or number


def agent_of(order: DialOrder) -> str:
    """The order's agent: letters, digits, dots, hyphens and underscores. Raises OrderRefused."""
    if _AGENT.fullmatch(order.agent) is None:
        said = "the order names no agent" if not order.agent else "the agent's name holds what no extension has"
        raise OrderRefused(Refusal.AGENT, said)
    return order.agent


def reference_of(attempt_id: str) -> str:
    """The id of an attempt, which this hub has made: letters, digits and hyphens. Raises OrderRefused for another."""
    if _ATTEMPT.fullmatch(attempt_id) is None:
        raise OrderRefused(Refusal.CONFIGURATION, "the attempt has no id that a vendor could carry")
    return attempt_id
