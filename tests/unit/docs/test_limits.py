"""The limits and times that the pages tell are those of the code, each in the words in which its page says it."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from cdrhub.broadcast import sequencer
from cdrhub.broadcast.health import MAX_RETRY_AFTER, SCHEDULE
from cdrhub.broadcast.stumbles import TRIES
from cdrhub.broadcast.webhooks import Pace
from cdrhub.config import directory, loading
from cdrhub.hub import clock, retaining, sweeper
from cdrhub.journal import log_damage, reserve
from cdrhub.model import record
from cdrhub.outgoing import interim_answers
from cdrhub.redial import given, matching, policy, service, window
from cdrhub.redial.decision import Timing
from cdrhub.sources import runner
from cdrhub.sources.astercc import bodies as astercc_bodies
from cdrhub.sources.astercc import config as astercc_config
from cdrhub.sources.astercc import source as astercc
from cdrhub.sources.dialling import http
from cdrhub.sources.enigma import decode as enigma
from cdrhub.sources.freeswitch import dial as freeswitch_dial
from cdrhub.sources.freeswitch import reconcile
from cdrhub.sources.freeswitch import source as freeswitch
from cdrhub.sources.threecx import gaps
from cdrhub.sources.transports import directory as folder
from cdrhub.sources.transports import http_push, redis_list, request_body, tcp_lines
from cdrhub.sources.voicenter import bodies, inference
from cdrhub.sources.voicenter import source as voicenter
from cdrhub.store import hub_clock, request_keys
from cdrhub.store.calls import LOOKED_THROUGH
from cdrhub.web import app, connections, live
from cdrhub.web.api import case_lookup, operation, texts

DOCS = Path(__file__).parents[3] / "docs"
MIB = 1024**2
WORDS: dict[float, str] = {3: "three", 5: "five", 6: "six", 7: "seven", 8: "eight", 10: "ten"}


def seconds(span: timedelta) -> str:
    return f"{span.total_seconds():g}"


def hours(span: timedelta) -> str:
    return f"{span / timedelta(hours=1):g}"


@pytest.mark.parametrize(
    ("page", "said"),
    [
        ("api.md", f"at most {operation.MAX_PAGE:,}"),
        ("api.md", f"A body has {operation.MAX_BODY // MIB} MiB at most"),
        ("api.md", f"1 to {operation.MAX_IDEMPOTENCY_KEY} ASCII characters"),
        ("api.md", f"for {WORDS[request_keys.KEPT_DAYS]} days"),
        ("api.md", f"{given.MAX_NUMBERS} numbers at most, and {given.MAX_METADATA_BYTES // 1024} KiB of `metadata`"),
        ("api.md", f"nested {texts.MAX_METADATA_DEPTH} deep"),
        ("commands.md", f"the newest {LOOKED_THROUGH:,} calls"),
        ("dialling.md", f"`answer_seconds` and {WORDS[freeswitch_dial.RESULT_SECONDS]} more"),
        ("dialling.md", f"{http.MAX_ANSWER_BYTES // 1024} KiB"),
        ("dialling.md", "after {:g} and after {:g} seconds".format(*service.REPEATS)),
        ("events.md", f"together {sum(SCHEDULE, timedelta()) // timedelta(hours=1)} hours"),
        ("events.md", "then after 5 s, 5 min, 30 min, 2 h, 5 h, 10 h, 14 h, 20 h and 24 h"),
        ("model.md", f"({clock.NEEDED} of the last {clock.WINDOW})"),
        ("model.md", f"{seconds(inference.LEG2_WITHIN)} s)"),
        ("model.md", f"for {hours(sweeper.FORGOTTEN_AFTER)} hours"),
        ("operations.md", f"`journal.reserve` ({reserve.RESERVE_BYTES // MIB} MB)"),
        ("operations.md", f"more than {WORDS[log_damage.KEPT_LOGS]}"),
        ("operations.md", f"{connections.MAX_HTTP_CONNECTIONS:,}"),
        ("operations.md", f"more than {seconds(hub_clock.TOLERANCE)} seconds from the database's"),
        ("operations.md", f"under leases of {sequencer.LEASE_SECONDS:g} and {Pace().lease_seconds:g} seconds"),
        ("operations.md", f"more than {WORDS[retaining.BELIEVED.days]} days"),
        ("operations.md", f"for {WORDS[retaining.DOUBTED_FOR.days]} days"),
        ("redial.md", f"older than {seconds(service.BEHIND)} seconds"),
        ("redial.md", f"between {seconds(matching.EARLY)} seconds before the request"),
        ("redial.md", f"within {window.AHEAD.days} days"),
        ("redial.md", f"{WORDS[Timing().network_retries + 1]} times in one round"),
        ("redial.md", f"{WORDS[service.ASK_AT_ONCE]} attempts of a dialler"),
        ("redial.md", f"{WORDS[policy.HARD_STOP_REQUESTS]} requests on the number within"),
        ("redial.md", f"| `number_cap` | {policy.CAUTIOUS.number_cap} |"),
        ("redial.md", f"| {policy.CAUTIOUS.period_cap} in {policy.CAUTIOUS.period.days} days |"),
        ("redial.md", f"| `window` | {policy.CAUTIOUS.window} |"),
        ("security.md", f"| {tcp_lines.MAX_CONNECTIONS};"),
        ("security.md", f"| {tcp_lines.MAX_FOREIGN_LINES}, or {tcp_lines.MAX_FOREIGN_BYTES // 1024} KiB |"),
        ("security.md", f"{http_push.MAX_BODY_BYTES // MIB} MiB; {request_body.BODY_SECONDS:g} s to arrive"),
        ("security.md", f"{bodies.MAX_CDRS:,} CDRs of {bodies.MAX_FIELDS:,} fields, {bodies.MAX_VALUES:,} values"),
        ("security.md", f"XML {bodies.MAX_XML_DEPTH} levels deep"),
        ("security.md", f"| {app.MAX_HEADER_BYTES:,} bytes |"),
        ("security.md", f"{live.MAX_FILTERS} values of a filter"),
        ("security.md", f"`redial.case_lookup.timeout_seconds`; {case_lookup.AT_ONCE} at once"),
        ("security.md", f"{connections.HEADER_SECONDS:g} s to arrive, the TLS handshake"),
        ("security.md", f"| {record.MAX_BODY_BYTES // MIB} MiB |"),
        ("security.md", f"| {loading.MAX_FILE_BYTES // MIB} MiB; a directory file"),
        ("security.md", f"{directory.MAX_DIRECTORY_BYTES // MIB} MiB and {directory.MAX_ENTRIES:,} lines"),
        ("security.md", f"before the answer | {interim_answers.MAX_INTERIM} |"),
        ("sources/3cx.md", f"A jump of more than {gaps.LARGEST_GAP:,}"),
        ("sources/3cx.md", f"{tcp_lines.KEEPALIVE_IDLE_SECONDS} s idle, "),
        ("sources/3cx.md", f"{WORDS[folder.SETTLED_SECONDS]} seconds"),
        ("sources/3cx.md", f"within {WORDS[runner.LONGEST_DELAY_SECONDS]} seconds"),
        ("sources/astercc.md", f"not durable within {astercc.DURABLE_SECONDS:g} s"),
        ("sources/astercc.md", f"longer than {astercc_bodies.MAX_BODY_BYTES:,} bytes"),
        ("sources/astercc.md", f"`close_after` ({hours(astercc_config.CLOSE_AFTER)} h by default)"),
        ("sources/enigma.md", f"Up to {redis_list.BATCH_ENTRIES} CDRs at once ({redis_list.PLAIN_ENTRIES} plainly)"),
        ("sources/enigma.md", f"{redis_list.BATCH_BYTES // MIB} MiB at most"),
        ("sources/enigma.md", f"longer than {enigma.MAX_BODY_BYTES:,} bytes"),
        (
            "sources/freeswitch.md",
            f"after {freeswitch.FIRST_BACK_OFF_SECONDS:g} s, then at growing intervals up to 5",
        ),
        (
            "sources/freeswitch.md",
            f"after {runner.FIRST_DELAY_SECONDS:g} s, then at growing intervals up to "
            f"{runner.LONGEST_DELAY_SECONDS:g} s",
        ),
        ("sources/freeswitch.md", f"the journal accepts nothing for {freeswitch.HOLD_SECONDS:g} s"),
        ("sources/freeswitch.md", f"more than {reconcile.MAX_CHANNELS:,}, because"),
        ("sources/freeswitch.md", f"silent for {seconds(reconcile.SILENCE)} s"),
        ("sources/freeswitch.md", f"{reconcile.CONFIRM_SECONDS:g} s"),
        ("sources/freeswitch.md", f"silent for {hours(reconcile.LIVING_AFTER)} h |"),
        ("sources/voicenter.md", f"not durable within {voicenter.DURABLE_SECONDS:g} s"),
        ("sources/voicenter.md", f"its first {request_body.KEPT_OF_TOO_LONG:,} bytes"),
    ],
)
def test_what_a_page_tells_of_a_limit_is_the_codes(page: str, said: str) -> None:
    assert said in " ".join((DOCS / page).read_text("utf-8").split())


def test_the_schedule_of_webhooks_is_the_one_that_is_told() -> None:
    assert [span.total_seconds() for span in SCHEDULE[1:4]] == [5, 5 * 60, 30 * 60]
    assert [span / timedelta(hours=1) for span in SCHEDULE[4:]] == [2, 5, 10, 14, 20, 24]
    assert timedelta(days=1) == MAX_RETRY_AFTER
    assert TRIES == 4
