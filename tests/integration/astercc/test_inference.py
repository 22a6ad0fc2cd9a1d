"""A call of which no end came, in a real hub: closed after the source's own time, and repaired by a late event."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cdrhub.hub.decoders import Decoders
from cdrhub.hub.hub import Hub
from cdrhub.model.record import Revision
from cdrhub.store import Store
from cdrhub.store.calls import one
from support.astercc import PATH, event
from support.hubs import configured, written_of

SOURCE = f'[sources.shanghai]\ntype = "astercc"\npath = "{PATH}"\nclose_after = "1m"\n'
FORM = "application/x-www-form-urlencoded"


async def test_a_call_whose_end_was_lost_is_closed_and_a_late_end_repairs_it(tmp_path: Path) -> None:
    config = configured(tmp_path, SOURCE)
    decoders = Decoders()
    settings = config.settings("shanghai").model_dump_json()
    decoders.learn(
        Revision(revision=config.revision("shanghai"), source="shanghai", system="astercc", settings=settings)
    )
    store = Store.open(config.database.url.get_secret_value(), redecode=decoders.decode)
    try:
        await store.prepare()
        two_minutes_ago = datetime.now(UTC) - timedelta(minutes=2)
        begun = (event("CALLEE", "ringing", 0), event("CALLEE", "answer", 8))
        await store.write(
            [written_of(config, "shanghai", body, content_type=FORM, received_at=two_minutes_ago) for body in begun]
        )
        assert (await one(store, "s1"))["state"] == "answered"

        hub = await Hub.start(config, sweep_seconds=0.05)
        try:
            async with asyncio.timeout(20):
                while (call := await one(store, "s1"))["state"] != "ended":  # noqa: ASYNC110 - it happens in a database
                    await asyncio.sleep(0.05)
        finally:
            await hub.stop()
        assert (call["disposition"], call["ended_at"], call["talk_seconds"]) == ("answered", None, None)
        assert "end_inferred" in call["flags"]

        end = event("CALLEE", "hangup", 68)
        await store.write([written_of(config, "shanghai", end, content_type=FORM, received_at=datetime.now(UTC))])
        call = await one(store, "s1")
        assert (call["disposition"], call["talk_seconds"]) == ("answered", 60)
        assert "end_inferred" not in call["flags"]
    finally:
        await store.close()
