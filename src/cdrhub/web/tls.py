"""The server's side of TLS: certificate and key of `[http]`, loaded before anything else starts and at each reload."""

from __future__ import annotations

import ssl
from contextlib import suppress
from pathlib import Path

from cdrhub.config import HttpConfig
from cdrhub.errors import ConfigError
from cdrhub.os_errors import in_words

_OUT_OF_DATE = frozenset({9, 10})  #: X509_V_ERR_CERT_NOT_YET_VALID, X509_V_ERR_CERT_HAS_EXPIRED


def server_context(http: HttpConfig) -> ssl.SSLContext | None:
    """The context for `http.tls_certificate` and `http.tls_key`; None without them. ConfigError if they cannot be
    read or do not belong together."""
    if http.tls_certificate is None or http.tls_key is None:
        return None
    for key, file in (("tls_certificate", http.tls_certificate), ("tls_key", http.tls_key)):
        try:
            with Path(file).open("rb"):
                pass
        except OSError as error:
            raise ConfigError(f"http.{key}: {file}: {in_words(error)}") from error
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(http.tls_certificate, http.tls_key, password=_no_password)
    except (OSError, ValueError) as error:
        said = f"{http.tls_certificate} and {http.tls_key}: {_in_words(error)}"
        raise ConfigError(f"http.tls_certificate and http.tls_key cannot be used: {said}") from error
    return context


def out_of_date(http: HttpConfig) -> str | None:
    """What a client that trusts the certificate says of its dates, as "certificate has expired"; None if good."""
    server = server_context(http)
    if server is None or http.tls_certificate is None:
        return None
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname = False
    client.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    client.load_verify_locations(http.tls_certificate)
    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    asking, answering = client.wrap_bio(back, there), server.wrap_bio(there, back, server_side=True)
    try:
        for side in (asking, answering, asking):
            with suppress(ssl.SSLWantReadError):
                side.do_handshake()
    except ssl.SSLCertVerificationError as error:
        return error.verify_message if error.verify_code in _OUT_OF_DATE else None
    return None


def _in_words(error: OSError | ValueError) -> str:
    if not isinstance(error, ssl.SSLError):
        return str(error)
    if error.reason == "KEY_VALUES_MISMATCH":
        return "the key is not that of the certificate"
    return f"the one must hold a certificate, the other its private key, both in PEM ({error})"


def _no_password() -> str:
    """What OpenSSL is told instead of asking at the terminal, where a service would wait for ever."""
    raise ValueError("the key is encrypted; write it without a password and make it readable for the service only")
