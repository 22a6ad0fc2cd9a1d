"""The dialler `astercc`: MAKECALL rings the agent, then the number
(https://wiki.astercc.org/doku.php?do=export_raw&id=en:custom_development_guide:apis:http:call).

The attempt's id is handed over as `userdata`, which asterCC promises to give back in the events of a call of a
campaign; of other models the agent, the number and the moment find the attempt. The answer names no call.

A call is neither hung up, for HANGUP wants a channel that only events name, nor asked about: what GetCdr answers is not
documented.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import Final, Literal
from urllib.parse import urlencode

from pydantic import Field, SecretStr, model_validator
from yarl import URL

from cdrhub.model.dialling import Accepted, Answer, DialOrder, Refusal, Refused
from cdrhub.sources.dialler import DiallerType
from cdrhub.sources.dialling.answers import AnswerUnseen, OrderRefused, shown
from cdrhub.sources.dialling.fields import REQUEST_SECONDS, HttpUrl, RequestSeconds
from cdrhub.sources.dialling.http import HttpAnswer
from cdrhub.sources.dialling.http_dialler import HttpDialler
from cdrhub.sources.dialling.orders import NumberForm, PhoneDiallerConfig, agent_of, number_of, reference_of

MD5: Final = "md5"  #: the `password_type` for which the password is hashed
_SUCCEEDED, _FAILED = "1", "2"
_ACCEPTED: Final = 19

_OF_THE_AGENT: Final[Mapping[int, str]] = {
    16: "the agent is not signed in",
    17: "the agent is busy",
    18: "the agent may not call out",
    20: "the call failed",
    22: "a request of the agent is under way",
    23: "the agent has no extension",
    24: "there is no such agent",
    100: "the telephone exchange is not connected",
    118: "the agent has no extension",
    121: "the agent's extension is in use",
}
_OF_THE_CONFIGURATION: Final[Mapping[int, str]] = {
    1: "a parameter is empty",
    2: "the team (orgidentity) is wrong",
    3: "the agent or the password is wrong",
    28: "a parameter is wrong",
    63: "the account or its password is wrong",
    67: "the model is wrong",
    70: "the model is wrong",
    73: "the model is wrong",
    116: "the licence does not allow it",
}
_ANSWER = re.compile(r"\s*\|Ret(?:uen|urn)\|\s*(\d+)\s*\|Ret(?:uen|urn)\|(.*)", re.DOTALL)
_MESSAGE = re.compile(r"BackMsg_0*(\d{1,4})", re.IGNORECASE)
_WORD = r"^[A-Za-z0-9_.-]{0,64}$"


class AsterCCDiallerConfig(PhoneDiallerConfig):
    """A dialler of type `astercc`."""

    type: Literal["astercc"] = Field("astercc", description="What dials.")
    url: HttpUrl = Field(repr=False, description="The interface of the server: `http://192.0.2.1/asterccinterfaces`.")
    team: str = Field(min_length=1, pattern=_WORD, description="The team's identity (`orgidentity`).")
    group: str = Field("", pattern=_WORD, description="Id of the agent group (`agentgroupid`).")
    user_type: Literal["agent", "account"] = Field(
        "agent", description="What a case's agent is in asterCC: an agent's number, or the user name of an account."
    )
    password: SecretStr | None = Field(None, description="The password of all agents that `passwords` does not name.")
    passwords: Mapping[str, SecretStr] = Field(
        default_factory=dict, description='Passwords of single agents: `{ 7001 = "…" }`.'
    )
    password_type: str = Field(
        "plaintext",
        min_length=1,
        pattern=_WORD,
        description="The word for how the password is written (`pwdtype`); for `md5` it is hashed. Some versions want "
        "`textplain`.",
    )
    model_type: Literal["Campaign", "BusinessApp", "Virtualcustomer", "Customerservice"] = Field(
        "Campaign",
        description="What the call is made for (`modeltype`); only with `Campaign` does asterCC return the reference.",
    )
    model_id: str = Field(min_length=1, pattern=_WORD, description="Its id, e.g. that of the campaign.")
    number_form: NumberForm = Field(
        "national",
        description="How numbers are dialled: `national` as people of `region` dial them, `digits` with the country "
        "code, `e164` with a plus sign before it.",
    )
    caller_id: str = Field(
        "", pattern=r"^\+?[0-9]{0,20}$", description="The number that the customer sees; empty: as asterCC is set up."
    )
    trunk: str = Field("", pattern=_WORD, description="The trunk to dial through (`trunkidentity`).")
    request_seconds: RequestSeconds = Field(REQUEST_SECONDS, description="Seconds that one request may take.")

    @model_validator(mode="after")
    def _some_password(self) -> AsterCCDiallerConfig:
        if self.password is None and not self.passwords:
            raise ValueError("`password` or `passwords` is needed")
        return self


class AsterCCDialler(HttpDialler):
    """MAKECALL of one team."""

    def __init__(self, name: str, config: AsterCCDiallerConfig) -> None:
        super().__init__(name, seconds=config.request_seconds)
        self._config = config
        self._url = URL(config.url)

    async def _dial(self, order: DialOrder) -> Answer:
        fields = request(order, self._config)
        answer = await self._http.send(
            "POST",
            self._url,
            body=urlencode(fields).encode(),
            headers={"Content-Type": "application/x-www-form-urlencoded"},
        )
        return answer_of(answer, who=self._http.who, password=fields["password"])


def request(order: DialOrder, config: AsterCCDiallerConfig) -> dict[str, str]:
    """The fields of a request; they go into its body, for URLs are logged. Raises OrderRefused."""
    agent = agent_of(order)
    password = config.passwords.get(agent, config.password)
    if password is None:
        raise OrderRefused(Refusal.AGENT, "the dialler's configuration has no password of this agent")
    said = {
        "EVENT": "MAKECALL",
        "targetdn": number_of(order, config),
        "targettype": "exter",
        "agentgroupid": config.group,
        "usertype": config.user_type,
        "user": agent,
        "orgidentity": config.team,
        "pwdtype": config.password_type,
        "password": _written(password.get_secret_value(), config.password_type),
        "modeltype": config.model_type,
        "model_id": config.model_id,
        "userdata": reference_of(order.attempt_id),
    }
    if config.caller_id:
        said |= {"callerid": config.caller_id, "cidtype": "0"}
    if config.trunk:
        said["trunkidentity"] = config.trunk
    return said


def _written(password: str, kind: str) -> str:
    if kind != MD5:
        return password
    return hashlib.md5(password.encode(), usedforsecurity=False).hexdigest()  # what the vendor's protocol asks for


def answer_of(answer: HttpAnswer, *, who: str, password: str = "") -> Answer:
    """What asterCC's answer means: `|Retuen|1|Retuen|BackMsg_19`, also where it is spelled `Return`; the `password` is
    kept out of it. Raises OrderRefused, AnswerUnseen.

    Where the code and the message contradict each other nobody knows. A failure whose message is not documented is for
    a person to look at.
    """
    answer.refuse_failure(who=who)
    found = _ANSWER.fullmatch(answer.body.decode("utf-8", "replace"))
    if found is None:
        raise AnswerUnseen(f"{who} answered what is not |Retuen|code|Retuen|message")
    code, message = found[1], shown(found[2], without=password)
    number = int(told[1]) if (told := _MESSAGE.search(found[2])) is not None else None
    if code == _SUCCEEDED and not _refuses(number):
        return Accepted()
    if code != _FAILED or number == _ACCEPTED:
        raise AnswerUnseen(f"{who} answered {message!r} with the code {code[:8]}")
    if (meaning := _OF_THE_AGENT.get(number or 0)) is not None:
        return Refused(refusal=Refusal.AGENT, detail=f"{message}: {meaning}")
    meaning = _OF_THE_CONFIGURATION.get(number or 0, "a message that is not documented")
    return Refused(refusal=Refusal.CONFIGURATION, detail=f"{message}: {meaning}")


def _refuses(number: int | None) -> bool:
    return number in _OF_THE_AGENT or number in _OF_THE_CONFIGURATION


DIALLER: Final = DiallerType(name="astercc", config_model=AsterCCDiallerConfig, build=AsterCCDialler)
