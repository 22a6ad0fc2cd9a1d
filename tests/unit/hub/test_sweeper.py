"""What is concluded of calls that stay open."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from cdrhub.hub.sweeper import FORGOTTEN_AFTER, conclusion
from cdrhub.model.call import Call
from cdrhub.model.inference import decode_inference, encode_inference
from cdrhub.model.record import INFERENCE
from cdrhub.model.update import Authority, CallUpdate
from cdrhub.sources.registry import system
from support.records import raw_record

T0 = datetime(2026, 3, 9, 12, 0, tzinfo=UTC)
OPEN = Call(call_key="k", direction="inbound", state="ringing", started_at=T0, ringing_at=T0 + timedelta(seconds=3))
CONFIG = system("3cx").config_model.model_validate({"type": "3cx", "listen": "127.0.0.1:1"})


def test_an_open_call_is_forgotten_after_twelve_hours_and_not_before() -> None:
    almost = FORGOTTEN_AFTER - timedelta(seconds=1)
    assert conclusion(system("3cx"), CONFIG, OPEN, silent_for=almost) is None
    said = conclusion(system("3cx"), CONFIG, OPEN, silent_for=FORGOTTEN_AFTER)
    assert said is not None
    record = raw_record(encode_inference(said), source="pbx", received_at=T0, content_type=INFERENCE)
    update = decode_inference(record)
    assert isinstance(update, CallUpdate)
    assert update.authority is Authority.INFERENCE
    assert update.values == {"state": "ended"}
    assert update.flags == {"end_inferred"}
    assert update.at == OPEN.ringing_at


def test_two_hubs_that_conclude_the_same_write_the_same_bytes() -> None:
    first = conclusion(system("3cx"), CONFIG, OPEN, silent_for=FORGOTTEN_AFTER)
    second = conclusion(system("3cx"), CONFIG, OPEN, silent_for=FORGOTTEN_AFTER * 2)
    assert first is not None
    assert second is not None
    assert encode_inference(first) == encode_inference(second)
