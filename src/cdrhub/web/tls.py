"""The server's side of TLS: certificate and key of `[http]`, loaded before anything else starts and at each reload."""

from __future__ import annotations

import ssl

from cdrhub.config import HttpConfig
from cdrhub.errors import ConfigError


def server_context(http: HttpConfig) -> ssl.SSLContext | None:
    """The context for `http.tls_certificate` and `http.tls_key`; None without them. ConfigError if they cannot be
    read or do not belong together."""
    if http.tls_certificate is None or http.tls_key is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(http.tls_certificate, http.tls_key, password=_no_password)
    except (OSError, ValueError) as error:
        raise ConfigError(f"http.tls_certificate and http.tls_key cannot be used: {error}") from error
    return context


def _no_password() -> str:
    """What OpenSSL is told instead of asking at the terminal, where a service would wait for ever."""
    raise ValueError("the key is encrypted; write it without a password and make it readable for the service only")
