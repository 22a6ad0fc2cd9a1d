"""`[redial]`: whether and by which rules cases are redialled, and `[redial.diallers.<name>]`, what dials.

A rule that is not given is the preset's; given as 0, `"0s"` or `""` it takes the preset's limit away. The table becomes
the values that redial works with (`RedialConfig.settings`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import time, timedelta
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, SecretStr, SerializeAsAny
from pydantic import model_validator as check_table
from yarl import URL

from cdrhub.config.table import Table
from cdrhub.model.disposition import Disposition
from cdrhub.redial.decision import Timing
from cdrhub.redial.policy import PRESETS, RINGS_WITHIN, Mode, Policy
from cdrhub.redial.settings import Settings
from cdrhub.redial.window import DAYS, Hours, Window
from cdrhub.sources.dialler import DiallerConfig
from cdrhub.sources.dialling.fields import HttpUrl, RequestSeconds
from cdrhub.sources.spans import Duration

MAX_DIALLERS = 100
MAX_CAP = 1_000_000  #: attempts
MAX_SECONDS = 7 * 86_400.0
MAX_HEADERS = 20  #: of a look-up
MAX_HEADER_VALUE = 4_096  #: characters
CODE, TENANT = "{code}", "{tenant}"  #: places in the URL of a look-up

_DAY = "|".join(DAYS)
_HOURS = re.compile(
    rf"(?:(?P<first>{_DAY})(?:-(?P<last>{_DAY}))? +)?(?P<start>\d{{2}}:\d{{2}})-(?P<end>\d{{2}}:\d{{2}})",
    re.IGNORECASE | re.ASCII,
)
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,64}")  # RFC 9110, 5.6.2
_RESULTS = tuple(word.value for word in Disposition if word is not Disposition.NOT_DIALLED)


def _a_window(text: str) -> str:
    if text:
        read_window(text)
    return text


def read_window(text: str) -> Window:
    """The calling window of `"Mon-Fri 08:00-20:00, Sat 09:00-13:00"`, of every day without days. Raises ValueError;
    24:00 is written 23:59."""
    return Window(hours=tuple(_read_hours(part.strip()) for part in text.split(",")))


def _read_hours(text: str) -> Hours:
    found = _HOURS.fullmatch(text)
    try:
        times = [time.fromisoformat(found[part]) for part in ("start", "end")] if found is not None else []
    except ValueError:
        times = []
    if found is None or not times or times[0] >= times[1]:
        raise ValueError(
            'is not a calling window: write e.g. "08:00-21:00", from the earlier to the later, or '
            '"Mon-Fri 08:00-20:00, Sat 09:00-13:00"'
        )
    first = found["first"] or DAYS[0]
    last = found["last"] or found["first"] or DAYS[-1]
    hours = Hours(
        start=times[0], end=times[1], first=DAYS.index(first.capitalize()), last=DAYS.index(last.capitalize())
    )
    if hours.length <= RINGS_WITHIN:
        raise ValueError(
            "is too short: nobody is called in its last two minutes, for the agent's telephone rings first"
        )
    return hours


def _known_results(waits: Mapping[str, timedelta]) -> Mapping[str, timedelta]:
    for word in waits:
        if word not in _RESULTS:
            raise ValueError(f"{word[:40]!r} is not a result: there are {', '.join(_RESULTS)}")
    return waits


def _a_template(url: str) -> str:
    if CODE not in url:
        raise ValueError(f"must hold {CODE}: the place of the case's code, e.g. https://crm.example/cases/{CODE}")
    if any(place in (URL(url).host or "") or place in (URL(url).authority or "") for place in (CODE, TENANT)):
        raise ValueError("must name its host itself: the code belongs into the path or the query")
    return url


def _header_name(name: str) -> str:
    if not _HEADER_NAME.fullmatch(name):
        raise ValueError("is no name of an HTTP header")
    return name


def _header_value(value: SecretStr) -> SecretStr:
    text = value.get_secret_value()
    if not (text.isascii() and text.isprintable() and len(text) <= MAX_HEADER_VALUE):
        raise ValueError(f"must be printable ASCII, {MAX_HEADER_VALUE} characters at most")
    return value


class CaseLookupConfig(Table):
    """`[redial.case_lookup]`: a CRM that is asked for a case which an order names and the hub does not know."""

    url: Annotated[HttpUrl, AfterValidator(_a_template)] = Field(
        repr=False,
        description="The address to ask (GET), with `{code}` in place of the case's code and `{tenant}` in place of "
        "the tenant, e.g. `https://crm.example/cases/{code}`. The answer is the case as `PUT "
        "/api/v1/cases/{code}` takes it, or 404.",
    )
    headers: Mapping[
        Annotated[str, AfterValidator(_header_name)], Annotated[SecretStr, AfterValidator(_header_value)]
    ] = Field(
        default_factory=dict,
        max_length=MAX_HEADERS,
        description='Headers that are sent with it, e.g. `{ Authorization = "Bearer ${CRM_TOKEN}" }`.',
    )
    timeout_seconds: RequestSeconds = Field(5.0, description="Seconds that the CRM may take.")
    allow_private: bool = Field(False, description="Whether the URL may point into a private network.")


class RedialConfig(Table):
    """`[redial]`: redialling."""

    mode: Literal["off", "observe", "on"] = Field(
        "off",
        description="`off` decides nothing but that a person was reached, `observe` decides and explains and dials "
        "nothing, `on` dials.",
    )
    preset: Literal["plain", "cautious"] = Field(
        "plain",
        description="The rules to start from: `plain` has no limit but the hard stop, `cautious` has those of "
        "docs/redial.md. The keys below change single rules.",
    )
    number_cap: int | None = Field(
        None, ge=0, le=MAX_CAP, description="Attempts on one number of a case, over all rounds; 0 is no limit."
    )
    case_cap: int | None = Field(
        None, ge=0, le=MAX_CAP, description="Attempts of a case, over all rounds; 0 is no limit."
    )
    period_cap: int | None = Field(
        None, ge=0, le=MAX_CAP, description="Attempts of a case within `period`; 0 is no limit."
    )
    period: Duration | None = Field(None, description='The period of `period_cap`, e.g. `"7d"`.')
    cool_down: Annotated[Mapping[str, Duration], AfterValidator(_known_results)] = Field(
        default_factory=dict,
        description='Time that a number rests after a result, e.g. `{ busy = "5m", voicemail = "24h" }`; `answered` '
        'applies to the whole case, after a conversation. `"0s"` removes one that the preset has.',
    )
    between_numbers: Duration | None = Field(
        None, description='Time that the whole case rests after each attempt; `"0s"` is none.'
    )
    window: Annotated[str, AfterValidator(_a_window)] | None = Field(
        None,
        description='When numbers may be called, in the called person\'s zone, e.g. `"08:00-21:00"` on every day, or '
        '`"Mon-Fri 08:00-20:00, Sat 09:00-13:00"`; `""` is always.',
    )
    max_age_seconds: float = Field(
        300, gt=0, le=MAX_SECONDS, description="News older than this, in seconds, no longer leads to dialling."
    )
    agent_retry_seconds: float = Field(
        60,
        ge=1,
        le=MAX_SECONDS,
        description="Seconds until the same number is tried again when the agent was not available.",
    )
    agent_retries: int = Field(
        3, ge=0, le=100, description="How often that is repeated before the case is paused (`agent_unavailable`)."
    )
    match_start_seconds: float = Field(
        180,
        ge=1,
        le=3600,
        description="A call that carries no reference belongs to a request only if it starts within so many seconds "
        "of it.",
    )
    first_sign_seconds: float = Field(
        120,
        ge=1,
        le=MAX_SECONDS,
        description="Seconds after a request by which a source that reports progress must have shown the call; then "
        "the vendor is asked.",
    )
    attempt_timeout_seconds: float = Field(
        14_400,
        ge=1,
        le=MAX_SECONDS,
        description="The same for a source that reports a call only when it is over.",
    )
    shared_hold_seconds: float = Field(
        3600, ge=0, le=MAX_SECONDS, description="Seconds that a number rests after it was dialled for another case."
    )
    result_wait_seconds: float = Field(
        0,
        ge=0,
        le=MAX_SECONDS,
        description="Seconds that a decision waits for a person's report of the attempt; less than `max_age_seconds`.",
    )
    manual_calls: Literal["count", "redial"] = Field(
        "count",
        description="What follows when an agent's own call to a number of a case is not answered: `count` it as an "
        "attempt, or also `redial` the next number.",
    )
    hangup_superseded: bool = Field(
        False, description="Whether a call under way is hung up when its person was reached by another call."
    )
    diallers: Mapping[str, SerializeAsAny[DiallerConfig]] = Field(
        default_factory=dict, description="One table for each dialler; a source names its own with `dialler`."
    )

    case_lookup: CaseLookupConfig | None = Field(
        None, description="Where to ask for a case that an order names and the hub does not know."
    )

    @check_table(mode="after")
    def _waits_are_not_old_news(self) -> RedialConfig:
        if self.result_wait_seconds >= self.max_age_seconds:
            raise ValueError("`result_wait_seconds`: must be less than max_age_seconds: what waited would be too old")
        return self

    def policy(self) -> Policy:
        """The rules: the preset's, with those that are given instead."""
        preset = PRESETS[self.preset]
        waits = {Disposition(word): wait for word, wait in self.cool_down.items()}
        contacted = waits.pop(Disposition.ANSWERED, preset.contacted_cool_down)
        return Policy(
            number_cap=_limit(self.number_cap, preset.number_cap),
            case_cap=_limit(self.case_cap, preset.case_cap),
            period_cap=_limit(self.period_cap, preset.period_cap),
            period=self.period or preset.period,
            cool_down={word: wait for word, wait in {**preset.cool_down, **waits}.items() if wait},
            contacted_cool_down=contacted or None,
            between_numbers=_limit(self.between_numbers, preset.between_numbers),
            window=preset.window if self.window is None else read_window(self.window) if self.window else None,
        )

    def settings(self) -> Settings:
        """All of it as redial works with it."""
        return Settings(
            mode=Mode(self.mode),
            policy=self.policy(),
            timing=Timing(
                max_age=timedelta(seconds=self.max_age_seconds),
                agent_retry=timedelta(seconds=self.agent_retry_seconds),
                agent_retries=self.agent_retries,
            ),
            match_start=timedelta(seconds=self.match_start_seconds),
            shared_hold=timedelta(seconds=self.shared_hold_seconds),
            first_sign=timedelta(seconds=self.first_sign_seconds),
            attempt_timeout=timedelta(seconds=self.attempt_timeout_seconds),
            result_wait=timedelta(seconds=self.result_wait_seconds),
            manual_calls_redial=self.manual_calls == "redial",
            hangup_superseded=self.hangup_superseded,
        )


def _limit(given: Any, preset: Any) -> Any:
    """A limit that is given, else the preset's; nothing for one that is given as zero."""
    return preset if given is None else given or None
