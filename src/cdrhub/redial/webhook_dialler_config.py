"""The settings of the dialler `webhook`, which every command reads; what sends the orders is webhook_dialler.py."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, SecretStr, field_validator

from cdrhub.outgoing.webhook_secrets import signer
from cdrhub.sources.dialler import DiallerConfig
from cdrhub.sources.dialling.fields import REQUEST_SECONDS, HttpUrl, RequestSeconds


class WebhookDiallerConfig(DiallerConfig):
    """A dialler of type `webhook`."""

    type: Literal["webhook"] = Field("webhook", description="What dials.")
    url: HttpUrl = Field(repr=False, description="Where orders are posted.")
    secret: SecretStr = Field(
        description="What requests are signed with, by Standard Webhooks: `whsec_` and 24 to 64 bytes in base64."
    )
    idempotent: bool = Field(
        False,
        description="The receiver never dials twice for one `webhook-id`, so a request without an answer may be "
        "repeated.",
    )
    allow_private: bool = Field(False, description="Whether the URL may point into a private network.")
    request_seconds: RequestSeconds = Field(REQUEST_SECONDS, description="Seconds that one request may take.")

    @field_validator("secret")
    @classmethod
    def _a_signing_secret(cls, secret: SecretStr) -> SecretStr:
        signer(secret.get_secret_value())
        return secret
