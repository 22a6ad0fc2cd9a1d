"""The dialler `voicenter`: Click2Call rings the agent, then the number (https://www.voicenter.com/API/click-to-call).

The answer's `CALLID` is the `ivruniqueid` of both CDRs of the call, and the attempt's id comes back in them as
`var_cdrhub_attempt`: either finds the attempt, also when the answer was lost. Of the two CDRs that of the second leg
tells what became of the number.

What became of a call whose CDRs never came the Call Log is asked (call_log.py). A call is not hung up:
`action=terminate` names the agent's telephone and no call, so it could end another conversation.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final, Literal

import orjson
from pydantic import Field, SecretStr
from yarl import URL

from cdrhub.model.dialling import Accepted, Answer, DialOrder, Refusal, Refused, Standing
from cdrhub.sources.dialler import DiallerType
from cdrhub.sources.dialling.answers import MAX_VENDOR_REF, AnswerUnseen, OrderRefused, shown
from cdrhub.sources.dialling.fields import REQUEST_SECONDS, HttpUrl, RequestSeconds
from cdrhub.sources.dialling.http import HttpAnswer
from cdrhub.sources.dialling.http_dialler import HttpDialler
from cdrhub.sources.dialling.orders import NumberForm, PhoneDiallerConfig, agent_of, number_of, reference_of
from cdrhub.sources.voicenter.call_log import question, standing_of

URL_OF_ALL: Final = "https://api.voicenter.com/ForwardDialer/click2call.aspx"
CALL_LOG: Final = "https://api.voicenter.com/hub/cdr/"
ASKED_EVERY: Final = 5.0  #: seconds between two questions to the Call Log, as Voicenter wants it
REFERENCE: Final = "var_cdrhub_attempt"  #: one of ten `var_…` that come back in `CustomData`

_ACCEPTED: Final = 0
_REFUSALS: Final[Mapping[int, tuple[Refusal, str]]] = {
    1: (Refusal.CONFIGURATION, "the parameters are invalid"),
    2: (Refusal.NETWORK, "application error"),
    3: (Refusal.AGENT, "the agent's extension is offline"),
    4: (Refusal.NUMBER, "blocked"),
}
_BLOCKED: Final = 4
_OF_THE_EXTENSION = re.compile(r"extension", re.IGNORECASE)
_MEMBER = re.compile(r"<name>\s*(\w+)\s*</name>\s*<value>\s*+(?:<\w+>)?([^<]*+)<")


class VoicenterDiallerConfig(PhoneDiallerConfig):
    """A dialler of type `voicenter`."""

    type: Literal["voicenter"] = Field("voicenter", description="What dials.")
    url: HttpUrl = Field(URL_OF_ALL, repr=False, description="Where Click2Call is.")
    code: SecretStr = Field(min_length=1, max_length=256, description="The account's code for the API.")
    call_log_url: HttpUrl = Field(CALL_LOG, repr=False, description="Where the Call Log is.")
    number_form: NumberForm = Field(
        "digits",
        description="How numbers are dialled: `digits` without the plus sign, as Voicenter wants them, `e164` with it, "
        "`national` as people of `region` dial them.",
    )
    caller_id: str = Field(
        "", pattern=r"^\+?[0-9]{0,20}$", description="The number that the customer sees; empty: the account's own."
    )
    agent_ring_seconds: int = Field(60, ge=5, le=120, description="Seconds that the agent's telephone may ring.")
    ring_seconds: int = Field(60, ge=15, le=120, description="Seconds that the customer's telephone may ring.")
    auto_answer: bool = Field(False, description="Whether the agent's telephone picks up by itself.")
    record: bool | None = Field(None, description="Whether calls are recorded; left out: as the account is set up.")
    request_seconds: RequestSeconds = Field(REQUEST_SECONDS, description="Seconds that one request may take.")


class VoicenterDialler(HttpDialler):
    """Click2Call of one account. It ends no call: see the module's docstring."""

    def __init__(self, name: str, config: VoicenterDiallerConfig, *, asked_every: float = ASKED_EVERY) -> None:
        super().__init__(name, seconds=config.request_seconds)
        self._config = config
        self._url, self._call_log = URL(config.url), URL(config.call_log_url)
        self._asking = asyncio.Lock()
        self._asked_every, self._ask_at = asked_every, 0.0

    async def ask(self, *, attempt_id: str, vendor_ref: str) -> Standing:  # noqa: ARG002 - of the protocol
        """What the Call Log says of the call `vendor_ref`; nothing if its id was not seen. Questions are asked one
        after the other, `asked_every` seconds apart."""
        if not vendor_ref:
            return Standing()
        async with self._asking:
            await asyncio.sleep(self._ask_at - time.monotonic())
            self._ask_at = time.monotonic() + self._asked_every
            asked = question(vendor_ref, code=self._config.code.get_secret_value(), now=datetime.now(UTC))
            try:
                answer = await self._posted(self._call_log, asked)
                answer.refuse_failure(who=self._http.who)
                return standing_of(answer.json(who=self._http.who), vendor_ref)
            except (OrderRefused, AnswerUnseen):
                return Standing()

    async def _dial(self, order: DialOrder) -> Answer:
        answer = await self._posted(self._url, request(order, self._config))
        return answer_of(answer, who=self._http.who, code=self._config.code.get_secret_value())

    async def _posted(self, url: URL, body: Mapping[str, Any]) -> HttpAnswer:
        headers = {"Content-Type": "application/json"}
        return await self._http.send("POST", url, body=orjson.dumps(body), headers=headers)


