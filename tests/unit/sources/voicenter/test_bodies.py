"""Parsing of the three formats: what they hold, and that nothing breaks the parser."""

from __future__ import annotations

import sys
from types import FrameType
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdrhub.errors import DecodeError, Reason
from cdrhub.model.update import bounded_key
from cdrhub.sources.voicenter import SYSTEM
from cdrhub.sources.voicenter.bodies import MAX_CDRS, MAX_FIELDS, MAX_VALUES, Format, nested_json, parse, sniff
from cdrhub.sources.voicenter.simulate import render
from support.voicenter import CAPTURES, call_of, cdr

FIELDS = {
    "caller": "0501234567",
    "target": "972722776772",
    "time": 1595333610,
    "duration": 75,
    "ivruniqueid": "202007211213270124c",
    "type": "Queue",
    "status": "ANSWER",
    "queueid": 7,
    "queuename": "מכירות & <Sales>",
    "seconds_waiting_in_queue": 20,
    "actualCallDuration": 40,
    "actualCallDialtime": 15,
    "extenUser": "SIPSIP1",
    "price": 7,
    "IVR": [{"layer_id": 1, "layer_name": "Main", "layer_number": 0, "Dtmf": 2, "dtmf_order": 1}],
    "CustomData": {"var_job": "42"},
}


def xml(value: str, *, method: str = "CDR", prolog: str = '<?xml version="1.0"?>') -> bytes:
    return (
        f"{prolog}<methodCall><methodName>{method}</methodName><params><param><value><struct>"
        f"<member><name>ivruniqueid</name><value>{value}</value></member>"
        "</struct></value></param></params></methodCall>"
    ).encode()


@pytest.mark.parametrize("written", Format)
def test_every_format_gives_the_same_call(written: Format) -> None:
    assert call_of(render(FIELDS, written)) == call_of(render(FIELDS, Format.JSON))


@pytest.mark.parametrize("digits", [18, 20, 30, 200])
def test_an_identity_that_is_a_number_is_the_same_to_its_last_digit(digits: int) -> None:
    said = [("20240610120455" * 15)[: digits - 1] + last for last in "34"]
    bodies = [render(FIELDS | {"ivruniqueid": "ID"}, Format.JSON).replace(b'"ID"', key.encode()) for key in said]
    assert [call_of(body).call_key for body in bodies] == [bounded_key(key) for key in said]
    one_array, _ = SYSTEM.split(b'{"CDR_LIST": [' + b",".join(bodies) + b"]}", final=True)
    assert [call_of(message).call_key for message in one_array] == [bounded_key(key) for key in said]


def test_keys_in_any_case_give_the_same_call() -> None:
    upper = orjson.dumps({key.upper(): value for key, value in FIELDS.items()})
    assert call_of(upper) == call_of(render(FIELDS, Format.JSON))


@pytest.mark.parametrize(
    "wrap",
    [
        lambda text: b"\xef\xbb\xbf" + text,
        lambda text: b" \r\n\t" + text + b"\r\n",
        lambda text: b"[" + text + b"]",
        lambda text: orjson.dumps(text.decode()),
        lambda text: orjson.dumps(orjson.dumps([orjson.loads(text)]).decode()),
    ],
    ids=["bom", "blanks", "array of one", "text", "text of an array in text"],
)
def test_wrapped_json(wrap: object) -> None:
    assert callable(wrap)
    text = render(FIELDS, Format.JSON)
    assert parse(wrap(text)).items == (FIELDS,)


@pytest.mark.parametrize("prefix", [b"", b"\xef\xbb\xbf", b"\n  "])
def test_blanks_before_xml(prefix: bytes) -> None:
    assert sniff(prefix + xml("a")) is Format.XMLRPC
    assert parse(prefix + xml("a")).items == ({"ivruniqueid": "a"},)


@pytest.mark.parametrize(
    ("value", "read"),
    [
        ("<string>a</string>", "a"),
        ("a", "a"),
        ("<string />", ""),
        ("<string></string>", ""),
        ("", ""),
        ("<i4> 12 </i4>", 12),
        ("<int>-3</int>", -3),
        ("<i8>1345373417</i8>", 1345373417),
        ('<ex:i8 xmlns:ex="http://ws.apache.org/xmlrpc/namespaces/extensions">5</ex:i8>', 5),
        ("<i4>many</i4>", "many"),
        ("<double>1.5</double>", "1.5"),
        ("<boolean>1</boolean>", True),
        ("<nil/>", None),
        ("<string><![CDATA[<a>]]></string>", "<a>"),
        ("<!-- c --><string>a</string>", "a"),
        ("<array><data><value><i4>1</i4></value><value>b</value></data></array>", [1, "b"]),
        ("<struct><member><name>k</name><value><i4>1</i4></value></member></struct>", {"k": 1}),
    ],
)
def test_xmlrpc_values(value: str, read: object) -> None:
    assert parse(xml(value)).items == ({"ivruniqueid": read},)


