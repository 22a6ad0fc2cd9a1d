"""Fields of settings about requests over HTTP, without what sends them: every command reads the settings."""

from __future__ import annotations

from typing import Annotated, Final

from pydantic import AfterValidator, Field
from yarl import URL

MAX_URL: Final = 2_048  #: characters
REQUEST_SECONDS: Final = 15.0  #: from the first look-up of the name to the last byte of the answer


def _an_http_url(text: str) -> str:
    try:
        url = URL(text)
    except ValueError:
        raise ValueError("is not a URL") from None
    if url.scheme not in ("http", "https") or not url.host:
        raise ValueError("is not an http:// or https:// URL with a host")
    if url.user is not None or url.password is not None:
        raise ValueError("must not hold a user or a password")
    if url.fragment:
        raise ValueError("must not hold a fragment (#…)")
    return text


HttpUrl = Annotated[str, Field(max_length=MAX_URL), AfterValidator(_an_http_url)]
"""A field that is an http or https URL without user, password and fragment."""

RequestSeconds = Annotated[float, Field(ge=0.1, le=120)]
"""A field that bounds one request."""
