"""What is concluded of calls that stay open: by their system where it has a rule, else by forgetting them.

A conclusion is a record like any other (model/inference.py), with bytes that depend on the call alone, so that two hubs
write the same one, and with an authority that any record of the vendor outranks. The rules are pure.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import structlog

from cdrhub.hub.intake import inferred
from cdrhub.hub.sources_at_work import SourcesAtWork
from cdrhub.journal import Journal
from cdrhub.model.call import Call
from cdrhub.model.disposition import State
from cdrhub.model.inference import END_INFERRED, call_inference, encode_inference
from cdrhub.model.update import MIN_TIME
from cdrhub.sources.base import SourceConfig, System
from cdrhub.sources.registry import system
from cdrhub.store import Store
from cdrhub.store.open_calls import open_calls
from cdrhub.throttle import Throttle

log = structlog.get_logger(__name__)

SWEEP_SILENCE = timedelta(seconds=5)  #: an open call with a younger record is not looked at
FORGOTTEN_AFTER = timedelta(hours=12)  #: without any record an open call is taken for one whose end was not seen


class Sweeper:
    """Concludes what can be concluded of the open calls in the database, again and again."""

    def __init__(
        self, *, store: Store, journal: Journal, sources: SourcesAtWork, expected: Callable[[], Container[str]]
    ) -> None:
        """`expected` are the sources of the configuration; one of them may just be restarted, and not at work."""
        self._store = store
        self._journal = journal
        self._sources = sources
        self._expected = expected
        self._told: dict[str, bytes] = {}
        self._throttle = Throttle()

    async def sweep(self) -> None:
        """Journal every conclusion about an open call that is new since the last look. Raises StoreUnavailable,
        IntakeRefused."""
        now = datetime.now(UTC)
        still: dict[str, bytes] = {}
        async for found in open_calls(self._store, silent_since=now - SWEEP_SILENCE):
            running, silent_for = self._sources.get(found.source), now - found.last_received_at
            if running is None and found.source in self._expected():
                continue  # it is being exchanged
            try:
                if running is None:
                    said = forgotten(found.call, silent_for=silent_for)
                else:
                    said = conclusion(system(running.config.type), running.config, found.call, silent_for=silent_for)
            except Exception:
                if self._throttle.allows(("conclude", found.source)):
                    log.exception("a conclusion failed", action="conclude_failed", source=found.source)
                continue
            if said is not None:
                still[found.id] = encode_inference(said)
                if self._told.get(found.id) == still[found.id]:
                    continue
                if running is not None:
                    await running.intake.infer(said)
                else:
                    await self._journal.append([inferred(said, source=found.source, revision="")], reserved=True)
        self._told = still


def conclusion(system: System, config: SourceConfig, call: Call, *, silent_for: timedelta) -> Mapping[str, Any] | None:
    """The inference about `call`, or None while there is nothing to conclude.

    `silent_for` is the time since the call's last record arrived, by the hub's clock.
    """
    return system.conclude(config, call, silent_for=silent_for) or forgotten(call, silent_for=silent_for)


def forgotten(call: Call, *, silent_for: timedelta) -> Mapping[str, Any] | None:
    """As `conclusion`, for a call whose source was taken out of the configuration, so that no system can be asked."""
    if silent_for < FORGOTTEN_AFTER:
        return None
    last = max((at for at in _moments(call) if at is not None), default=MIN_TIME)
    return call_inference(
        "forgotten", call.call_key, at=last, values={"state": State.ENDED.value}, flags=[END_INFERRED]
    )


def _moments(call: Call) -> list[Any]:
    own = [call.started_at, call.queued_at, call.ringing_at, call.connected_at, call.answered_at]
    return own + [at for leg in call.legs for at in (leg.offered_at, leg.answered_at, leg.left_at)]
