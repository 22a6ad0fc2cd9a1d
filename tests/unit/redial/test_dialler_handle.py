"""Which dialler a reload keeps: the one whose table is the same. What fails at its end holds nothing up."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from structlog.testing import capture_logs

from cdrhub.redial.dialler_handle import DiallerHandle, dialler_handles
from cdrhub.redial.pace import Pace
from cdrhub.redial.webhook_dialler_config import WebhookDiallerConfig


def config(**said: Any) -> WebhookDiallerConfig:
    secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    return WebhookDiallerConfig(**{"url": "https://crm.example/dial", "secret": secret} | said)


def test_a_handle_stays_while_its_table_does_and_no_longer() -> None:
    before = dialler_handles({"crm": config(), "other": config(), "gone": config()})
    changed = config(url="https://new.example/dial")
    after = dialler_handles({"crm": config(), "other": changed, "new": config()}, present=before)
    assert after["crm"] is before["crm"]
    assert after["other"] is not before["other"]
    assert after["other"].config is changed
    assert after.keys() == {"crm", "other", "new"}


class Unending:
    """A plug-in's dialler that does not close."""

    def __init__(self, *, hangs: bool) -> None:
        self._hangs = hangs

    async def close(self) -> None:
        if self._hangs:
            await asyncio.Event().wait()
        raise RuntimeError("already closed")


@pytest.mark.parametrize("hangs", [True, False])
async def test_a_dialler_that_does_not_close_is_told_of_and_left(hangs: bool) -> None:
    dialler: Any = Unending(hangs=hangs)
    handle = DiallerHandle("crm", config=config(), dialler=dialler, pace=Pace(per_second=1))
    with capture_logs() as said:
        await handle.close_now(within=0.01)
    assert [(line["action"], line["dialler"]) for line in said] == [("dialler_failed", "crm")]
