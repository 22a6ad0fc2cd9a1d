"""`[broadcast]`: how events are told, and `[[broadcast.webhooks]]`, who is told.

The tables become what the broadcast works with (`BroadcastConfig.endpoints`).
"""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import Annotated

from pydantic import AfterValidator, Field, SecretStr
from pydantic import model_validator as check_table

from cdrhub.broadcast.endpoint import Endpoint
from cdrhub.broadcast.events import TYPES, Selection
from cdrhub.broadcast.render import Privacy, Veil
from cdrhub.config.table import NAME_PATTERN, Table
from cdrhub.outgoing.webhook_secrets import signer
from cdrhub.sources.dialling.fields import HttpUrl

MAX_WEBHOOKS = 100
MAX_FORMER_SECRETS = 3
MAX_WORDS = 1_000  #: in one list of sources, queues or tenants
MIN_PSEUDONYM_KEY = 32  #: characters


def _a_secret(secret: SecretStr) -> SecretStr:
    signer(secret.get_secret_value())
    return secret


def _a_type(pattern: str) -> str:
    if not any(fnmatchcase(kind, pattern) for kind in TYPES):
        raise ValueError(f"{pattern[:40]!r} matches no event: write e.g. 'call.*', 'case.contacted' or '*'")
    return pattern


Secret = Annotated[SecretStr, AfterValidator(_a_secret)]
Pattern = Annotated[str, Field(min_length=1, max_length=64), AfterValidator(_a_type)]
Word = Annotated[str, Field(max_length=255)]


class WebhookConfig(Table):
    """`[[broadcast.webhooks]]`: one receiver."""

    name: str = Field(
        pattern=NAME_PATTERN,
        description="Its name in the database, the logs and `cdrhub deliveries`; a webhook of another name starts "
        "anew.",
    )
    url: HttpUrl = Field(repr=False, description="Where events are posted.")
    secret: Secret = Field(
        description="What requests are signed with, by Standard Webhooks: `whsec_` and 24 to 64 bytes in base64."
    )
    former_secrets: tuple[Secret, ...] = Field(
        (),
        max_length=MAX_FORMER_SECRETS,
        description="Secrets that receivers still know: requests are signed with these too, until they are taken out.",
    )
    types: tuple[Pattern, ...] = Field(
        (), max_length=MAX_WORDS, description='Only these events, e.g. `["call.*", "case.contacted"]`; empty: all.'
    )
    sources: tuple[Word, ...] = Field(
        (), max_length=MAX_WORDS, description="Only events of these sources; empty: of all."
    )
    queues: tuple[Word, ...] = Field(
        (), max_length=MAX_WORDS, description="Only events of calls in these queues; empty: of all."
    )
    tenants: tuple[Word, ...] = Field(
        (), max_length=MAX_WORDS, description="Only events of these tenants; empty: of all."
    )
    privacy: Privacy = Field(
        Privacy.FULL,
        description="What the receiver sees of numbers and names: `full`, `last_digits` (no names), `pseudonym` (the "
        "same word for the same number, see `broadcast.pseudonym_key`) or `none`.",
    )
    allow_private: bool = Field(False, description="Whether the URL may point into a private network.")

    @property
    def selection(self) -> Selection:
        """Which events it gets."""
        return Selection(types=self.types, sources=self.sources, queues=self.queues, tenants=self.tenants)


class BroadcastConfig(Table):
    """`[broadcast]`: how events are told."""

    pseudonym_key: SecretStr | None = Field(
        None,
        min_length=MIN_PSEUDONYM_KEY,
        max_length=512,
        description="Secret that pseudonyms are made with, 32 characters or more; whoever knows it can find the "
        "number behind a pseudonym. With another key the pseudonyms are different.",
    )
    webhooks: tuple[WebhookConfig, ...] = Field(
        (), max_length=MAX_WEBHOOKS, description="One `[[broadcast.webhooks]]` for each receiver."
    )

    @check_table(mode="after")
    def _a_key_for_pseudonyms(self) -> BroadcastConfig:
        if self.pseudonym_key is None and any(hook.privacy is Privacy.PSEUDONYM for hook in self.webhooks):
            raise ValueError("`pseudonym_key` is missing: a webhook has privacy = 'pseudonym'")
        return self

    def veil(self, privacy: Privacy) -> Veil:
        """How a receiver with this privacy sees numbers and names."""
        key = self.pseudonym_key.get_secret_value().encode() if self.pseudonym_key is not None else b""
        return Veil(privacy=privacy, key=key)

    def endpoints(self) -> Sequence[Endpoint]:
        """The receivers as the broadcast works with them."""
        return [
            Endpoint(
                name=hook.name,
                url=hook.url,
                secrets=tuple(one.get_secret_value() for one in (hook.secret, *hook.former_secrets)),
                selection=hook.selection,
                veil=self.veil(hook.privacy),
                allow_private=hook.allow_private,
            )
            for hook in self.webhooks
        ]
