"""A sink of lines for transport tests, in front of a recording intake."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from cdrhub.sources.transports.lines import LineFormat
from support.intake import RecordingIntake

LINES = LineFormat(is_record=lambda line: line.startswith(b"Call "), max_line=1024)


class IntakeSink:
    """Hands lines to an intake as a source does."""

    def __init__(self, intake: RecordingIntake, *, within: float | None = None) -> None:
        self._intake = intake
        self._within = within

    async def take(
        self, lines: Sequence[bytes], *, attributes: Mapping[str, Any], position: tuple[str, str] | None = None
    ) -> None:
        """Make lines durable."""
        await self._intake.accept(
            lines, content_type="text/csv", attributes=attributes, position=position, within=self._within
        )
