"""The views: what analysts query. Their columns and their output are the same on every engine.

Hours and times are UTC, as text; counts and seconds are integers, never ratios, so that they can be added up over
any grouping; what is not known is NULL. Withdrawn calls are hidden. An agent or a queue has one row in an hour, whether
or not each of its records carries the name beside the id. A queue pass belongs to the hour of its own
entry, an agent's leg to the hour in which it was offered, a call to the hour of `sort_at`.

`v_calls.sort_at` alone is of the engine's own time type: a filter by it is found by an index. So is one by `hour`, for
it is a column of the legs, and the engines look through a grouping by columns.
"""

from __future__ import annotations

from sqlalchemy import Connection, text

from cdrhub.model.disposition import Outcome, Role
from cdrhub.store.tables import calls
from cdrhub.store.types import CallId, Cost, UtcDateTime

VIEWS = ("v_calls", "v_queue_hourly", "v_agent_hourly", "v_suspense", "v_coverage")

_QUEUE_OUTCOMES = (
    Outcome.TIMEOUT,
    Outcome.FULL,
    Outcome.JOIN_EMPTY,
    Outcome.NO_AGENT,
    Outcome.EXIT_KEY,
    Outcome.OVERFLOW,
    Outcome.UNKNOWN,
)
_AGENT_OUTCOMES = (
    Outcome.NO_ANSWER,
    Outcome.BUSY,
    Outcome.REJECTED,
    Outcome.CANCELLED,
    Outcome.LOST_RACE,
    Outcome.NOT_BRIDGED,
    Outcome.FAILED,
    Outcome.UNKNOWN,
)
_AGENT_ROLES = (Role.AGENT, Role.TRANSFER, Role.CONFERENCE, Role.CONSULT)


class _Words:
    """The few words that the engines spell differently."""

    def __init__(self, engine: str) -> None:
        self._engine = "mariadb" if engine == "mysql" else engine

    def moment(self, column: str) -> str:
        """A time as `2026-03-01T08:00:00.000000Z`."""
        if self._engine == "postgresql":
            return f"""to_char({column} AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')"""
        return f"date_format({column}, '%Y-%m-%dT%H:%i:%s.%fZ')" if self._engine == "mariadb" else column

    def seconds(self, since: str, until: str) -> str:
        """Whole seconds between two times, rounded half up, never negative; NULL if one of them is."""
        if self._engine == "postgresql":
            whole = f"CAST(floor(extract(epoch FROM ({until} - {since})) + 0.5) AS bigint)"
            return f"CASE WHEN {until} < {since} THEN 0 ELSE {whole} END"  # GREATEST would make 0 of NULL
        if self._engine == "mariadb":
            return f"CAST(floor(GREATEST(timestampdiff(MICROSECOND, {since}, {until}), 0) / 1000000 + 0.5) AS signed)"
        # In whole microseconds; SQLite's division cuts towards zero, and its floor() is optional.
        # Its strftime() knows milliseconds only and rounds to them: from .9995 on it would tell the next second.
        whole = f"(strftime('%s', substr({until}, 1, 19)) - strftime('%s', substr({since}, 1, 19))) * 1000000"
        parts = f"CAST(substr({until}, 21, 6) AS integer) - CAST(substr({since}, 21, 6) AS integer)"
        return f"(MAX({whole} + {parts}, 0) + 500000) / 1000000"

    def characters(self, column: str) -> str:
        """A UUID as its 36 characters."""
        return f"CAST({column} AS varchar)" if self._engine == "postgresql" else column

    def decimal(self, column: str) -> str:
        """An exact decimal as text."""
        if self._engine == "postgresql":
            return f"CAST({column} AS varchar)"
        return f"CAST({column} AS char)" if self._engine == "mariadb" else column

    def integer(self, expression: str) -> str:
        """A sum as an integer (PostgreSQL and MariaDB make decimals of it)."""
        if self._engine == "postgresql":
            return f"CAST({expression} AS bigint)"
        return f"CAST({expression} AS signed)" if self._engine == "mariadb" else expression


def create_views(connection: Connection) -> None:
    """Make all views, in the transaction of `connection`."""
    words = _Words(connection.dialect.name)
    for name, query in _queries(words).items():
        connection.execute(text(f"CREATE VIEW {name} AS {query}".replace(":", "\\:")))


def drop_views(connection: Connection) -> None:
    """Remove all views that there are."""
    for name in VIEWS:
        connection.execute(text(f"DROP VIEW IF EXISTS {name}"))


def _queries(words: _Words) -> dict[str, str]:
    return {
        "v_calls": _calls(words),
        "v_queue_hourly": _queue_hourly(words),
        "v_agent_hourly": _agent_hourly(words),
        "v_suspense": _suspense(words),
        "v_coverage": _coverage(words),
    }


def _calls(words: _Words) -> str:
    shown = []
    for column in calls.columns:
        if column.name in ("replaced_by", "sort_at"):
            continue
        if isinstance(column.type, UtcDateTime):
            shown.append(f"{words.moment(column.name)} AS {column.name}")
        elif isinstance(column.type, CallId):
            shown.append(f"{words.characters(column.name)} AS {column.name}")
        elif isinstance(column.type, Cost):
            shown.append(f"{words.decimal(column.name)} AS {column.name}")
        else:
            shown.append(column.name)
    return f"SELECT {', '.join(shown)}, sort_at FROM calls WHERE state <> 'withdrawn'"  # noqa: S608  (names of ours only)


