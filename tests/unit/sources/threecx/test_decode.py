"""The decoder's rules on constructed lines: words, clicks, clocks, identity."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import permutations

import pytest

from cdrhub.errors import DecodeError, Reason
from cdrhub.sources.threecx.config import ThreeCXSettings
from cdrhub.sources.threecx.layout import SELECTED_27, STANDARD_27
from cdrhub.sources.threecx.parties import MAX_PARTIES
from support.threecx import AGENT_LINE, COLLEAGUE_LINE, QUEUE_LINE, call_of, entries, line_20, line_27, update_of

#: Constructed: the vocabulary of v20 Update 6 (a complete raw line of it was never published).
U6 = [
    ("external_line", "extension", "", "src_participant_terminated", True, "", "inbound", "answered", "caller"),
    ("external_line", "extension", "", "dst_participant_terminated", True, "", "inbound", "answered", "agent"),
    ("external_line", "extension", "", "src_participant_terminated", False, "", "inbound", "cancelled", "caller"),
    ("external_line", "extension", "", "cancelled", False, "", "inbound", "cancelled", "caller"),
    ("external_line", "extension", "", "timeout", False, "", "inbound", "no_answer", "system"),
    ("external_line", "extension", "", "busy", False, "", "inbound", "busy", "system"),
    ("external_line", "extension", "", "declined", False, "", "inbound", "rejected", "agent"),
    ("external_line", "extension", "", "rejected", False, "", "inbound", "rejected", "agent"),
    ("external_line", "extension", "", "not_found", False, "", "inbound", "failed", "system"),
    ("external_line", "extension", "", "completed_elsewhere", False, "", "inbound", "cancelled", "system"),
    ("external_line", "queue", "extension", "dst_participant_terminated", True, "ReplacedDst", "inbound", "answered",
     "agent"),
    ("external_line", "queue", "", "src_participant_terminated", True, "", "inbound", "abandoned", "caller"),
    ("external_line", "queue", "", "src_participant_terminated", False, "", "inbound", "abandoned", "caller"),
    ("external_line", "ivr", "", "src_participant_terminated", True, "", "inbound", "ivr", "caller"),
    ("provider", "script", "", "dst_participant_terminated", True, "", "inbound", "ivr", "system"),
    ("provider", "voicemail", "", "src_participant_terminated", True, "", "inbound", "voicemail", "caller"),
    ("external_line", "ring_group_ring_all", "", "timeout", False, "", "inbound", "no_answer", "system"),
    ("external_line", "ring_group_ring_all", "extension", "src_participant_terminated", True, "ReplacedDst", "inbound",
     "answered", "caller"),
    ("extension", "external_line", "", "dst_participant_terminated", True, "", "outbound", "answered", "callee"),
    ("extension", "outbound_rule", "", "no_route", False, "", "outbound", "failed", "system"),
    ("extension", "provider", "", "busy", False, "", "outbound", "busy", "system"),
    ("extension", "extension", "", "src_participant_terminated", True, "", "internal", "answered", "caller"),
]  # fmt: skip

_NUMBERS = {"external_line": "0266904995", "provider": "0266904995", "outbound_rule": "0266904995"}


def _party(kind: str, inside: str) -> tuple[str, str]:
    number = _NUMBERS.get(kind)
    return (number, "10001") if number else (f"Ext.{inside}", inside)


@pytest.mark.parametrize("upper", [False, True])
@pytest.mark.parametrize(
    ("src", "to", "final", "reason", "connected", "changed", "direction", "disposition", "ended_by"), U6
)
def test_the_words_of_v20_update_6(
    *,
    upper: bool,
    src: str,
    to: str,
    final: str,
    reason: str,
    connected: bool,
    changed: str,
    direction: str,
    disposition: str,
    ended_by: str,
) -> None:
    (from_no, from_dn), (to_no, to_dn) = _party(src, "101"), _party(to, "611")
    word = str.upper if upper else str
    line = line_27(
        duration="00:01:00" if connected else "",
        time_answered="2026/03/02 08:00:05" if connected else "",
        reason_terminated=word(reason),
        reason_changed=changed,
        from_no=from_no,
        from_dn=from_dn,
        from_type=word(src),
        to_no=to_no,
        to_dn=to_dn,
        to_type=word(to),
        final_number="Ext.102" if final else "",
        final_dn="102" if final else "",
        final_type=word(final),
    )
    call = call_of(line)
    assert (call.direction, call.disposition, call.ended_by) == (direction, disposition, ended_by)
    assert "unmapped_word" not in call.flags
    assert ("picked_up_elsewhere" in call.flags) == (reason == "completed_elsewhere")


@pytest.mark.parametrize(
    ("fields", "unmapped"),
    [
        ({"reason_terminated": "Vaporised"}, {"reason-terminated": "Vaporised"}),
        ({"reason_changed": "Beamed"}, {"reason-changed": "Beamed"}),
        ({"from_type": "Alien", "to_type": "Extension"}, {"from-type": "Alien"}),
    ],
)
def test_a_word_never_seen_is_kept_and_flagged(fields: dict[str, str], unmapped: dict[str, str]) -> None:
    call = call_of(line_27(duration="", time_answered="", **fields))
    assert "unmapped_word" in call.flags
    assert call.attributes["unmapped"] == unmapped
    assert call.disposition == ("unknown" if "reason_terminated" in fields else "cancelled")


def test_a_person_who_transfers_is_the_agent_and_the_talk_is_whole() -> None:
    call = call_of(
        line_20(
            reason_changed="ReplacedDst", final_number="Ext.102", final_dn="102", reason_terminated="TerminatedBySrc"
        )
    )
    assert (call.disposition, call.agent_id, call.talk_seconds, call.ring_seconds) == ("answered", "101", 60, 5)
    assert [(leg.role, leg.agent_id, leg.outcome) for leg in call.legs] == [
        ("agent", "101", "answered"),
        ("transfer", "102", "answered"),
    ]


def test_a_forwarded_call_belongs_to_who_took_it() -> None:
    call = call_of(
        line_20(
            reason_changed="Fwd_NoAnswer", final_number="Ext.102", final_dn="102", reason_terminated="TerminatedByDst"
        )
    )
    assert (call.disposition, call.agent_id, call.talk_seconds, call.ended_by) == ("answered", "102", 60, "agent")
    assert [leg.outcome for leg in call.legs] == ["no_answer", "answered"]


def test_a_call_picked_up_by_a_colleague_is_the_colleagues() -> None:
    call = call_of(
        line_20(reason_changed="PickedUp", final_number="Ext.102", final_dn="102", reason_terminated="TerminatedBySrc")
    )
    assert (call.disposition, call.agent_id) == ("answered", "102")
    assert [leg.outcome for leg in call.legs] == ["lost_race", "answered"]
    assert "picked_up_elsewhere" not in call.flags


def test_a_click_that_reached_the_customer() -> None:
    call = call_of(
        line_20(
            from_no="MakeCall",
            from_dn="MakeCall",
            reason_changed="ReplacedSrc",
            final_number="0266904995",
            final_dn="10001",
            reason_terminated="TerminatedBySrc",
            chain="Chain: MakeCall;Ext.101;0266904995;",
        )
    )
    assert (call.direction, call.disposition, call.agent_id) == ("outbound", "answered", "101")
    assert (call.callee_number, call.ended_by) == ("0266904995", "callee")
    assert (call.answered_at, call.ring_seconds, call.talk_seconds) == (None, None, None)
    assert "talk_includes_wait" in call.flags


def test_a_click_takes_the_customer_from_the_chain() -> None:
    call = call_of(
        line_20(
            from_no="MakeCall",
            from_dn="MakeCall",
            reason_terminated="Failed",
            reason_changed="FailedBXferOfDst",
            chain="Chain: MakeCall;Ext.101;0266904995;",
        )
    )
    assert (call.direction, call.disposition, call.callee_number) == ("outbound", "failed", "0266904995")


def test_a_click_that_the_agent_did_not_take_dialled_nobody() -> None:
    call = call_of(
        line_20(from_no="makecall", from_dn="makecall", duration="", time_answered="", reason_terminated="NotAvailable")
    )
    assert (call.disposition, call.agent_id, call.direction) == ("not_dialled", "101", "outbound")


def of_v20(to: str, kind: str, reason: str, *, start: str, answered: str, end: str) -> str:
    """A line of one call of a v20 PBX."""
    return line_27(
        duration="00:00:09",
        time_start=f"2026/03/02 {start}",
        time_answered=f"2026/03/02 {answered}",
        time_end=f"2026/03/02 {end}",
        reason_terminated=reason,
        from_type="provider",
        to_no=f"Ext.{to}",
        to_dn=to,
        to_type=kind,
    )


@pytest.mark.parametrize("reason", ["redirected", "polling", "continued_in"])
def test_a_queue_after_which_another_was_entered_has_overflown(reason: str) -> None:
    first = of_v20("800", "queue", reason, start="10:00:00", answered="10:00:00", end="10:00:20")
    second = of_v20("801", "queue", reason, start="10:00:20", answered="10:00:20", end="10:00:40")
    agent = of_v20(
        "101", "extension", "src_participant_terminated", start="10:00:30", answered="10:00:40", end="10:00:49"
    )
    for lines in permutations((first, second, agent)):
        call = call_of(*lines)
        assert [(leg.queue_id or leg.agent_id, leg.outcome) for leg in call.legs] == [
            ("800", "overflow"),
            ("801", "answered"),
            ("101", "answered"),
        ]
        before, after = call.legs[0], call.legs[1]
        assert before.left_at == after.offered_at == datetime(2026, 3, 2, 10, 0, 20, tzinfo=UTC)
        assert (call.queue, call.wait_seconds, call.talk_seconds) == ("801", 20, 9)
    assert call_of(first).legs[0].outcome == "unknown", "nobody tells where the caller went"


def test_a_click_of_v20_has_the_agent_as_caller() -> None:
    call = call_of(
        line_20(
            from_no="MakeCall",
            from_dn="101",
            to_no="0266904995",
            to_dn="10001",
            dial_no="0266904995",
            reason_terminated="TerminatedByDst",
        )
    )
    assert (call.direction, call.disposition, call.agent_id) == ("outbound", "answered", "101")
    assert (call.callee_number, call.ring_seconds, call.talk_seconds) == ("0266904995", None, 60)


def test_missed_queue_calls_are_legs_of_their_own_beside_the_answer() -> None:
    call = call_of(
        line_27(
            from_type="Line",
            to_no="Ext.611",
            to_dn="611",
            to_type="Queue",
            to_dispname="Sales",
            final_number="Ext.101",
            final_dn="101",
            final_type="Extension",
            final_dispname="Ada",
            reason_changed="ReplacedDst",
            reason_terminated="TerminatedBySrc",
            missed_queue_calls="102;101;102;",
        )
    )
    assert (call.queue, call.queue_id, call.agent_name, call.talk_seconds) == ("Sales", "611", "Ada", None)
    assert [(leg.leg_key, leg.outcome) for leg in call.legs] == [
        ("queue:611", "answered"),
        ("agent:101", "answered"),
        ("agent:102", "no_answer"),
        ("agent:101/2", "no_answer"),
        ("agent:102/2", "no_answer"),
    ]


def test_an_endless_list_of_missed_calls_is_cut() -> None:
    call = call_of(line_27(to_type="Queue", missed_queue_calls="".join(f"{n};" for n in range(1000, 1100))))
    assert "legs_cut" in call.flags
    assert len(call.legs) <= MAX_PARTIES + 1


def test_the_agents_own_line_completes_the_leg_that_the_queues_line_named() -> None:
    alone = call_of(QUEUE_LINE)
    assert (alone.answered_at, alone.wait_seconds, alone.talk_seconds) == (None, None, None)
    call = call_of(QUEUE_LINE, COLLEAGUE_LINE, AGENT_LINE)
    assert call.answered_at == datetime(2026, 3, 2, 8, 0, 25, tzinfo=UTC)
    assert (call.wait_seconds, call.ring_seconds, call.talk_seconds) == (25, 5, 60)
    assert (call.agent_id, call.queue_id, call.caller_number) == ("101", "611", "0496270365")
    assert [(leg.leg_key, leg.outcome) for leg in call.legs] == [
        ("queue:611", "answered"),
        ("agent:102", "no_answer"),
        ("agent:101", "answered"),
    ]
    assert "conflict" not in call.flags, "two legs that differ do not contradict each other"


def test_order_and_repetition_of_a_calls_lines_do_not_matter() -> None:
    lines = [QUEUE_LINE, AGENT_LINE, COLLEAGUE_LINE]
    calls = {repr(call_of(*order, *order[:2])) for order in permutations(lines)}
    assert calls == {repr(call_of(*lines))}


def test_one_line_again_with_another_duration_is_a_conflict() -> None:
    call = call_of(line_20(), line_20(duration="00:00:59"))
    assert "conflict" in call.flags
    assert call.attributes["conflict"]["duration"] == ["00:00:59", "00:01:00"]


@pytest.mark.parametrize(
    ("fields", "line", "key"),
    [
        (None, line_20(), "23193/00000172FF10D141_4445"),
        (("historyid", "time-start"), "Call 7,2026/03/02 08:00:00", "7"),
        (("callid", "time-start"), "00000172FF10D141_4445,2020/06/29 07:53:11", "00000172FF10D141_4445"),
        (("historyid", "callid"), "7,", "7"),
    ],
)
def test_the_identity_of_a_call(fields: tuple[str, ...] | None, line: str, key: str) -> None:
    assert update_of(line, ThreeCXSettings(fields=fields)).call_key == key


def test_without_ids_the_bytes_are_the_identity() -> None:
    settings = ThreeCXSettings(fields=("time-start", "dial-no"))
    first, second = (update_of(f"Call 2026/03/02 08:00:0{n},101", settings) for n in (0, 1))
    assert first.call_key == f"digest:{first.digest.hex()}"
    assert first.call_key != second.call_key


def test_a_layout_of_few_fields_gives_what_it_holds() -> None:
    settings = ThreeCXSettings(fields=("historyid", "callid", "duration", "time-start"))
    call = call_of("Call 7,00000172FF10D141_4445,00:00:56,2020/06/29 07:53:11", settings=settings)
    assert (call.direction, call.disposition, call.talk_seconds) == ("unknown", "unknown", None)
    assert call.attributes["duration"] == "00:00:56"


def test_without_to_no_and_types_a_trunk_is_no_person_who_answered() -> None:
    fields = ("time-start", "dial-no", "from-dn", "duration", "time-answered", "time-end", "reason-terminated", "to-dn")
    settings = ThreeCXSettings(fields=fields, region="BE")
    times = "00:01:00,2026/03/02 08:00:05,2026/03/02 08:01:05,TerminatedByDst"
    call = call_of(f"Call 2026/03/02 08:00:00,0496270365,101,{times},10001", settings=settings)
    assert (call.direction, call.disposition, call.ended_by) == ("outbound", "answered", "callee")
    assert (call.agent_id, call.trunk, call.external_number) == ("101", "10001", "+32496270365")
    call = call_of(f"Call 2026/03/02 08:00:00,102,101,{times},102", settings=settings)
    assert (call.direction, call.agent_id, call.trunk) == ("internal", "102", None)
    failed = "Call 2026/03/02 08:00:00,0496270365,101,,,2026/03/02 08:00:05,NoRouteExists,0496270365"
    call = call_of(failed, settings=settings)
    assert (call.direction, call.disposition, call.agent_id, call.trunk) == ("outbound", "failed", "101", None)
    named = ThreeCXSettings(fields=fields, region="BE", entries=entries(person=["10001"]))
    assert call_of(f"Call 2026/03/02 08:00:00,0496270365,101,{times},10001", settings=named).agent_id == "10001"


def test_the_examples_that_the_documentation_prints() -> None:
    unanswered = call_of(
        "Call 23219,00000172FF3328E8_4479,,2020/06/29 08:30:42,,2020/06/29 08:30:50,Failed_Cancelled,Ext.195,Ext.196,"
        "195,196,196,,,,,,,,"
    )
    assert (unanswered.direction, unanswered.disposition, unanswered.ring_seconds) == ("internal", "cancelled", 8)
    with pytest.raises(DecodeError, match="11 fields came") as caught:
        update_of("Call 2026/06/05 07:37:06,05xxxxxx50,5490,00:00:09,...,extension,external_line,external_line,,,")
    assert caught.value.reason == Reason.WRONG_FIELD_COUNT


def test_prefix_line_end_and_blanks_change_nothing() -> None:
    plain = call_of(line_20())
    assert call_of(line_20().removeprefix("Call ")) == plain
    assert call_of(line_20() + "\r\n") == plain
    assert call_of(line_20(from_no=" 0496270365 ", reason_changed="  ")) == plain


def test_quotes_are_understood_and_a_name_may_begin_with_one() -> None:
    quoted = call_of(line_27(from_dispname='"Last, First"', from_type="Line", to_type="Extension"))
    assert quoted.caller_name == "Last, First"
    bare = call_of(line_27(from_dispname='"Bob" Smith', from_type="Line", to_type="Extension"))
    assert bare.caller_name == '"Bob" Smith'


def test_hours_run_on() -> None:
    call = call_of(line_20(duration="125:00:01", time_end="2026/03/07 13:00:06"))
    assert call.talk_seconds == 125 * 3600 + 1


@pytest.mark.parametrize(
    ("local", "answered", "end", "callid_utc", "started"),
    [
        # Berlin, 25 October 2026: 03:00 becomes 02:00, so 02:30 comes twice
        ("02:30:00", "02:30:05", "02:31:05", None, "00:30:00"),
        ("02:30:00", "02:30:05", "02:31:05", "2026-10-25T01:30:00.400+00:00", "01:30:00"),
        ("02:59:50", "02:59:55", "02:00:55", None, "00:59:50"),
    ],
)
def test_an_hour_that_comes_twice(local: str, answered: str, end: str, callid_utc: str | None, started: str) -> None:
    callid = "none"
    if callid_utc:
        callid = f"{int(datetime.fromisoformat(callid_utc).timestamp() * 1000):016X}_1"
    call = call_of(
        line_20(
            callid=callid,
            time_start=f"2026/10/25 {local}",
            time_answered=f"2026/10/25 {answered}",
            time_end=f"2026/10/25 {end}",
        ),
        settings=ThreeCXSettings(timezone="Europe/Berlin"),
    )
    assert f"{call.started_at:%H:%M:%S}" == started
    assert call.started_at is not None
    assert call.answered_at == call.started_at + timedelta(seconds=5)
    assert call.ended_at == call.started_at + timedelta(seconds=65)
    assert "time_ambiguous" in call.flags
    assert "clock_suspect" not in call.flags


def test_a_time_in_a_configured_zone_that_is_not_ambiguous() -> None:
    call = call_of(line_20(callid="none"), settings=ThreeCXSettings(timezone="Asia/Kolkata"))
    assert call.started_at == datetime(2026, 3, 2, 2, 30, tzinfo=UTC)
    assert "time_ambiguous" not in call.flags


@pytest.mark.parametrize(("minutes", "suspect"), [(0, None), (120, 120), (-330, -330), (7, None), (92 * 24 * 60, None)])
def test_callid_checks_the_zone(minutes: int, suspect: int | None) -> None:
    start = datetime(2026, 3, 2, 8, 0, tzinfo=UTC)
    callid = f"{int((start - timedelta(minutes=minutes)).timestamp() * 1000) + 345:016X}_9"
    call = call_of(line_20(callid=callid))
    assert call.attributes.get("clock_offset_minutes") == suspect
    assert ("clock_suspect" in call.flags) == (suspect is not None)


def test_the_directory_may_write_numbers_as_the_records_do() -> None:
    settings = ThreeCXSettings(entries=entries(queue=["Ext.611"]))
    assert call_of(line_20(to_no="Ext.611", to_dn="611"), settings=settings).queue_id == "611"


def test_the_directory_names_people_and_queues() -> None:
    people = entries(person=["101"])
    named = tuple(entry.model_copy(update={"name": "Ada", "team": "Blue", "agent": "ada"}) for entry in people)
    call = call_of(line_20(reason_terminated="TerminatedBySrc"), settings=ThreeCXSettings(entries=named))
    assert (call.agent_name, call.team, call.agent_id, call.agent_extension) == ("Ada", "Blue", "ada", "101")


SELECTED_LINE = (
    "Call 5,00000C2835D37D6C_1,00:01:00,2024/07/30 19:27:58,2024/07/30 19:27:58,2024/07/30 19:28:58,TerminatedBySrc,"
    "0521711910,Ext.8000,10001,8000,8000,ReplacedDst,Ext.175,175,,,,,Chain: 0521711910;Ext.8000;Ext.175;,101;102;,"
    "0521711910:Main,Sales Queue,Bob,Line,Queue,Extension"
)


def test_the_order_of_all_fields_selected_is_seen_from_the_types() -> None:
    call = call_of(SELECTED_LINE)
    assert call == call_of(SELECTED_LINE, settings=ThreeCXSettings(fields=SELECTED_27))
    assert (call.type_raw, call.queue, call.agent_name, call.disposition) == (
        "Line>Queue>Extension",
        "Sales Queue",
        "Bob",
        "answered",
    )
    assert call.attributes["missed-queue-calls"] == "101;102;"
    assert call.attributes["inbound-rule"] == "Main"


@pytest.mark.parametrize(
    ("types", "names", "layout"),
    [
        ("Line,Queue,Extension", "Queue,Line,101;", STANDARD_27),
        (",,", ",,", STANDARD_27),
        ("Alien,Queue,", "Bob,,", STANDARD_27),
        (",,", "Line,Bob,", STANDARD_27),
        ("101;,Rule,Queue", "Line,Queue,Extension", SELECTED_27),
        (",,", "Line,Queue,", SELECTED_27),
        ("101;,Rule,Bob", "Line,Alien,", SELECTED_27),
    ],
)
def test_which_of_two_orders_a_line_has(types: str, names: str, layout: tuple[str, ...]) -> None:
    columns = line_27(final_number="Ext.102", final_dn="102").split(",")
    columns[20:23], columns[24:27] = types.split(","), names.split(",")
    line = ",".join(columns)
    assert call_of(line) == call_of(line, settings=ThreeCXSettings(fields=layout))


@pytest.mark.parametrize("names", [",,", "Ada,Bob,", "a,b,c"])
def test_a_line_whose_types_fit_no_order_is_not_stored(names: str) -> None:
    columns = line_27().split(",")
    columns[20:23], columns[24:27] = ["Bob", "Sales", ""], names.split(",")
    with pytest.raises(DecodeError, match="`fields`") as caught:
        update_of(",".join(columns))
    assert caught.value.reason == Reason.BAD_VALUE