@pytest.mark.parametrize(
    "body",
    [
        xml("a", prolog='<!DOCTYPE methodCall [<!ENTITY x "y">]>'),
        xml("&x;", prolog='<?xml version="1.0"?><!DOCTYPE methodCall [<!ENTITY x "y">]>'),
        xml("&x;", prolog='<?xml version="1.0"?>\n<!DOCTYPE methodCall [<!ENTITY x SYSTEM "file:///etc/passwd">]>'),
        xml("&c;", prolog=f"<!DOCTYPE methodCall [<!ENTITY a '{'a' * 999}'><!ENTITY b '{'&a;' * 99}'>]>"),
        xml("a", prolog="<!--" + " " * 5000 + "--><!DOCTYPE methodCall>"),
    ],
)
def test_document_types_are_refused(body: bytes) -> None:
    with pytest.raises(DecodeError) as caught:
        parse(body)
    assert caught.value.reason is Reason.FORBIDDEN


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"   ",
        b"hello",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"[]",
        b"[1,2]",
        b'"text"',
        b'"7"',
        b'"\\"true\\""',
        b"{",
        b"[" * 100_000,
        b'{"a":' * 50_000,
        b"<a>" * 5_000,
        xml("a", method="OTHER"),
        b"<methodResponse/>",
        b"<methodCall><methodName>CDR</methodName></methodCall>",
        xml("<array><data><value>" * 60 + "</value></data></array>" * 60),
        b"&".join(b"k%d=v" % number for number in range(2_000)),
    ],
)
def test_what_is_no_cdr(body: bytes) -> None:
    with pytest.raises(DecodeError):
        parse(body)


def test_too_many_cdrs_in_one_body() -> None:
    with pytest.raises(DecodeError) as caught:
        parse(b"[" + b",".join([b"{}"] * (MAX_CDRS + 1)) + b"]")
    assert caught.value.reason is Reason.TOO_LONG


def test_too_many_fields_in_one_cdr() -> None:
    """Half a million of them held everybody up for six seconds."""
    fields = [f"n{number}" for number in range(MAX_FIELDS + 1)]
    members = "".join(f"<member><name>{field}</name><value>1</value></member>" for field in fields)
    param = f"<param><value><struct>{members}</struct></value></param>"
    rpc = f"<methodCall><methodName>CDR</methodName><params>{param}</params></methodCall>"
    for body in (orjson.dumps(dict.fromkeys(fields, 1)), rpc.encode()):
        with pytest.raises(DecodeError) as refused:
            parse(body)
        assert refused.value.reason is Reason.TOO_LONG


@pytest.mark.parametrize("value", ["[],", "0,", '{"a":0},', "[" * 1000 + "]" * 1000 + ","])
def test_too_many_values_in_one_body(value: str) -> None:
    """Ten megabytes of empty lists took half a gigabyte."""
    many = f"[{value * (MAX_VALUES // (value.count('[') + 1) + 1)}0]"
    for body in (f'{{"ivruniqueid":"a","IVR":{many}}}'.encode(), orjson.dumps(f'{{"a":{many}}}')):
        with pytest.raises(DecodeError) as refused:
            parse(body)
        assert refused.value.reason is Reason.TOO_LONG
    assert nested_json(many) == many


def test_json_that_is_not_quite_json_is_read() -> None:
    body = b'{"ivruniqueid":"a","price":NaN,"big":' + b"9" * 400 + b',"n":"cut \\ud83d","x":1e999}'
    call = call_of(body)
    assert call.call_key == "a"
    assert call.cost is None
    assert {"text_repaired", "value_dropped"} <= set(call.flags)


def test_bytes_of_another_code_page_are_repaired_and_flagged() -> None:
    assert "text_repaired" in call_of(cdr(queuename="Q").replace(b'"Q"', b'"\xee\xeb\xe9"')).flags
    assert "text_repaired" in call_of(b"ivruniqueid=a&queuename=%EE%EB%E9").flags


@pytest.mark.parametrize(
    ("prolog", "name", "repaired"),
    [
        ("", "\ufffd\ufffd\ufffd", True),
        ('<?xml version="1.0" encoding="UTF-8"?>', "\ufffd\ufffd\ufffd", True),
        ('<?xml version="1.0" encoding="windows-1255"?>', "\u05de\u05db\u05d9", False),
    ],
)
def test_xml_of_another_code_page_is_repaired_unless_it_names_the_page(prolog: str, name: str, repaired: bool) -> None:
    body = parse(xml("NAME", prolog=prolog).replace(b"NAME", b"\xee\xeb\xe9"))
    assert (body.items, body.repaired) == (({"ivruniqueid": name},), repaired)


def test_a_transcript_of_megabytes() -> None:
    call = call_of(cdr(aiData={"transcript": "word " * 600_000, "insights": {"score": 1}}))
    assert call.attributes["aiData"]["insights"] == {"score": 1}
    assert "text_cut" in call.flags


