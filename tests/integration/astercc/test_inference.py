"""A call of which no end came, in a real hub: closed after the source's own time, and repaired by a late event."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cdrhub.config import Config, parse
from cdrhub.decoders import Decoders, Revision
from cdrhub.hub import Hub
from cdrhub.model.record import RawRecord, digest_of
from cdrhub.model.update import CallUpdate
from cdrhub.sources.registry import system
from cdrhub.store import Store
from cdrhub.store.batch import Item
from cdrhub.store.calls import one
from support.astercc import PATH, event
from support.servers import free_port


def configured(folder: Path) -> Config:
    text = f"""
[hub]
data_dir = "{folder / "data"}"

[database]
url = "sqlite:///{folder / "hub.db"}"

[http]
listen = "127.0.0.1:{free_port()}"

[sources.shanghai]
type = "astercc"
path = "{PATH}"
close_after = "1m"
"""
    return parse(text, path=folder / "config.toml", environ={})


async def written(store: Store, config: Config, *bodies: bytes, received_at: datetime) -> None:
    """What the pipeline writes of these events."""
    decode = system("astercc").decoder(config.settings("shanghai"))
    items = []
    for body in bodies:
        record = RawRecord(
            source="shanghai",
            received_at=received_at,
            content_type="application/x-www-form-urlencoded",
            body=body,
            digest=digest_of(body),
            config_revision=config.revision("shanghai"),
        )
        outcome = decode(record)
        assert isinstance(outcome, CallUpdate)
        items.append(
            Item(
                record=record,
                outcome=outcome,
                owner="shanghai",
                system="astercc",
                tenant="",
                settle_seconds=3.0,
                decoder_revision=1,
            )
        )
    await store.write(items)


async def test_a_call_whose_end_was_lost_is_closed_and_a_late_end_repairs_it(tmp_path: Path) -> None:
    config = configured(tmp_path)
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
        await written(store, config, *begun, received_at=two_minutes_ago)
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

        await written(store, config, event("CALLEE", "hangup", 68), received_at=datetime.now(UTC))
        call = await one(store, "s1")
        assert (call["disposition"], call["talk_seconds"]) == ("answered", 60)
        assert "end_inferred" not in call["flags"]
    finally:
        await store.close()
