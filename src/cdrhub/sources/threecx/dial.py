"""The dialler `3cx`: the Call Control API of v20 (`api = "call_control"`), or the make_call link of v10 to v15.

Both ring the extension first and dial the number once it was picked up. Neither carries a reference of ours, so a call
is found by its agent, its number and its start; only `callid`, a small number of the Call Control API, lets the PBX be
asked about it.

https://www.3cx.com/docs/call-control-api-endpoints/ · http://www.3cx.com/blog/docs/3cx-http-api
"""

from __future__ import annotations

import asyncio
import random
import re
from collections.abc import Callable, Mapping
from typing import Annotated, Final, Literal, NamedTuple, cast
from urllib.parse import urlencode

import orjson
from pydantic import AfterValidator, Field, SecretStr, model_validator
from yarl import URL

from cdrhub.model.dialling import Accepted, Answer, DialOrder, Refusal, Standing
from cdrhub.sources.dialler import Dialler, DiallerType
from cdrhub.sources.dialling.answers import AnswerUnseen, OrderRefused, shown
from cdrhub.sources.dialling.fields import REQUEST_SECONDS, HttpUrl, RequestSeconds
from cdrhub.sources.dialling.http import HttpAnswer
from cdrhub.sources.dialling.http_dialler import HttpDialler
from cdrhub.sources.dialling.orders import PhoneDiallerConfig, agent_of, number_of

TOKEN_PATH: Final = "connect/token"  # noqa: S105 - a path
MAKE_CALL_PATH: Final = "ivr/PbxAPI.aspx"
MAX_TOKENS: Final = 4  #: for one request; with `request_seconds` for each it ends before the hub stops waiting
STEP_SECONDS: Final = 0.3
MAX_PARTICIPANTS: Final = 1_000  #: of one extension that are looked at

_TOKEN = re.compile(r"[A-Za-z0-9._~+/=-]{1,16384}")
_SESSION_PATH = re.compile(r"/ivr/\(S\([A-Za-z0-9]{1,64}\)\)/PbxAPI\.aspx", re.IGNORECASE)
_REFERENCE = re.compile(r"([A-Za-z0-9._-]{1,64}):([0-9]{1,18})")

_SUCCESS: Final = frozenset({"success", "1"})
_FAILURE: Final = frozenset({"failure", "failed", "rejected", "-1", "0"})
"""`finalstatus`, which the API documents as a word, and its list of types as a number."""

_REFUSALS: Final[Mapping[str, Refusal]] = {
    "notavailable": Refusal.AGENT,
    "notregistered": Refusal.AGENT,
    "notregistereddev": Refusal.AGENT,
    "fwdonnotregistered": Refusal.AGENT,
    "notfound": Refusal.NUMBER,
    "targetnotfound": Refusal.NUMBER,
    "invaliddestination": Refusal.NUMBER,
    "noroute": Refusal.NETWORK,
    "noroutetodestination": Refusal.NETWORK,
    "noroutexists": Refusal.NETWORK,
    "norouteexists": Refusal.NETWORK,
    "routebusy": Refusal.NETWORK,
}
"""Words of `reason`, without what is no letter. Any other, `busy`, `timeout`, `declined`, `failed` or none, does not
tell whether the person's phone rang."""


def _an_origin(text: str) -> str:
    url = URL(text)
    if url.path not in ("", "/") or url.query_string:
        raise ValueError(
            "must be the address of the PBX alone: https://pbx.example.com, or http://pbx.example.com:5000"
        )
    return text


class ThreeCXDiallerConfig(PhoneDiallerConfig):
    """A dialler of type `3cx`."""

    type: Literal["3cx"] = Field("3cx", description="What dials.")
    url: Annotated[HttpUrl, AfterValidator(_an_origin)] = Field(
        description="The PBX: `https://pbx.example.com`, or `http://pbx.example.com:5000` for `make_call`."
    )
    api: Literal["call_control", "make_call"] = Field(
        "call_control",
        description="`call_control`: the Call Control API of v20. `make_call`: the link of older versions.",
    )
    client_id: str = Field(
        "", max_length=256, description="`call_control`: the client id, which is the DN of its route point."
    )
    client_secret: SecretStr | None = Field(None, description="`call_control`: the client's API key.")
    pins: Mapping[str, Annotated[SecretStr, Field(min_length=1, max_length=64)]] = Field(
        default_factory=dict,
        max_length=10_000,
        description='`make_call`: the PIN of each extension, e.g. `{ 101 = "${PIN_101}" }`.',
    )
    request_seconds: RequestSeconds = Field(REQUEST_SECONDS, description="Seconds that one request may take.")

    @model_validator(mode="after")
    def _keys_of_the_api(self) -> ThreeCXDiallerConfig:
        if self.api == "call_control":
            if not self.client_id or self.client_secret is None:
                raise ValueError('`client_id` and `client_secret` are needed for api = "call_control"')
            if self.pins:
                raise ValueError('`pins` belongs to api = "make_call"; take it out or change `api`')
        else:
            if not self.pins:
                raise ValueError('`pins` is needed for api = "make_call"')
            if self.client_id or self.client_secret is not None:
                raise ValueError('`client_id` and `client_secret` belong to api = "call_control"')
        return self


