"""`python -m bench [NAME…] [--seconds N]`: measure, print a table, write bench/results/<name>.json."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from bench import astercc, broadcast, enigma, esl, redial, threecx, voicenter
from bench.machine import description, disk

RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True, kw_only=True, slots=True)
class Aim:
    """A figure of a measurement, with what it must reach (gate) and what we are after (goal), which lies beyond it: a
    goal below the gate is of a figure that is the better the lower it is."""

    figure: str  #: where it stands in the result, e.g. `cdrhub.per_second`
    gate: float
    goal: float

    def found(self, result: Mapping[str, Any]) -> float:
        """The figure in this result."""
        inner: Any = result
        for name in self.figure.split("."):
            inner = inner[name]
        return float(inner)

    def reached(self, result: Mapping[str, Any]) -> str:
        """Goal, gate or no."""
        sign = 1 if self.goal >= self.gate else -1
        figure = sign * self.found(result)
        return "goal" if figure >= sign * self.goal else "gate" if figure >= sign * self.gate else "no"

    def judged(self, result: Mapping[str, Any]) -> dict[str, Any]:
        """All of it, for the file of results."""
        return {**asdict(self), "found": self.found(result), "reached": self.reached(result)}


@dataclass(frozen=True, kw_only=True, slots=True)
class Measure:
    """One measurement, and all that it must reach."""

    name: str
    what: str
    run: Callable[[float], dict[str, Any]]
    aims: tuple[Aim, ...]


_MEMORY = Aim(figure="cdrhub.memory_mb_max", gate=250, goal=150)
_PUSHED = (Aim(figure="ratio", gate=0.5, goal=0.7), Aim(figure="cdrhub.p99_ms", gate=25, goal=15))
_EVENT_SOCKET = (
    Aim(figure="cdrhub.per_second", gate=3_000, goal=5_000),
    Aim(figure="cdrhub.loop_lag_p99_ms", gate=20, goal=10),
)
_DRAINED = (Aim(figure="cdrhub.per_second", gate=5_000, goal=8_000),)

MEASURES = (
    Measure(
        name="3cx-postgresql",
        what="3CX lines to rows in PostgreSQL, beside rsyslog imtcp → ompgsql",
        run=threecx.postgresql,
        aims=(Aim(figure="ratio", gate=1.0, goal=1.5), _MEMORY),
    ),
    Measure(
        name="3cx-sqlite",
        what="3CX lines to rows in SQLite, beside a script that commits each record",
        run=threecx.sqlite,
        aims=(Aim(figure="ratio", gate=5.0, goal=10.0), _MEMORY),
    ),
    Measure(
        name="voicenter",
        what="Voicenter posts answered when durable, beside a bare aiohttp handler",
        run=voicenter.push,
        aims=_PUSHED,
    ),
    Measure(
        name="astercc",
        what="asterCC events answered when durable, beside a bare aiohttp handler",
        run=astercc.push,
        aims=_PUSHED,
    ),
    Measure(
        name="esl-sqlite",
        what="ESL events to calls in SQLite, beside a minimal parser in asyncio",
        run=esl.sqlite,
        aims=_EVENT_SOCKET,
    ),
    Measure(
        name="esl-postgresql",
        what="ESL events to calls in PostgreSQL, beside a minimal parser in asyncio",
        run=esl.postgresql,
        aims=_EVENT_SOCKET,
    ),
    Measure(
        name="enigma-sqlite",
        what="Enigma's list drained reliably to calls in SQLite, beside a bare BLMOVE loop",
        run=enigma.sqlite,
        aims=_DRAINED,
    ),
    Measure(
        name="enigma-postgresql",
        what="Enigma's list drained reliably to calls in PostgreSQL, beside a bare BLMOVE loop",
        run=enigma.postgresql,
        aims=_DRAINED,
    ),
    Measure(
        name="redial-postgresql",
        what="settled calls through decision and facts in PostgreSQL among a million cases, beside none",
        run=redial.postgresql,
        aims=(
            Aim(figure="cdrhub.per_second", gate=1_000, goal=1_500),
            Aim(figure="one decision among a million cases.p99_ms", gate=10, goal=5),
        ),
    ),
    Measure(
        name="broadcast-latency",
        what="from a call's end on the wire to its webhook at 100 calls/s, beside posting it directly",
        run=broadcast.latency,
        aims=(Aim(figure="cdrhub.p99_ms", gate=250, goal=100),),
    ),
    Measure(
        name="broadcast-backlog",
        what="a million events that waited for a webhook, delivered, beside posting as much from memory",
        run=broadcast.backlog,
        aims=(Aim(figure="cdrhub.per_second", gate=500, goal=1_000),),
    ),
)


def main() -> None:
    """Run the chosen measurements."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(m.name for m in MEASURES)}")
    parser.add_argument("--seconds", type=float, default=60.0, help="of the measured stretch (default 60)")
    asked = parser.parse_args()
    unknown = set(asked.names) - {measure.name for measure in MEASURES}
    if unknown:
        parser.error(f"there is no measurement {', '.join(sorted(unknown))}")
    console = Console()
    table = Table(title="cdrhub beside its peers, one run, one machine")
    for heading in ("measurement", "figure", "found", "gate", "goal", "reached"):
        table.add_column(heading, justify="left" if heading in ("measurement", "figure") else "right")
    for measure in MEASURES:
        if asked.names and measure.name not in asked.names:
            continue
        console.print(f"measuring: {measure.what} …")
        before = disk()
        result = measure.run(asked.seconds)
        for aim in measure.aims:
            found = f"{aim.found(result):,.4g}"
            table.add_row(measure.name, aim.figure, found, f"{aim.gate:,g}", f"{aim.goal:,g}", aim.reached(result))
        RESULTS.mkdir(exist_ok=True)
        document = {
            "measurement": measure.what,
            "at": datetime.now(UTC).isoformat(timespec="seconds"),
            "seconds": asked.seconds,
            "aims": [
                {**asdict(aim), "found": aim.found(result), "reached": aim.reached(result)} for aim in measure.aims
            ],
            "machine": description(),
            "disk before": before,
            **result,
        }
        (RESULTS / f"{measure.name}.json").write_text(json.dumps(document, indent=2) + "\n")
        console.print_json(json.dumps(result))
    console.print(table)


if __name__ == "__main__":
    main()
