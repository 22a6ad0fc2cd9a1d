"""Secrets of Standard Webhooks (https://www.standardwebhooks.com): read as people write them, never shown."""

from __future__ import annotations

import base64
from typing import Final

from standardwebhooks import Webhook

MIN_BYTES: Final = 24  #: of a secret, as Standard Webhooks wants it
MAX_BYTES: Final = 64
PREFIX: Final = "whsec_"


def signer(secret: str) -> Webhook:
    """What signs with `secret`: `whsec_` and its bytes in base64. Raises ValueError, which does not show it."""
    text = secret.strip().removeprefix(PREFIX)
    try:
        key = base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except ValueError:
        key = b""
    if not MIN_BYTES <= len(key) <= MAX_BYTES:
        raise ValueError(
            f"is no secret of Standard Webhooks: write {PREFIX} and {MIN_BYTES} to {MAX_BYTES} random bytes in base64"
        )
    return Webhook(key)