class CallReference(NamedTuple):
    """What the vendor's reference of an attempt holds: `101:17`."""

    agent: str
    callid: int

    def __str__(self) -> str:
        return f"{self.agent}:{self.callid}"

    @classmethod
    def read(cls, text: str) -> CallReference | None:
        """The reference written as `text`; None for anything else."""
        found = _REFERENCE.fullmatch(text)
        return cls(found[1], int(found[2])) if found is not None else None


class CallControlDialler(HttpDialler):
    """One PBX with the Call Control API."""

    def __init__(self, name: str, config: ThreeCXDiallerConfig) -> None:
        super().__init__(name, seconds=config.request_seconds)
        self._config = config
        self._url = URL(config.url)
        self._asking = asyncio.Lock()
        self._token = ""

    async def ask(self, *, attempt_id: str, vendor_ref: str) -> Standing:  # noqa: ARG002 - of the protocol
        """Whether the extension still is in that call; how one ended only the CDR tells."""
        reference = CallReference.read(vendor_ref)
        try:
            live = reference is not None and await self._participant(reference) is not None
        except (OrderRefused, AnswerUnseen):
            return Standing()
        return Standing(live=live)

    async def hang_up(self, *, attempt_id: str, vendor_ref: str) -> None:  # noqa: ARG002 - of the protocol
        """Drop the extension out of that call, and of no other."""
        reference = CallReference.read(vendor_ref)
        if reference is None:
            return
        try:
            participant = await self._participant(reference)
            if participant is not None:
                path = ("callcontrol", reference.agent, "participants", str(participant), "drop")
                await self._authorised("POST", path, body=b"{}")
        except (OrderRefused, AnswerUnseen):
            return  # over already, or out of reach: its record tells

    async def _dial(self, order: DialOrder) -> Answer:
        number, agent = number_of(order, self._config), agent_of(order)
        body = orjson.dumps({"destination": number})
        answer = await self._authorised("POST", ("callcontrol", agent, "makecall"), body=body)
        return answer_of(answer, agent=agent, who=self._http.who)

    async def _participant(self, reference: CallReference) -> int | None:
        """The id of the extension's part in that call; None where it has none. Raises OrderRefused, AnswerUnseen."""
        answer = await self._authorised("GET", ("callcontrol", reference.agent))
        answer.refuse_failure(who=self._http.who)
        there = answer.json(who=self._http.who).get("participants")
        for part in there[:MAX_PARTICIPANTS] if isinstance(there, list) else ():
            if isinstance(part, dict) and part.get("callid") == reference.callid and isinstance(part.get("id"), int):
                return int(part["id"])
        return None

    async def _authorised(
        self, method: Literal["GET", "POST"], path: tuple[str, ...], *, body: bytes | None = None
    ) -> HttpAnswer:
        """The answer to a request with a token. A refused token is replaced: after a 401 nothing was done, and another
        hub may have asked for a token meanwhile, which ended ours. Raises OrderRefused, AnswerUnseen."""
        url = self._url.joinpath(*path)
        token = ""
        for replaced in range(MAX_TOKENS):
            if replaced > 1:  # two hubs that take it from each other in turn are to get out of step
                await asyncio.sleep(random.uniform(0, STEP_SECONDS * replaced))  # noqa: S311 - no secret
            token = await self._token_other_than(token)
            headers = {"Authorization": f"Bearer {token}"}
            if body is not None:
                headers["Content-Type"] = "application/json"
            answer = await self._http.send(method, url, body=body, headers=headers)
            if answer.status != 401:
                return answer
        raise OrderRefused(Refusal.CONFIGURATION, f"{self._http.who} refuses every token that it gives")

    async def _token_other_than(self, refused: str) -> str:
        """A token other than the `refused` one. A client has one live token, and a new one ends it, so only one request
        for a token is made at a time. No order has left yet: whatever goes wrong is a refusal."""
        async with self._asking:
            if not self._token or self._token == refused:
                self._token = ""
                self._token = await self._asked_token()
            return self._token

    async def _asked_token(self) -> str:
        secret = self._config.client_secret
        form = {
            "client_id": self._config.client_id,
            "client_secret": secret.get_secret_value() if secret is not None else "",
            "grant_type": "client_credentials",
        }
        who = self._http.who
        try:
            answer = await self._http.send(
                "POST",
                self._url.joinpath(*TOKEN_PATH.split("/")),
                body=urlencode(form).encode(),
                headers={"Content-Type": "application/x-www-form-urlencoded"},
            )
            answer.refuse_failure(who=f"{who}, asked for a token,")
        except AnswerUnseen as error:
            raise OrderRefused(Refusal.NETWORK, str(error)) from error
        try:
            token = answer.json(who=who).get("access_token")
        except AnswerUnseen:
            token = None
        if not isinstance(token, str) or _TOKEN.fullmatch(token) is None:
            raise OrderRefused(Refusal.CONFIGURATION, f"{who} gives no token: is `url` the PBX?")
        return token


