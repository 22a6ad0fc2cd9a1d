"""The source's table: each mistake is one message that names the key and says what to do."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from cdrhub.sources.threecx import SYSTEM
from cdrhub.sources.threecx.config import ThreeCXConfig, ThreeCXSettings
from cdrhub.sources.threecx.layout import STANDARD_20, STANDARD_27


def _config(**keys: Any) -> ThreeCXConfig:
    return ThreeCXConfig.model_validate({"type": "3cx", **keys})


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({}, "`listen` is missing"),
        ({"mode": "connect", "host": "pbx"}, "`port` is missing"),
        ({"mode": "file"}, "cdr.log"),
        ({"mode": "http"}, "/ingest/3cx/"),
        ({"mode": "http", "path": "/cdr"}, "must begin with /ingest/"),
        ({"mode": "http", "path": "/ingest/3cx?key=0123456789abcdef"}, "`path`: goes on after /ingest/ with letters"),
        ({"mode": "file", "path": "x", "allow": []}, "`allow` has no meaning with mode = 'file': it belongs to mode"),
        ({"mode": "file", "path": "x", "listen": "0.0.0.0:1"}, "`listen` has no meaning with mode = 'file'"),
        ({"mode": "directory", "path": "x", "pattern": "a/b"}, "`pattern`"),
        ({"listen": "5555"}, "write host:port"),
        ({"listen": "::1:5555"}, "or '[::1]:8080'"),
        ({"listen": "a:99999"}, "a port is a number up to 65535"),
        ({"listen": "a:65536"}, "a port is a number up to 65535"),
        ({"listen": ":5555"}, "write host:port"),
        ({"listen": "a:1", "allow": ["10.0.0.0/40"]}, "'10.0.0.0/40' is not a network"),
        ({"listen": "a:1", "fields": ["historyID"]}, "did you mean 'historyid'?"),
        ({"listen": "a:1", "fields": ["historyid", "historyid"]}, "twice"),
        ({"listen": "a:1", "fields": []}, "`fields` is empty"),
        ({"listen": "a:1", "timezone": "Africa/Lagoss"}, "did you mean 'Africa/Lagos'?"),
        ({"listen": "a:1", "max_line": 10}, "max_line"),
        ({"listen": "a:1", "colour": "red"}, "colour"),
    ],
)
def test_mistakes(keys: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match="validation error") as caught:
        _config(**keys)
    assert said in str(caught.value)


def test_the_least_that_each_mode_needs() -> None:
    for keys in (
        {"listen": "0.0.0.0:5555"},
        {"mode": "connect", "host": "10.0.0.5", "port": 5555},
        {"mode": "file", "path": "/var/lib/3cxpbx/cdr.log"},
        {"mode": "directory", "path": "/var/lib/3cxpbx/CDRLogs"},
        {"mode": "http", "path": "/ingest/3cx/0123456789abcdef"},
    ):
        config = _config(**keys)
        contract = SYSTEM.delivery(config)
        assert contract.acknowledged == (config.mode in ("file", "directory", "http"))
        assert contract.speaks == "at_end"
        assert "historyid" in contract.lost
        assert config.settle_seconds == 3.0


def test_the_decode_settings_hold_no_transport() -> None:
    settings = _config(listen="a:1", timezone="Europe/Paris", region="FR", fields=["historyid"]).decode_settings()
    assert isinstance(settings, ThreeCXSettings)
    assert (settings.timezone, settings.region, settings.fields) == ("Europe/Paris", "FR", ("historyid",))
    assert "listen" not in settings.model_dump()


def test_the_layouts() -> None:
    assert ThreeCXSettings().layouts() == (STANDARD_27, STANDARD_20)
    assert ThreeCXSettings(fields=("historyid",)).layouts() == (("historyid",),)


def test_a_file_splits_into_lines() -> None:
    assert SYSTEM.split(b"a\r\n\r\nb\nc", final=False) == ([b"a", b"b"], b"c")
    assert SYSTEM.split(b"a\r\n\r\nb\nc", final=True) == ([b"a", b"b", b"c"], b"")
    assert SYSTEM.split(b"", final=True) == ([], b"")
