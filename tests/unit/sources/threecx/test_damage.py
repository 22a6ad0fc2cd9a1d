"""What the decoder makes of lines that are damaged, foreign or hostile: a call, or an error that says why."""

from __future__ import annotations

import time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from cdrhub.errors import DecodeError, Reason
from cdrhub.model.fold import fold
from cdrhub.model.update import MAX_TEXT
from cdrhub.sources.threecx.config import ThreeCXSettings
from cdrhub.sources.threecx.decode import decoder
from support.threecx import LINE_20, call_of, captured, line_20, line_27, record, update_of


@pytest.mark.parametrize(
    ("line", "reason", "hint"),
    [
        ("", Reason.UNPARSABLE, "empty"),
        ("  \r\n", Reason.UNPARSABLE, "empty"),
        ("Call 1         00000172FF10D141_1  00:00:30", Reason.WRONG_FIELD_COUNT, "fixed width"),
        ("Call 1,x", Reason.WRONG_FIELD_COUNT, "2 fields came"),
        ("1,x", Reason.WRONG_FIELD_COUNT, "2 fields came"),
        ("GET / HTTP/1.1", Reason.UNPARSABLE, "not a 3CX line: a probe?"),
        ("GET /a,b HTTP/1.1", Reason.UNPARSABLE, "not a 3CX line: a probe?"),
        ("Accept: text/html, */*", Reason.UNPARSABLE, "not a 3CX line: a probe?"),
        ("SSH-2.0-Go,x", Reason.UNPARSABLE, "not a 3CX line: a probe?"),
        ("\x16\x03\x01\x02,\x00", Reason.UNPARSABLE, "not a 3CX line: a probe?"),
        ("hello", Reason.UNPARSABLE, "not a 3CX line: a probe?"),
        (LINE_20 + ",", Reason.WRONG_FIELD_COUNT, "21 fields came, 20 or 27 expected"),
        (LINE_20.rpartition(",")[0], Reason.WRONG_FIELD_COUNT, "19 fields came"),
        (line_27(from_dispname="Last, First") + ",", Reason.WRONG_FIELD_COUNT, "display names last"),
        # 26 fields, the last of them left out, and a name with a comma are 27 as well.
        (line_27(to_dispname="Last, First").removesuffix(","), Reason.BAD_VALUE, "there is no final party"),
        (
            line_27(to_dispname="Last, First", final_dn="102", final_dispname="Ada").removesuffix(","),
            Reason.BAD_VALUE,
            "no list of extensions",
        ),
        (line_20(time_start="yesterday"), Reason.BAD_VALUE, "time-start is 'yesterday'"),
        (line_20(time_end="2026/13/02 08:00:00"), Reason.BAD_VALUE, "time-end"),
        (line_20(duration="65"), Reason.BAD_VALUE, "duration is '65'"),
        (line_20(duration="0x:00:00"), Reason.BAD_VALUE, "duration"),
        # What a forwarder may write around a line: in 20 fields nothing else shows that it is no part of it.
        (f'{{"Body": "Received: {LINE_20}"}}', Reason.BAD_VALUE, "historyid is '{"),
        (f"received: {LINE_20}", Reason.BAD_VALUE, "historyid"),
        (f"body=Received%3A+{LINE_20}", Reason.BAD_VALUE, "historyid"),
    ],
)
def test_what_cannot_be_understood_says_why(line: str, reason: Reason, hint: str) -> None:
    with pytest.raises(DecodeError) as caught:
        update_of(line)
    assert caught.value.reason == reason
    assert hint in caught.value.detail
    assert len(caught.value.detail) < 300


def test_a_long_line_of_a_stranger_is_refused_as_fast_as_it_is_read() -> None:
    line = "GET " + "x" * 131_072 + ",y"
    begun = time.thread_time()
    with pytest.raises(DecodeError, match="2 fields came"):
        update_of(line)
    assert time.thread_time() - begun < 1


def test_bytes_that_are_no_text_are_kept_readable_and_flagged() -> None:
    line = line_27(from_dispname="@", from_type="Line", to_type="Extension").encode().replace(b"@", b"Bj\xf6rn\x00")
    call = call_of(line)
    assert call.caller_name == "Bj\ufffdrn"
    assert "text_repaired" in call.flags


