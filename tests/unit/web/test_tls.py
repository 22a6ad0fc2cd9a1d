"""Why a certificate or its key cannot be used."""

from __future__ import annotations

from pathlib import Path

import pytest

from cdrhub.config import HttpConfig
from cdrhub.errors import ConfigError
from cdrhub.web.tls import out_of_date, server_context
from support.certificates import EXPIRED, NEW, OLD


def http(folder: Path, *, certificate: str, key: str) -> HttpConfig:
    """A configuration of files that hold this."""
    files = {"tls_certificate": folder / "site.pem", "tls_key": folder / "site.key"}
    files["tls_certificate"].write_text(certificate)
    files["tls_key"].write_text(key)
    return HttpConfig.model_validate(files)


def test_a_certificate_and_its_key(tmp_path: Path) -> None:
    assert server_context(http(tmp_path, certificate=OLD[0], key=OLD[1])) is not None


@pytest.mark.parametrize(
    ("certificate", "key", "said"),
    [
        (OLD[0], NEW[1], "site.key: the key is not that of the certificate"),
        ("junk", OLD[1], "site.key: the one must hold a certificate, the other its private key, both in PEM"),
        (OLD[1], OLD[0], "site.key: the one must hold a certificate, the other its private key, both in PEM"),
    ],
)
def test_what_cannot_be_used_is_said(tmp_path: Path, certificate: str, key: str, said: str) -> None:
    with pytest.raises(ConfigError, match=f"^http.tls_certificate and http.tls_key cannot be used: .*/{said}"):
        server_context(http(tmp_path, certificate=certificate, key=key))


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    site = http(tmp_path, certificate=OLD[0], key=OLD[1])
    (tmp_path / "site.key").unlink()
    with pytest.raises(ConfigError, match=r"^http.tls_key: .*/site.key: No such file or directory$"):
        server_context(site)


@pytest.mark.parametrize(("certificate", "said"), [(OLD[0], None), (EXPIRED, "certificate has expired")])
def test_the_dates_of_a_certificate_are_looked_at(tmp_path: Path, certificate: str, said: str | None) -> None:
    assert out_of_date(http(tmp_path, certificate=certificate, key=OLD[1])) == said
    assert out_of_date(HttpConfig()) is None