def _count(words: _Words, condition: str) -> str:
    return words.integer(f"SUM(CASE WHEN {condition} THEN 1 ELSE 0 END)")


def _queue_hourly(words: _Words) -> str:
    wait = words.seconds("l.offered_at", "COALESCE(l.answered_at, l.left_at)")
    answered = f"CASE WHEN l.outcome = 'answered' THEN {wait} END"
    abandoned = f"CASE WHEN l.outcome = 'abandoned' THEN {wait} END"
    counted = {
        "offered": words.integer("COUNT(*)"),
        "answered": _count(words, "l.outcome = 'answered'"),
        "abandoned": _count(words, "l.outcome = 'abandoned'"),
        **{_flow_out(outcome): _count(words, f"l.outcome = '{outcome.value}'") for outcome in _QUEUE_OUTCOMES},
        "still_waiting": _count(words, "l.outcome = 'unknown' AND c.state <> 'ended'"),
        "wait_known": words.integer(f"COUNT({wait})"),
        "wait_known_answered": words.integer(f"COUNT({answered})"),
        "wait_known_abandoned": words.integer(f"COUNT({abandoned})"),
        "wait_seconds": words.integer(f"SUM({wait})"),
        "wait_seconds_answered": words.integer(f"SUM({answered})"),
        "wait_seconds_abandoned": words.integer(f"SUM({abandoned})"),
        "longest_wait_seconds": words.integer(f"MAX({wait})"),
    }
    # Where the records of a source name a queue by its number alone, that is its name too.
    shown = {
        "queue": "COALESCE(MAX(CASE WHEN l.queue <> l.queue_id THEN l.queue END), MAX(l.queue))",
        "queue_id": "l.queue_id",
    }
    return _hourly(shown=shown, key=_first_known("l.queue_id", "l.queue"), counted=counted, roles=(Role.QUEUE,))


def _flow_out(outcome: Outcome) -> str:
    return {Outcome.UNKNOWN: "outcome_unknown", Outcome.FULL: "queue_full", Outcome.TIMEOUT: "timed_out"}.get(
        outcome, outcome.value
    )


def _agent_hourly(words: _Words) -> str:
    counted = {
        "offered": words.integer("COUNT(*)"),
        "answered": _count(words, "l.outcome = 'answered'"),
        **{_agent_word(outcome): _count(words, f"l.outcome = '{outcome.value}'") for outcome in _AGENT_OUTCOMES},
        "ring_seconds": words.integer("SUM(l.ring_seconds)"),
        "talk_known": words.integer("COUNT(l.talk_seconds)"),
        "talk_seconds": words.integer("SUM(l.talk_seconds)"),
        "hold_seconds": words.integer("SUM(l.hold_seconds)"),
    }
    shown = {
        "agent_id": "l.agent_id",
        "agent_extension": "MAX(l.agent_extension)",
        "agent_name": "MAX(l.agent_name)",
        "team": "CASE WHEN MIN(l.team) = MAX(l.team) THEN MAX(l.team) END",
    }
    key = _first_known("l.agent_id", "l.agent_extension", "l.agent_name")
    return _hourly(shown=shown, key=key, counted=counted, roles=_AGENT_ROLES)


def _agent_word(outcome: Outcome) -> str:
    return "outcome_unknown" if outcome is Outcome.UNKNOWN else outcome.value


def _hourly(*, shown: dict[str, str], key: tuple[str, ...], counted: dict[str, str], roles: tuple[Role, ...]) -> str:
    """One row for each hour, source, tenant and `key`; `shown` are the names in it."""
    figures = ", ".join(f"{expression} AS {name}" for name, expression in (shown | counted).items())
    its_roles = ", ".join(f"'{role.value}'" for role in roles)
    return (
        f"SELECT l.hour, c.source, c.tenant, {figures} "  # noqa: S608  (words of ours only)
        f"FROM call_legs l JOIN calls c ON c.id = l.call_id "
        f"WHERE l.role IN ({its_roles}) AND c.state <> 'withdrawn' "
        f"GROUP BY l.hour, c.source, c.tenant, {', '.join(key)}"
    )


def _first_known(*columns: str) -> tuple[str, ...]:
    """A key that is the first of these columns that is known, and says which: an extension is no id."""
    unknown = [" AND ".join(f"{before} IS NULL" for before in columns[:n]) for n in range(1, len(columns))]
    return columns[0], *(f"CASE WHEN {so} THEN {name} END" for so, name in zip(unknown, columns[1:], strict=True))


def _suspense(words: _Words) -> str:
    return (
        f"SELECT id, source, {words.moment('received_at')} AS received_at, reason, detail, content_type, "  # noqa: S608
        "CASE WHEN repaired_body IS NULL THEN 0 ELSE 1 END AS repaired, "
        f"{words.integer('length(COALESCE(repaired_body, body))')} AS body_bytes "
        "FROM records WHERE state = 'suspended'"
    )


def _coverage(words: _Words) -> str:
    return (
        f"SELECT hub, source, state, {words.moment('c.since')} AS since, {words.moment('MAX(c.until)')} AS until, "  # noqa: S608
        "MAX(detail) AS detail FROM coverage c GROUP BY hub, source, state, c.since"
    )