def request(order: DialOrder, config: VoicenterDiallerConfig) -> dict[str, Any]:
    """The fields of a request. All of them go into its body, for URLs are logged. Raises OrderRefused."""
    parameters: dict[str, Any] = {
        "code": config.code.get_secret_value(),
        "action": "call",
        "format": "json",
        "phone": agent_of(order),
        "target": number_of(order, config),
        "phonemaxdialtime": config.agent_ring_seconds,
        "targetmaxdialtime": config.ring_seconds,
        "checkphonedevicestate": "true",  # an agent who is offline is refused at once, and no leg is tried
        REFERENCE: reference_of(order.attempt_id),
    }
    if config.caller_id:
        parameters["targetcallerid"] = config.caller_id.removeprefix("+")
    if config.auto_answer:
        parameters["phoneautoanswer"] = "true"
    if config.record is not None:
        parameters["record"] = "true" if config.record else "false"
    return parameters


def answer_of(answer: HttpAnswer, *, who: str, code: str = "") -> Answer:
    """What Voicenter's answer means; the account's `code` is kept out of it. Raises OrderRefused, AnswerUnseen.

    An error code that is not documented is a refusal all the same, and for a person to look at.
    """
    if answer.status in (401, 403):
        answer.refuse_failure(who=who)
    told = _told(answer)
    number = _error_code(told)
    if number is None:
        answer.refuse_failure(who=who)
        raise AnswerUnseen(f"{who} answered without an ERRORCODE")
    if number != _ACCEPTED:
        refusal, meaning = _REFUSALS.get(number, (Refusal.CONFIGURATION, "an error code that is not documented"))
        message = shown(told.get("ERRORMESSAGE", ""), without=code)
        if number == _BLOCKED and _OF_THE_EXTENSION.search(message):
            refusal = Refusal.AGENT  # documented of extensions, seen of numbers: the case's numbers are not used up
        return Refused(refusal=refusal, detail=f"ERRORCODE {number}: {meaning}" + (f" ({message})" if message else ""))
    answer.refuse_failure(who=who)
    return Accepted(vendor_ref=shown(told.get("CALLID") or "")[:MAX_VENDOR_REF])


def _told(answer: HttpAnswer) -> Mapping[str, Any]:
    """The fields of an answer by their names in capitals, also of one in XML, which Voicenter writes unless asked for
    JSON; empty where it holds none."""
    try:
        found = orjson.loads(answer.body)
    except orjson.JSONDecodeError:
        found = dict(_MEMBER.findall(answer.body.decode("utf-8", "replace")))
    return {str(name).upper(): value for name, value in found.items()} if isinstance(found, dict) else {}


def _error_code(told: Mapping[str, Any]) -> int | None:
    """ERRORCODE, a number or a text that is one."""
    text = shown(told.get("ERRORCODE", ""))
    return int(text) if re.fullmatch(r"-?[0-9]{1,6}", text) else None


DIALLER: Final = DiallerType(name="voicenter", config_model=VoicenterDiallerConfig, build=VoicenterDialler)
