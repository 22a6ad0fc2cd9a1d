"""`[redial.case_lookup]`: where a CRM may be asked, and what is refused before anything is sent."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from cdrhub.config import parse
from cdrhub.config.redial import CaseLookupConfig
from cdrhub.errors import ConfigError

TABLE = '[redial.case_lookup]\nurl = "{url}"\nheaders = {{ {headers} }}\n'


def read(url: str = "https://crm.example/{code}", headers: str = "") -> CaseLookupConfig | None:
    text = TABLE.format(url=url, headers=headers)
    return parse(text, path=Path("/nowhere/cdrhub.toml"), environ={"CRM_TOKEN": "secret"}).redial.case_lookup


def test_it_is_not_asked_unless_it_is_configured() -> None:
    assert parse("", path=Path("/nowhere/cdrhub.toml"), environ={}).redial.case_lookup is None


@pytest.mark.parametrize(
    "url",
    [
        "https://crm.example/cases/{code}",
        "http://crm.example:8080/cases?code={code}&tenant={tenant}",
        "https://[2606:4700:4700::1111]/{tenant}/{code}",
    ],
)
def test_a_url_with_a_place_for_the_code(url: str) -> None:
    config = read(url)
    assert config is not None
    assert config.url == url
    assert not config.allow_private


@pytest.mark.parametrize(
    "url",
    [
        "https://crm.example/cases",
        "https://{code}.example/cases",
        "https://crm.example:{code}/x/{code}",
        "https://{tenant}.example/{code}",
        "https://user:pass@crm.example/{code}",
        "ftp://crm.example/{code}",
        "file:///etc/{code}",
        "https:///{code}",
        "https://crm.example/{code}#x",
    ],
)
def test_a_url_that_names_no_host_itself_or_no_code_is_refused(url: str) -> None:
    with pytest.raises(ConfigError, match="case_lookup"):
        read(url)


def test_headers_are_secrets() -> None:
    config = read(headers='Authorization = "Bearer ${CRM_TOKEN}"')
    assert config is not None
    assert config.headers == {"Authorization": SecretStr("Bearer secret")}
    assert "Bearer secret" not in repr(config)


@pytest.mark.parametrize(
    "headers",
    [
        '"X Y" = "a"',
        '"" = "a"',
        '"X:" = "a"',
        r'X = "a\r\nHost: b"',
        r'X = "a\u0000"',
        'X = "ä"',
        f'X = "{"a" * 5000}"',
        ", ".join(f'X{place} = "a"' for place in range(21)),
    ],
    ids=lambda headers: str(headers)[:20],
)
def test_a_header_that_cannot_be_sent_is_refused(headers: Any) -> None:
    with pytest.raises(ConfigError, match="case_lookup"):
        read(headers=headers)