def test_very_long_values_are_cut() -> None:
    call = call_of(line_20(from_no="Ext." + "9" * 60_000, final_number="x" * 60_000, reason_changed="ReplacedDst"))
    assert call.caller_number is not None
    assert len(call.caller_number) <= MAX_TEXT
    assert all(len(leg.leg_key) <= MAX_TEXT for leg in call.legs)


def test_a_cost_that_is_no_number_stays_readable() -> None:
    for cost in ("1e999999999", "-1e10", "99999999.99999", "NaN"):
        call = call_of(line_20(bill_cost=cost))
        assert (call.cost, "value_dropped" in call.flags) == (None, True)
    call = call_of(line_20(bill_cost="free"))
    assert (call.cost, call.attributes["bill-cost"]) == (None, "free")
    assert "value_dropped" in call.flags


_SAMPLES = [line.body for line in captured()]
_DECODERS = [
    decoder(ThreeCXSettings()),
    decoder(ThreeCXSettings(fields=("time-start", "dial-no", "from-dn"), timezone="Europe/Berlin", region="DE")),
]


@given(st.binary(max_size=400), st.sampled_from(_DECODERS))
@example(b"Call ", _DECODERS[0])
@example(b'"', _DECODERS[0])
def test_any_bytes_are_a_call_or_a_documented_error(body: bytes, decode: object) -> None:
    _decodes(body, decode)


_FIELD = st.one_of(
    st.text(max_size=12),
    st.sampled_from(
        [
            "", "Ext.101", "Ext.", "EndCall", "MakeCall", "PickupExt.1", "10001", "0266904995", "Queue", "VMail",
            "Line", "2026/03/02 08:00:00", "2026/03/02 08:00:10", "00:00:05", "TerminatedBySrc", "Failed", "NaN",
            "ReplacedDst", "FailedBXferOfSrc", "QFwdToDNA", "Chain: a;Ext.1;;b;", "1e999", "٣", "²", "\udcff", '"',
        ]
    ),
)  # fmt: skip


@given(st.lists(_FIELD, min_size=20, max_size=20) | st.lists(_FIELD, min_size=27, max_size=27))
def test_any_fields_are_a_call_or_a_documented_error(fields: list[str]) -> None:
    for place in (3, 4, 5):
        if not fields[place].startswith("2026"):
            fields[place] = "2026/03/02 08:00:00"
    if not fields[2].startswith("00:"):
        fields[2] = ""
    _decodes(",".join(fields).encode("utf-8", "surrogatepass"), _DECODERS[0])


@given(st.sampled_from(_SAMPLES), st.integers(0, 400), st.binary(max_size=3))
def test_a_damaged_record_is_a_call_or_a_documented_error(body: bytes, place: int, instead: bytes) -> None:
    _decodes(body[:place] + instead + body[place + 1 :], _DECODERS[0])


def _decodes(body: bytes, decode: object) -> None:
    assert callable(decode)
    try:
        update = decode(record(body))
    except DecodeError:
        return
    call = fold([update])
    assert call.call_key
    assert len({leg.leg_key for leg in call.legs}) == len(call.legs)


_ZONES = ["Asia/Kolkata", "America/New_York", "Europe/Berlin", "Pacific/Kiritimati", "Etc/GMT+12", "Etc/GMT-14"]


@given(
    st.sampled_from(_ZONES),
    st.lists(
        st.sampled_from(["0001/01/01 00:00:00", "9999/12/31 23:59:59"])
        | st.datetimes().map(lambda moment: f"{moment.year:04}/{moment:%m/%d %H:%M:%S}"),
        min_size=3,
        max_size=3,
    ),
)
@example("Asia/Kolkata", ["0001/01/01 00:00:00"] * 3)
@example("America/New_York", ["9999/12/31 23:59:59"] * 3)
def test_any_time_in_any_zone_is_a_call_or_a_documented_error(zone: str, times: list[str]) -> None:
    line = line_20(time_start=times[0], time_answered=times[1], time_end=times[2])
    _decodes(line.encode(), decoder(ThreeCXSettings(timezone=zone)))


@pytest.mark.parametrize(
    ("zone", "time"), [("Asia/Kolkata", "0001/01/01 00:00:00"), ("America/New_York", "9999/12/31 23:59:59")]
)
def test_a_time_that_has_no_moment_is_a_bad_value(zone: str, time: str) -> None:
    with pytest.raises(DecodeError, match="time-start") as caught:
        update_of(line_20(time_start=time), ThreeCXSettings(timezone=zone))
    assert caught.value.reason == Reason.BAD_VALUE
