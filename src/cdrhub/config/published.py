"""Secrets that everybody knows, for they stand in the documentation: whoever copies an example copies its secret too.

Pure: a configuration in, the tables with such a secret out. A token and an ingest path count only where others than
this machine can reach them.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator

from cdrhub.config.model import Config
from cdrhub.redial.webhook_dialler_config import WebhookDiallerConfig

EXAMPLE = "0123456789abcdef"  #: stands in each secret of the documentation
_SPELLINGS = (EXAMPLE, b64encode(EXAMPLE.encode()).decode()[:-4])  #: the latter in those of webhooks


def published(config: Config) -> Iterator[str]:
    """The tables whose secret is one of the documentation's."""
    return (where for where, secret in _secrets(config) if any(each in secret for each in _SPELLINGS))


def _secrets(config: Config) -> Iterator[tuple[str, str]]:
    if not config.http.loopback_only or config.http.trusted_proxies:
        for token in config.http.tokens:
            yield f"http.tokens: {token.name}", token.token.get_secret_value()
        for name, source in config.sources.items():
            yield f"sources.{name}", source.ingest_path or ""
    for hook in config.broadcast.webhooks:
        for secret in (hook.secret, *hook.former_secrets):
            yield f"broadcast.webhooks: {hook.name}", secret.get_secret_value()
    for name, table in config.redial.diallers.items():
        if isinstance(table, WebhookDiallerConfig):
            yield f"redial.diallers.{name}", table.secret.get_secret_value()