def test_repeated_keys_in_a_form_keep_what_says_something() -> None:
    assert parse(b"a=1&a=&b=&b=2").items == ({"a": "1", "b": "2"},)


@pytest.mark.parametrize(
    ("body", "items"),
    [
        (b'{"a": "1", "b": 2, "a": "", "b": null, "c": ""}', ({"a": "1", "b": 2, "c": ""},)),
        (
            b'[{"a": [1], "a": []}, {"a": {"b": 1, "b": ""}, "a": {}}, {"a": ""}]',
            ({"a": [1]}, {"a": {"b": 1}}, {"a": ""}),
        ),
        (b'{"a": 1, "a": 0, "a": ""}', ({"a": 0},)),
        (b'{"a": 1, "a": ""}', ({"a": 1},)),
        (b'{"a" : 1, "a": ""}', ({"a": 1},)),
        (b'"{\\"a\\": 1, \\"a\\": \\"\\"}"', ({"a": 1},)),
        (b'{"a": 1, "a": "", "b": ' + b"[" * 1_000 + b"]" * 1_000 + b"}", None),
        (b'{"b": "", "x": "\\"b\\""}', ({"b": "", "x": '"b"'},)),
        (b'{"a": 18446744073709551617, "b": 1, "b": ""}', ({"a": 18446744073709551617, "b": 1},)),
    ],
)
def test_repeated_names_in_json_keep_what_says_something(body: bytes, items: tuple[object, ...] | None) -> None:
    """The last counted, also where it was empty."""
    found = parse(body).items
    assert found == items if items is not None else found[0]["a"] in (1, "")


def test_a_body_of_very_many_names_is_not_looked_through_for_each() -> None:
    """A megabyte of them held everybody up for minutes."""
    names = [b",".join(b'"n%d":null' % (900 * part + number) for number in range(900)) for part in range(3)]
    body = b'[{"a": 1, "a": "", "x": "\\":", ' + b"}, {".join(names) + b"}]"
    looks = 0

    def note(_: FrameType, event: str, called: Any) -> None:
        nonlocal looks
        looks += event == "c_call" and called.__name__ == "count"

    sys.setprofile(note)
    try:
        found, *others = parse(body).items
    finally:
        sys.setprofile(None)
    assert (found["a"], len(found), len(others)) == (1, 902, 2)
    assert looks < 10


def test_a_long_number_beside_what_is_nested_deeper_than_python_reads() -> None:
    body = b'{"a": 18446744073709551617, "b": ' + b"[" * 1_010 + b"]" * 1_010 + b"}"
    assert float(parse(body).items[0]["a"]) == 2.0**64  # Python 3.12 and newer read that, and the whole number


def test_repeated_members_of_xmlrpc_keep_what_says_something() -> None:
    member = "<member><name>{}</name><value>{}</value></member>"
    said = "".join(member.format("a", each) for each in ("1", "<nil/>", "<array><data></data></array>", ""))
    param = f"<param><value><struct>{said}</struct></value></param>"
    body = f"<methodCall><methodName>CDR</methodName><params>{param}</params></methodCall>"
    assert parse(body.encode()).items == ({"a": "1"},)


def test_nested_json_leaves_other_text_alone() -> None:
    assert nested_json('[{"a":1}]') == [{"a": 1}]
    assert nested_json("[not json") == "[not json"
    assert nested_json("plain") == "plain"
    assert nested_json("") == ""


SAMPLES = [path.read_bytes() for path in sorted(CAPTURES.glob("cdr-*"))]


def _value_or_documented_error(body: bytes) -> None:
    try:
        assert parse(body).items
    except DecodeError as error:
        assert error.reason in (Reason.UNPARSABLE, Reason.FORBIDDEN, Reason.TOO_LONG)  # noqa: PT017


@given(st.binary(max_size=400))
def test_any_bytes(body: bytes) -> None:
    _value_or_documented_error(body)


@given(st.sampled_from([b"<", b"<?xml", b"{", b"[", b'"', b"a=", b"<methodCall>"]), st.binary(max_size=200))
def test_any_bytes_after_a_promising_start(start: bytes, rest: bytes) -> None:
    _value_or_documented_error(start + rest)


@given(st.sampled_from(SAMPLES), st.data())
def test_damaged_samples(sample: bytes, data: st.DataObject) -> None:
    damaged = bytearray(sample)
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(damaged) - 1))
        damaged[place : place + data.draw(st.integers(0, 5))] = data.draw(st.binary(max_size=5))
    _value_or_documented_error(bytes(damaged))


@pytest.mark.parametrize("sample", SAMPLES)
def test_every_beginning_of_every_sample(sample: bytes) -> None:
    for length in range(0, len(sample), max(1, len(sample) // 400)):
        _value_or_documented_error(sample[:length])
