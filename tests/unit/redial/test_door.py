"""Which dialler a reload keeps: the one whose table is the same."""

from __future__ import annotations

from typing import Any

from cdrhub.redial.door import open_doors
from cdrhub.redial.webhook_dialler_config import WebhookDiallerConfig


def config(**said: Any) -> WebhookDiallerConfig:
    secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    return WebhookDiallerConfig(**{"url": "https://crm.example/dial", "secret": secret} | said)


def test_a_door_stays_while_its_table_does_and_no_longer() -> None:
    before = open_doors({"crm": config(), "other": config(), "gone": config()})
    changed = config(url="https://new.example/dial")
    after = open_doors({"crm": config(), "other": changed, "new": config()}, present=before)
    assert after["crm"] is before["crm"]
    assert after["other"] is not before["other"]
    assert after["other"].config is changed
    assert after.keys() == {"crm", "other", "new"}
