"""The lists of a switch: tables that do not escape, answers that are none."""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdrhub.sources.freeswitch import listings
from cdrhub.sources.freeswitch.listings import ListingError

MEMBERS = (
    "queue|instance_id|uuid|session_uuid|cid_number|cid_name|system_epoch|joined_epoch|rejoined_epoch|bridge_epoch"
    "|abandoned_epoch|base_score|skill_score|serving_agent|serving_system|state|score\n"
)
WAITING = "support@default|single_box|m1|s1|0639980001|Jane|1795249390|1795249400|0|0|0|0|0|||Waiting|12\n"


def at(epoch: int) -> datetime:
    return datetime.fromtimestamp(epoch, UTC)


def test_a_waiting_member() -> None:
    (member,) = listings.members(MEMBERS + WAITING + "+OK\n")
    assert (member.queue, member.uuid, member.session_uuid) == ("support@default", "m1", "s1")
    assert (member.caller_number, member.caller_name) == ("0639980001", "Jane")
    assert (member.started_at, member.joined_at, member.bridged_at) == (at(1795249390), at(1795249400), None)
    assert (member.agent, member.state) == (None, "Waiting")


def test_a_member_who_came_back_has_another_channel_than_the_one_that_began() -> None:
    line = "q|single_box|m1|s2|1|n|1795249390|1795249400|1795249500|1795249510|0|0|0|alice|single_box|Answered|1\n"
    (member,) = listings.members(MEMBERS + line + "+OK")
    assert (member.started_at, member.joined_at, member.bridged_at) == (None, at(1795249500), at(1795249510))
    assert member.agent == "alice"


@pytest.mark.parametrize("name", ["a|b", "|", "||||||||||", "x|0|0|0|0|0|0|0|mallory|single_box|Answered|9"])
def test_a_name_with_separators_shifts_nothing(name: str) -> None:
    (member,) = listings.members(MEMBERS + WAITING.replace("Jane", name) + "+OK\n")
    assert member.caller_name == name
    assert (member.state, member.agent, member.joined_at) == ("Waiting", None, at(1795249400))


def test_a_row_with_too_few_values_is_left_out_and_the_others_stay() -> None:
    found = listings.members(MEMBERS + "q|single_box|m0\n" + WAITING + "\n+OK\n")
    assert [member.uuid for member in found] == ["m1"]


def test_an_empty_list() -> None:
    assert listings.members("+OK\n") == []
    assert listings.queue_names("+OK") == []
    assert listings.members(MEMBERS + "+OK\n") == []


@pytest.mark.parametrize("answer", ["", MEMBERS, MEMBERS + WAITING, "-ERR Invalid!\n", MEMBERS + WAITING[:20]])
def test_a_list_without_its_end_is_no_list(answer: str) -> None:
    with pytest.raises(ListingError):
        listings.members(answer)


def test_queues_by_name_whatever_else_their_rows_hold() -> None:
    answer = "name|strategy|moh_sound|record_template\nsupport@default|ring-all|a|b|c\nsales|top-down||\n+OK\n"
    assert listings.queue_names(answer) == ["support@default", "sales"]


def test_channels() -> None:
    answer = """{"row_count":2,"rows":[
      {"uuid":"a","direction":"inbound","created_epoch":"1795249390","cid_num":"1001","cid_name":"Jane","dest":"2000",
       "initial_cid_num":"0639980001","initial_dest":"7000","call_uuid":""},
      {"uuid":"b","direction":"outbound","created_epoch":"0","cid_num":"x","dest":null,"call_uuid":"a"},
      {"uuid":""}, 7]}"""
    a, b = listings.channels(answer)
    assert (a.uuid, a.call_uuid, a.inbound, a.created_at) == ("a", "a", True, at(1795249390))
    assert (a.caller_number, a.caller_name, a.dialled) == ("0639980001", "Jane", "7000")
    assert (b.uuid, b.call_uuid, b.inbound, b.created_at, b.dialled) == ("b", "a", False, None, None)
    assert listings.channels('{"row_count":0}') == []


@pytest.mark.parametrize("answer", ["", "-ERR no", "[]", "{", '{"rows":{}}', '{"rows":"x"}', "null"])
def test_what_is_no_list_of_channels(answer: str) -> None:
    with pytest.raises(ListingError):
        listings.channels(answer)


def test_the_number_of_channels() -> None:
    assert listings.channel_count("\n12 total.\n") == 12
    for answer in ("", "total", "-ERR", "١٢ total."):
        with pytest.raises(ListingError):
            listings.channel_count(answer)


@given(st.text(alphabet='|\n\r+OK09ab{}[]":, ', max_size=200) | st.text(max_size=100))
def test_any_answer_is_a_list_or_a_documented_error(answer: str) -> None:
    for read in (listings.queue_names, listings.members, listings.channels, listings.channel_count):
        for text in (answer, MEMBERS + answer + "\n+OK"):
            with contextlib.suppress(ListingError):
                read(text)
