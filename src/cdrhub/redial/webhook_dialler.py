"""The dialler `webhook`: an order is posted to a service of yours, which dials.

Requests are signed by Standard Webhooks (https://www.standardwebhooks.com): `webhook-id` is the id of the attempt, so
that a receiver which keeps the ids of a day dials nothing twice. With `idempotent = true` it promises that, and a
request whose answer was not seen may be sent again.

The answer is read as follows; docs/dialling.md has it for those who write a receiver.

- 2xx: accepted, `{"vendor_ref": "…"}` if it has a name for the call;
- `{"refusal": "agent" | "number" | "configuration" | "network", "detail": "…"}` with 200 or any 4xx: refused;
- another 4xx or 3xx but 303: refused, configuration; 408, 425, 429, and 503 with `Retry-After`: refused, network;
- anything else, or no answer: unseen.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

import orjson
from yarl import URL

from cdrhub.model.dialling import Accepted, Answer, DialOrder, Refusal, Refused
from cdrhub.outgoing.webhook_secrets import signer
from cdrhub.redial.webhook_dialler_config import WebhookDiallerConfig
from cdrhub.sources.dialler import DiallerType
from cdrhub.sources.dialling.answers import MAX_VENDOR_REF, AnswerUnseen, shown
from cdrhub.sources.dialling.http import HttpAnswer
from cdrhub.sources.dialling.http_dialler import HttpDialler
from cdrhub.sources.dialling.orders import reference_of

ORDER: Final = "redial.dial"  #: `type` of the request's body


class WebhookDialler(HttpDialler):
    """One receiver of orders. It tells of its calls by their records, and hears of a case that was reached by the
    broadcast."""

    def __init__(self, name: str, config: WebhookDiallerConfig) -> None:
        super().__init__(name, seconds=config.request_seconds, public_only=not config.allow_private)
        self.idempotent = config.idempotent
        self._url = URL(config.url)
        self._webhook = signer(config.secret.get_secret_value())

    async def _dial(self, order: DialOrder) -> Answer:
        attempt = reference_of(order.attempt_id)
        now = datetime.now(UTC)
        body = rendered(order, at=now)
        headers = {
            "Content-Type": "application/json",
            "webhook-id": attempt,
            "webhook-timestamp": str(int(now.timestamp())),
            "webhook-signature": self._webhook.sign(attempt, now, body.decode()),
        }
        answer = await self._http.send("POST", self._url, body=body, headers=headers)
        return answer_of(answer, who=self._http.who)


def rendered(order: DialOrder, *, at: datetime) -> bytes:
    """The body of a request: `type`, `timestamp` and `data`, as Standard Webhooks recommends."""
    return orjson.dumps(
        {
            "type": ORDER,
            "timestamp": at.astimezone(UTC).isoformat().replace("+00:00", "Z"),
            "data": {
                "attempt_id": order.attempt_id,
                "case_code": order.case_code,
                "source": order.source,
                "number": order.number,
                "agent": order.agent,
                "reference": order.reference,
                "campaign": order.campaign,
                "metadata": dict(order.metadata),
            },
        },
        default=str,
    )


def answer_of(answer: HttpAnswer, *, who: str) -> Answer:
    """What a receiver's answer means. Raises OrderRefused, AnswerUnseen."""
    told = _told(answer, who=who)
    word = told.get("refusal")
    if word is not None and (200 <= answer.status < 300 or 400 <= answer.status < 500):
        if word not in tuple(Refusal):
            raise AnswerUnseen(f"{who} refuses with a word that is not known: {shown(word)!r}")
        return Refused(refusal=Refusal(word), detail=shown(told.get("detail") or f"{who} refuses"))
    answer.refuse_failure(who=who)
    reference = told.get("vendor_ref")
    if reference is not None and not isinstance(reference, str | int):
        reference = None
    return Accepted(vendor_ref="" if reference is None else shown(reference)[:MAX_VENDOR_REF])


def _told(answer: HttpAnswer, *, who: str) -> Mapping[str, Any]:
    """The JSON object of an answer; empty where it has none. A success needs no body to be understood, so that one
    which is no JSON counts as none."""
    try:
        return answer.json(who=who)
    except AnswerUnseen:
        return {}


DIALLER: Final = DiallerType(name="webhook", config_model=WebhookDiallerConfig, build=WebhookDialler)
