"""What the tests of asterCC share."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import aiohttp
from yarl import URL

from cdrhub.model.call import Call
from cdrhub.model.fold import fold
from cdrhub.model.record import MAX_BODY_BYTES
from cdrhub.model.update import CallUpdate, Decoded
from cdrhub.sources.astercc import SYSTEM
from cdrhub.sources.astercc.config import AsterCCConfig, AsterCCSettings
from support.intake import RecordingIntake
from support.records import raw_record

PATH = "/ingest/astercc/a-secret-of-many-letters"
CAPTURES = Path(__file__).parents[1] / "captures" / "astercc"
SETTINGS: dict[str, Any] = {
    "timezone": "Asia/Shanghai",
    "agent_phones": {"7001": "6101", "7002": "6102", "7003": "6103"},
}


def decoded(body: bytes, **settings: Any) -> Decoded:
    """What the decoder makes of one body."""
    record = raw_record(body, source="shanghai", content_type="application/x-www-form-urlencoded")
    return SYSTEM.decoder(AsterCCSettings(**(SETTINGS | settings)))(record)


def updated(body: bytes, **settings: Any) -> CallUpdate:
    """The update of one body."""
    update = decoded(body, **settings)
    assert isinstance(update, CallUpdate), update
    return update


def bodies_of(name: str) -> list[bytes]:
    """The bodies of one capture."""
    messages, rest = SYSTEM.split((CAPTURES / name).read_bytes(), final=True)
    assert rest == b""
    return list(messages)


def call_of(*bodies: bytes, **settings: Any) -> Call:
    """The call that these bodies make."""
    return fold([updated(body, **settings) for body in bodies])


def event(source: str, word: str, second: int, **fields: str) -> bytes:
    """One pushed event of the session `s1`, `second` seconds after ten o'clock."""
    said = {
        "calleridnum": "02100005511",
        "activenum": "6101" if source == "AGENT" else "02100005511",
        "source": source,
        "event": word,
        "sessionid": "s1",
        "eventTime": f"2026-03-09 10:{second // 60:02}:{second % 60:02}",
        "calltype": "dialout",
        "agentno": "7001",
    }
    return b"".join(f"{key}={value}&".encode() for key, value in (said | fields).items())


def served(
    intake: RecordingIntake, *, client_max_size: int = MAX_BODY_BYTES, **config: Any
) -> AbstractAsyncContextManager[str]:
    """A session of the source behind a real HTTP server; its value is the URL to push to."""
    source = SYSTEM.source(AsterCCConfig(path=PATH, **config))
    return intake.serving(source, PATH, client_max_size=client_max_size)


async def push(url: str, body: bytes | None, *, method: str = "POST", query: str = "") -> tuple[int, str, bytes]:
    """Status, content type and text of the answer. The query goes out as it is written."""
    target = URL(f"{url}?{query}" if query else url, encoded=True)
    async with aiohttp.ClientSession() as client, client.request(method, target, data=body) as answer:
        return answer.status, answer.content_type, await answer.read()
