"""For sources that cannot read a record twice: wait until it is durable, and note when they did not hear."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from cdrhub.errors import IntakeRefused
from cdrhub.model.inference import Coverage, coverage_inference
from cdrhub.sources.base import Intake

REFUSED_PAUSE_SECONDS = 1.0  #: until records are offered again that the intake refused


async def accept_patiently(
    intake: Intake,
    bodies: Sequence[bytes],
    *,
    content_type: str,
    attributes: Mapping[str, Any],
    position: tuple[str, str] | None = None,
    event_ids: Sequence[str | None] | None = None,
) -> None:
    """`Intake.accept`, again and again until the records are durable."""
    while True:
        try:
            await intake.accept(
                bodies, content_type=content_type, attributes=attributes, position=position, event_ids=event_ids
            )
        except IntakeRefused:
            intake.count("refused_and_held")
            await asyncio.sleep(REFUSED_PAUSE_SECONDS)
        else:
            return


async def tell_blind(intake: Intake, *, since: datetime, until: datetime, detail: str) -> None:
    """Write to the coverage that from `since` to `until` (both aware) the source did not hear what happened. A refusal
    is counted, and nothing else."""
    blind = Coverage(state="blind", since=since, until=until, detail=detail)
    try:
        await intake.infer(coverage_inference(blind))
    except IntakeRefused:
        intake.count("gap_not_kept")
