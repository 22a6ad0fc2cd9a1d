"""What the hub itself concludes, as records: a sweeper's end of a forgotten call, a blind interval.

An inference is a JSON object with sorted keys, so that two hubs that conclude the same write the same digest.
Its `infers` names the kind:

- `coverage`: {"infers": "coverage", "state", "since", "until", "detail"}: a stretch of time of the source;
- `call`: {"infers": "call", "kind", "call_key", "at", "values", "flags", "legs"}: an update of a call with the
  authority INFERENCE, which any vendor's record outranks. `legs`, if any, are {"leg_key", "values"};
- `agent`: {"infers": "agent", "kind", "agent_id", "state", "state_raw", "at", "flags", "after"}: a state of an agent
  (model/agent.py) that no message told. `at` is null where its moment is not known; `after` then tells it from the
  same state at another time.

Times are ISO 8601 with an offset.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal, get_args

import orjson

from cdrhub.errors import DecodeError, Reason
from cdrhub.model.agent import AgentKind, AgentState, AgentWord
from cdrhub.model.record import RawRecord
from cdrhub.model.update import Authority, CallUpdate, LegUpdate
from cdrhub.surrogates import without_surrogates

END_INFERRED = "end_inferred"  #: the flag of a call whose end nobody told

CoverageState = Literal["connected", "idle", "quiet", "blind", "backfilled"]
_TIMES = frozenset(
    {"started_at", "queued_at", "ringing_at", "connected_at", "answered_at", "ended_at", "offered_at", "left_at"}
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Coverage:
    """One stretch of time of one source: what it saw (`connected`, `idle`, `backfilled`) or did not (`blind`)."""

    state: CoverageState
    since: datetime
    until: datetime | None
    detail: str = ""
    hub: str = ""  #: which daemon saw it: a source is blind only while every hub is


def coverage_inference(coverage: Coverage) -> dict[str, Any]:
    """The inference that states this stretch. Where the clock was set back meanwhile, it ends where it begins. What is
    no Unicode in its detail, which may be a peer's own word, is replaced."""
    until = max(coverage.until, coverage.since) if coverage.until else None
    return {
        "infers": "coverage",
        "state": coverage.state,
        "since": _iso(coverage.since),
        "until": _iso(until) if until else None,
        "detail": without_surrogates(coverage.detail),
        "hub": coverage.hub,
    }


def call_inference(
    kind: str,
    call_key: str,
    *,
    at: datetime,
    values: Mapping[str, Any],
    flags: Sequence[str] = (),
    legs: Sequence[Mapping[str, Any]] | None = None,
) -> dict[str, Any]:
    """The inference that states these columns of a call. `at` and the moments among the values are aware; each of
    `legs` is {"leg_key", "values"}."""
    document: dict[str, Any] = {
        "infers": "call",
        "kind": kind,
        "call_key": call_key,
        "at": _iso(at),
        "values": _written(values),
        "flags": list(flags),
    }
    if legs is not None:
        document["legs"] = [{"leg_key": leg["leg_key"], "values": _written(leg["values"])} for leg in legs]
    return document


def agent_inference(state: AgentState, *, after: datetime | None = None) -> dict[str, Any]:
    """The inference that states this state. `after` (aware) is the moment of the last thing known to have happened
    before it, which tells the same state at another time apart where `state.at` is not known."""
    return {
        "infers": "agent",
        "kind": state.kind.value,
        "agent_id": state.agent_id,
        "state": state.state.value,
        "state_raw": state.state_raw,
        "at": _iso(state.at) if state.at is not None else None,
        "after": _iso(after) if after is not None else None,
        "flags": list(state.flags),
    }


def encode_inference(inference: Mapping[str, Any]) -> bytes:
    """The deterministic bytes of an inference."""
    return orjson.dumps(inference, option=orjson.OPT_SORT_KEYS)


def decode_inference(record: RawRecord) -> CallUpdate | AgentState | Coverage:
    """The update, state of an agent or coverage that an inference record holds; DecodeError for anything else."""
    try:
        document = orjson.loads(record.body)
        if document["infers"] == "coverage":
            if document["state"] not in get_args(CoverageState):
                raise DecodeError(Reason.BAD_VALUE, f"coverage state {document['state']!r}")
            until = document.get("until")
            return Coverage(
                state=document["state"],
                since=datetime.fromisoformat(document["since"]),
                until=datetime.fromisoformat(until) if until else None,
                detail=str(document.get("detail", "")),
                hub=str(document.get("hub", "")),
            )
        if document["infers"] == "call":
            return CallUpdate(
                call_key=document["call_key"],
                kind=f"inference.{document['kind']}",
                digest=record.digest,
                at=datetime.fromisoformat(document["at"]),
                values=_values(document["values"]),
                legs=tuple(
                    LegUpdate(leg_key=leg["leg_key"], values=_values(leg["values"])) for leg in document.get("legs", ())
                ),
                flags=frozenset(document.get("flags", ())),
                authority=Authority.INFERENCE,
            )
        if document["infers"] == "agent":
            at = document["at"]
            return AgentState(
                kind=AgentKind(document["kind"]),
                agent_id=document["agent_id"],
                state=AgentWord(document["state"]),
                state_raw=document["state_raw"],
                at=datetime.fromisoformat(at) if at else None,
                flags=tuple(sorted(document.get("flags", ()))),
            )
    except (orjson.JSONDecodeError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise DecodeError(Reason.UNPARSABLE, f"not an inference: {error}") from error
    raise DecodeError(Reason.UNPARSABLE, f"an inference of {document['infers']!r} is unknown")


def _iso(at: datetime) -> str:
    return at.astimezone(UTC).isoformat()


def _written(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _iso(value) if isinstance(value, datetime) else value for name, value in values.items()}


def _values(values: Mapping[str, Any]) -> dict[str, Any]:
    """Columns as a fold takes them: times are read, everything else stays as it is."""
    return {
        name: datetime.fromisoformat(value) if name in _TIMES and value else value for name, value in values.items()
    }