def answer_of(answer: HttpAnswer, *, agent: str, who: str) -> Answer:
    """What the answer to a makecall means; HTTP 200 alone is no success. Raises OrderRefused, AnswerUnseen."""
    match answer.status:
        case 403:
            raise OrderRefused(Refusal.CONFIGURATION, f"{who}: the client may not control this extension (HTTP 403)")
        case 404 | 424:
            raise OrderRefused(Refusal.AGENT, f"{who}: no such extension, or no device of it (HTTP {answer.status})")
        case 422:
            raise OrderRefused(Refusal.NUMBER, f"{who} does not dial this number (HTTP 422)")
    answer.refuse_failure(who=who)
    said = answer.json(who=who)
    status = shown(said.get("finalstatus", "")).casefold()
    if status in _SUCCESS:
        result = said.get("result")
        callid = result.get("callid") if isinstance(result, dict) else None
        known = isinstance(callid, int) and not isinstance(callid, bool) and 0 < callid < 10**18
        return Accepted(vendor_ref=str(CallReference(agent, cast("int", callid))) if known else "")
    if status not in _FAILURE:
        raise AnswerUnseen(f"{who} answered HTTP {answer.status} with finalstatus {shown(status)!r}")
    reason = shown(said.get("reason") or "")
    detail = f"{who}: {reason or 'Failure'} {shown(said.get('reasontext') or '')}".rstrip()
    word = "".join(letter for letter in reason.casefold() if letter.isalpha())
    if word not in _REFUSALS:
        raise AnswerUnseen(detail)
    raise OrderRefused(_REFUSALS[word], detail)


class MakeCallDialler(HttpDialler):
    """One PBX with the make_call link. It holds the PIN of the extension: the URL is never written down. What it
    answers besides the status is not documented."""

    def __init__(self, name: str, config: ThreeCXDiallerConfig) -> None:
        super().__init__(name, seconds=config.request_seconds)
        self._config = config
        self._url = URL(config.url)

    async def _dial(self, order: DialOrder) -> Answer:
        number, agent = number_of(order, self._config), agent_of(order)
        who = self._http.who
        if (pin := self._config.pins.get(agent)) is None:
            raise OrderRefused(Refusal.AGENT, f"{who} has no PIN of the agent's extension in `pins`")
        said = {"func": "make_call", "from": agent, "to": number, "pin": pin.get_secret_value()}
        answer = await self._http.send("GET", self._url.joinpath(*MAKE_CALL_PATH.split("/")).with_query(said))
        if answer.status in (301, 302) and (path := self._session_path(answer)) is not None:
            answer = await self._http.send("GET", self._url.with_path(path).with_query(said))
        answer.refuse_failure(who=who)
        return Accepted()

    def _session_path(self, answer: HttpAnswer) -> str | None:
        """The path with a session in it, to which ASP.NET redirects a client without cookies before it does anything.
        None for any other redirect, which is not followed."""
        try:
            there = self._url.join(URL(answer.location or ""))
        except ValueError:
            return None
        if there.origin() != self._url.origin() or _SESSION_PATH.fullmatch(there.path) is None:
            return None
        return there.path


_DIALLERS: Final[Mapping[str, Callable[[str, ThreeCXDiallerConfig], Dialler]]] = {
    "call_control": CallControlDialler,
    "make_call": MakeCallDialler,
}


def _build(name: str, config: ThreeCXDiallerConfig) -> Dialler:
    return _DIALLERS[config.api](name, config)


DIALLER: Final = DiallerType(name="3cx", config_model=ThreeCXDiallerConfig, build=_build)
