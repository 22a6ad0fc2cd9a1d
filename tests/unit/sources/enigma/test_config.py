"""The table of an Enigma source: what is refused, and that no message shows the password."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from cdrhub.sources.enigma import SYSTEM
from cdrhub.sources.enigma.config import EnigmaConfig


@pytest.mark.parametrize(
    "url",
    [
        "redis://127.0.0.1:8001/0",
        "redis://:pass%40word@dialler/3",
        "rediss://user:secret@dialler:6380/0",
        "unix:///run/redis.sock?db=2",
    ],
)
def test_every_kind_of_url(url: str) -> None:
    config = EnigmaConfig.model_validate({"redis": url})
    assert config.redis.get_secret_value() == url
    assert "secret" not in repr(config)
    assert "pass" not in repr(config)


@pytest.mark.parametrize(
    ("table", "says"),
    [
        ({"redis": "http://:hunter2@dialler"}, "is no URL of a Redis"),
        ({"redis": "redis://:hunter2@dialler:port"}, "is no URL of a Redis"),
        ({"redis": "redis://:12#hunter2@dialler"}, "is no URL of a Redis"),  # localhost, port 12, to the client
        ({"redis": "redis://:12/hunter2@dialler"}, "is no URL of a Redis"),
        ({"redis": "redis://:12?hunter2@dialler"}, "is no URL of a Redis"),
        ({"redis": "redis://dialler/enigma"}, "is no URL of a Redis"),  # database 0
        ({"redis": "redis://dialler?ssl_ca_certs=ca.pem"}, "is no URL of a Redis"),
        ({"redis": "rediss://dialler?ssl_cert_reqs=some"}, "is no URL of a Redis"),
        ({"keys": []}, "at least 1"),
        ({"keys": [""]}, "has 1 to 512 characters"),
        ({"keys": ["a", "b", "a"]}, "'a' stands there twice"),
        ({"keys": ["a:cdrhub:processing"]}, "is our own"),
        ({"side": "top"}, "'right' or 'left'"),
        ({"reliable": "sometimes"}, "'auto', 'always' or 'never'"),
        ({"lease_seconds": 1}, "greater than or equal to 3"),
    ],
)
def test_what_is_refused(table: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError) as refused:
        EnigmaConfig.model_validate(table)
    messages = [error["msg"] for error in refused.value.errors(include_input=False, include_context=False)]
    assert any(says in message for message in messages), messages
    assert not any("hunter2" in message for message in messages)


def test_the_promise_depends_on_how_it_is_taken() -> None:
    always, auto, never = (
        SYSTEM.delivery(EnigmaConfig.model_validate({"reliable": way})) for way in ("always", "auto", "never")
    )
    assert always.acknowledged
    assert always.lost.startswith("Nothing while this hub is away or dies")
    assert "If the Redis runs no scripts" in auto.lost
    assert not never.acknowledged
    assert never.lost.startswith("Up to 100 CDRs of a list")
