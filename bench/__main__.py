"""`python -m bench [NAME…] [--seconds N]`: measure, print a table, write bench/results/<name>.json."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from rich.console import Console
from rich.table import Table

from bench import astercc, broadcast, enigma, esl, redial, threecx, voicenter
from bench.machine import description

RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True, kw_only=True, slots=True)
class Measure:
    """One measurement, with what it must reach (gate) and what we are after (goal)."""

    name: str
    what: str
    run: Callable[[float], dict[str, Any]]
    gate: float
    goal: float
    judged: Literal["ratio", "per_second", "p99_ms"] = "ratio"  #: the figure that gate and goal are of

    def reached(self, result: dict[str, Any]) -> str:
        """Goal, gate or no. Milliseconds are the better the fewer they are."""
        figure = result["ratio"] if self.judged == "ratio" else result["cdrhub"][self.judged]
        sign = -1 if self.judged == "p99_ms" else 1
        return next(
            (word for word, least in (("goal", self.goal), ("gate", self.gate)) if sign * figure >= sign * least), "no"
        )


MEASURES = (
    Measure(
        name="3cx-postgresql",
        what="3CX lines to rows in PostgreSQL, beside rsyslog imtcp → ompgsql",
        run=threecx.postgresql,
        gate=1.0,
        goal=1.5,
    ),
    Measure(
        name="3cx-sqlite",
        what="3CX lines to rows in SQLite, beside a script that commits each record",
        run=threecx.sqlite,
        gate=5.0,
        goal=10.0,
    ),
    Measure(
        name="voicenter",
        what="Voicenter posts answered when durable, beside a bare aiohttp handler",
        run=voicenter.push,
        gate=0.5,
        goal=0.7,
    ),
    Measure(
        name="astercc",
        what="asterCC events answered when durable, beside a bare aiohttp handler",
        run=astercc.push,
        gate=0.5,
        goal=0.7,
    ),
    Measure(
        name="esl-sqlite",
        what="ESL events to calls in SQLite, beside a minimal parser in asyncio",
        run=esl.sqlite,
        gate=3_000,
        goal=5_000,
        judged="per_second",
    ),
    Measure(
        name="esl-postgresql",
        what="ESL events to calls in PostgreSQL, beside a minimal parser in asyncio",
        run=esl.postgresql,
        gate=3_000,
        goal=5_000,
        judged="per_second",
    ),
    Measure(
        name="enigma-sqlite",
        what="Enigma's list drained reliably to calls in SQLite, beside a bare BLMOVE loop",
        run=enigma.sqlite,
        gate=5_000,
        goal=8_000,
        judged="per_second",
    ),
    Measure(
        name="enigma-postgresql",
        what="Enigma's list drained reliably to calls in PostgreSQL, beside a bare BLMOVE loop",
        run=enigma.postgresql,
        gate=5_000,
        goal=8_000,
        judged="per_second",
    ),
    Measure(
        name="redial-postgresql",
        what="settled calls through decision and facts in PostgreSQL among a million cases, beside none",
        run=redial.postgresql,
        gate=1_000,
        goal=1_500,
        judged="per_second",
    ),
    Measure(
        name="broadcast-latency",
        what="from a call's end on the wire to its webhook at 100 calls/s (p99 in ms), beside posting it directly",
        run=broadcast.latency,
        gate=250,
        goal=100,
        judged="p99_ms",
    ),
    Measure(
        name="broadcast-backlog",
        what="a million events that waited for a webhook, delivered, beside posting as much from memory",
        run=broadcast.backlog,
        gate=500,
        goal=1_000,
        judged="per_second",
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
    for heading in ("measurement", "cdrhub /s", "peer /s", "ratio", "gate", "goal", "reached"):
        table.add_column(heading, justify="left" if heading == "measurement" else "right")
    for measure in MEASURES:
        if asked.names and measure.name not in asked.names:
            continue
        console.print(f"measuring: {measure.what} …")
        result = measure.run(asked.seconds)
        peer = next(value for name, value in result.items() if isinstance(value, dict) and name != "cdrhub")
        table.add_row(
            measure.what,
            f"{result['cdrhub']['per_second']:,.0f}",
            f"{peer['per_second']:,.0f}",
            f"{result['ratio']:.2f}",
            f"{measure.gate:,g}",
            f"{measure.goal:,g}",
            measure.reached(result),
        )
        RESULTS.mkdir(exist_ok=True)
        document = {
            "measurement": measure.what,
            "at": datetime.now(UTC).isoformat(timespec="seconds"),
            "seconds": asked.seconds,
            "judged": measure.judged,
            "gate": measure.gate,
            "goal": measure.goal,
            "machine": description(),
            **result,
        }
        (RESULTS / f"{measure.name}.json").write_text(json.dumps(document, indent=2) + "\n")
        console.print_json(json.dumps(result))
    console.print(table)


if __name__ == "__main__":
    main()
