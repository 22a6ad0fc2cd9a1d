"""CDR documents as switches in the field write them: names that are no XML, values that lost their encoding, a key
that stands there twice, extensions without a telephone. Each is cut from a published document; numbers are replaced.
"""

from __future__ import annotations

import re
import sys
from types import FrameType

import pytest

from cdrhub.errors import DecodeError
from cdrhub.model.call import Call
from cdrhub.model.disposition import Direction, Disposition, EndedBy, Outcome, Role
from cdrhub.model.fold import fold
from cdrhub.sources.freeswitch.channel import DocumentChannel
from cdrhub.sources.freeswitch.documents import of_xml
from support.freeswitch import decoded, updated

#: FreeSWITCH 1.6.20, 2021: a caller in an IVR that is a Lua script.
IVR = """<?xml version="1.0"?>
<cdr core-uuid="8c64e881-4cd8-4bce-a613-bead517f70a0" switchname="kvm81_20">
  <channel_data>
    <state>CS_REPORTING</state>
    <direction>inbound</direction>
    <state_number>11</state_number>
    <flags>0=1;1=1;3=1;37=1;38=1;40=1;43=1;53=1;75=1;95=1;112=1;113=1;122=1</flags>
    <caps>1=1;2=1;3=1;4=1;5=1;6=1</caps>
  </channel_data>
  <variables>
    <direction>inbound</direction>
    <uuid>8039fb4f-e1c9-4def-b097-7c71435bb73c</uuid>
    <session_id>9847</session_id>
    <sip_from_user>10086</sip_from_user>
    <sip_from_uri>10086%40192.0.2.32</sip_from_uri>
    <DP_MATCH>60019</DP_MATCH>
    <DP_MATCH>60019</DP_MATCH>
    <call_uuid>8039fb4f-e1c9-4def-b097-7c71435bb73c</call_uuid>
    <endpoint_disposition>ANSWER</endpoint_disposition>
    <nolocal:req_uuid>8039fb4f-e1c9-4def-b097-7c71435bb73c</nolocal:req_uuid>
    <export_vars>nolocal%3Areq_uuid</export_vars>
    <current_application>lua</current_application>
    <hangup_cause>NORMAL_CLEARING</hangup_cause>
    <start_stamp>2021-01-07%2009%3A42%3A20</start_stamp>
    <start_uepoch>1609983740553303</start_uepoch>
    <answer_uepoch>1609983741993409</answer_uepoch>
    <bridge_uepoch>0</bridge_uepoch>
    <end_uepoch>1609984004593299</end_uepoch>
    <last_app>lua</last_app>
    <duration>264</duration>
    <billsec>263</billsec>
    <sip_hangup_disposition>send_bye</sip_hangup_disposition>
  </variables>
  <app_log>
    <application app_name="set" app_data="service_number=60019" app_stamp="1609983741736833"></application>
  </app_log>
  <callflow dialplan="XML" unique-id="5e0d25ee-c4bb-4d25-b96d-0d1813e56aa1" profile_index="1">
    <caller_profile>
      <username>10086</username>
      <caller_id_name></caller_id_name>
      <caller_id_number>10086</caller_id_number>
      <destination_number>60019</destination_number>
      <uuid>8039fb4f-e1c9-4def-b097-7c71435bb73c</uuid>
      <source>mod_sofia</source>
      <context>public</context>
    </caller_profile>
  </callflow>
</cdr>
"""

#: What a switch of 2015 wrote whose `encode` is true: the values have lost their own encoding on the way.
DECODED = """    <switch_r_sdp>v=0\r
o=- 13076180818001738 1 IN IP4 192.0.2.29\r
c=IN IP4 192.0.2.29\r
m=audio 60596 RTP/AVP 125 100 0 8 9 101\r
</switch_r_sdp>
    <sip_full_from><sip:10086@192.0.2.8>;tag=f92e5207</sip_full_from>
    <sip_full_to><sip:60019@192.0.2.8>;tag=2a28FgSmDp1tr</sip_full_to>
    <caller_id>"10086" <10086></caller_id>
    <dialled>a & b &lt; c</dialled>
"""


def call_of(document: str) -> Call:
    return fold([updated(document.encode(), calls="all")])


def named(name: str) -> str:
    return IVR.replace("nolocal:req_uuid", name)


@pytest.mark.parametrize("name", ["nolocal:req_uuid", "1", "set api_hangup_hook", "^^,default_language", "array[0]"])
def test_variables_whose_names_are_no_xml_harm_no_document(name: str) -> None:
    call = call_of(named(name))
    assert call == call_of(named("req_uuid"))
    assert (call.caller_number, call.callee_number, call.disposition) == ("10086", "60019", Disposition.IVR)
    assert (call.duration_seconds, call.talk_seconds, call.ended_by) == (264, 0, EndedBy.SYSTEM)


def test_values_that_lost_their_encoding_harm_no_document() -> None:
    document = IVR.replace("2021-01-07%2009%3A42%3A20", "2021-01-07 09:42:20").replace("%40", "@").replace("%3A", ":")
    damaged = document.replace("    <hangup_cause>", DECODED + "    <hangup_cause>")
    assert call_of(damaged) == call_of(named("req_uuid"))


@pytest.mark.parametrize("lines", [True, False])
def test_what_a_caller_wrote_into_his_name_keeps_no_document_from_being_read(lines: bool) -> None:
    document = IVR.replace("nolocal:req_uuid", "req_uuid")
    whole = document if lines else document.replace("\n", "")
    name = re.compile(rb"(?<=<caller_id_name>)[^<]*")
    call = fold([updated(name.sub(b"Ren\xe9\x01 \x1b[2J", whole.encode()), calls="all")])
    assert (call.caller_name, call.caller_number) == ("Ren\ufffd [2J", "10086")


@pytest.mark.parametrize(
    "document",
    [
        IVR.replace("  </variables>\n", ""),
        IVR[: IVR.index("<hangup_cause>")],
        IVR.replace("<caller_profile>", "<caller_profile:>"),
        IVR.replace('<cdr core-uuid="8c64', '<!DOCTYPE cdr [<!ENTITY a "b">]><cdr core-uuid="8c64'),
    ],
    ids=["no end of the variables", "cut off", "damaged elsewhere", "a document type"],
)
def test_what_else_is_wrong_with_a_document_is_an_error(document: str) -> None:
    with pytest.raises(DecodeError):
        decoded(document.encode(), calls="all")


def test_a_variable_without_an_end_takes_no_other_with_it() -> None:
    call = call_of(IVR.replace("</nolocal:req_uuid>", ""))
    assert (call.call_key, call.cause) == ("8039fb4f-e1c9-4def-b097-7c71435bb73c", "NORMAL_CLEARING")


def test_variables_without_an_end_are_not_looked_for_again_and_again() -> None:
    """A document of 4 MB of them must not keep every other record of the hub waiting for minutes."""
    steps = 0

    def count(_frame: FrameType, event: str, _called: object) -> None:
        nonlocal steps
        steps += event in ("call", "c_call")

    lines = 1_000
    document = IVR.replace("    <hangup_cause>", "    <nolocal:a>\n" * lines + "    <hangup_cause>").encode()
    sys.setprofile(count)
    try:
        channel = of_xml(document)
    finally:
        sys.setprofile(None)
    assert channel.cause == "NORMAL_CLEARING"
    assert steps < 30 * lines


def test_an_undefined_variable_is_none() -> None:
    """FusionPBX exports the queue's variables to channels that never saw a queue."""
    undefined = "".join(
        f"    <cc_{name}>_undef_</cc_{name}>\n" for name in ("side", "member_uuid", "member_session_uuid", "agent_uuid")
    )
    assert call_of(IVR.replace("    <hangup_cause>", undefined + "    <hangup_cause>")) == call_of(IVR)


@pytest.mark.parametrize("side", ["originatee", "originator"])
def test_the_number_of_whoever_a_channel_was_joined_to(side: str) -> None:
    """After an attended transfer the target is the caller's originator: the switch joins it to the caller."""
    joined = {f"{side}_caller_profiles": [{"uuid": "target", "destination_number": "1002"}]}
    channel = DocumentChannel({}, [{side: joined}])
    assert (channel.destination_of("target"), channel.destination_of("another")) == ("1002", None)


def test_an_extension_without_a_telephone_was_dialled_all_the_same() -> None:
    """FreeSWITCH 1.8, 2019: the dialplan answers, and then bridges to a user who is not registered. No leg is made."""
    absent = IVR.replace("<hangup_cause>NORMAL_CLEARING", "<hangup_cause>SUBSCRIBER_ABSENT").replace(
        "    <hangup_cause>",
        "    <originate_disposition>SUBSCRIBER_ABSENT</originate_disposition>\n"
        "    <originate_failed_cause>SUBSCRIBER_ABSENT</originate_failed_cause>\n    <hangup_cause>",
    )
    assert call_of(absent).disposition == Disposition.NO_ANSWER


@pytest.mark.parametrize(("seconds", "outcome"), [("14", Outcome.LEFT), (None, Outcome.ANSWERED)])
def test_the_mailbox_of_fusionpbx_is_a_voicemail(seconds: str | None, outcome: Outcome) -> None:
    """It is a Lua script: `last_app` is `lua`, as an IVR's is."""
    message = f"    <voicemail_message_seconds>{seconds}</voicemail_message_seconds>\n" if seconds else ""
    call = call_of(
        IVR.replace(
            "    <hangup_cause>",
            "    <missed_call>true</missed_call>\n    <voicemail_action>save</voicemail_action>\n"
            "    <voicemail_answer_stamp>2021-01-07%2009%3A42%3A40</voicemail_answer_stamp>\n"
            f"    <voicemail_answer_epoch>1609983760</voicemail_answer_epoch>\n{message}    <hangup_cause>",
        )
    )
    assert (call.disposition, call.talk_seconds, call.answered_at) == (Disposition.VOICEMAIL, 0, None)
    assert [(leg.role, leg.outcome, str(leg.answered_at)) for leg in call.legs] == [
        (Role.VOICEMAIL, outcome, "2021-01-07 01:42:40+00:00")
    ]


@pytest.mark.parametrize(
    ("caller", "dialled", "direction", "held"),
    [
        ("1001", "1002", Direction.INTERNAL, 15),
        ("1001", "+4915123050600", Direction.OUTBOUND, 15),
        ("+4915123050600", "1002", Direction.INBOUND, None),
    ],
)
def test_the_hold_of_a_call_that_one_of_ours_placed(
    caller: str, dialled: str, direction: Direction, held: int | None
) -> None:
    """FreeSWITCH 1.6, 2018: the caller held the other side for 15 of 21 seconds. A customer's own hold is not ours."""
    document = (
        '{"core-uuid":"63e2315b-d538-4dfa-9ed5-af73ba6210b6","switchname":"teo","variables":{"direction":"inbound",'
        f'"uuid":"5a3a1d91-90d3-4db4-af5c-cc3ae15d93a4","sip_from_user":"{caller}","sip_req_user":"{dialled}",'
        '"call_uuid":"5a3a1d91-90d3-4db4-af5c-cc3ae15d93a4","originate_disposition":"SUCCESS",'
        '"originated_legs":"ARRAY::9c1afb4f-1d4a-4e45-84a3-d25721981bf5;Outbound Call;1002|:9c1afb4f-1d4a-4e45-84a3-'
        'd25721981bf5;Outbound Call;1002","last_bridge_to":"9c1afb4f-1d4a-4e45-84a3-d25721981bf5",'
        '"sip_hangup_disposition":"recv_bye","hangup_cause":"NORMAL_CLEARING","start_stamp":"2018-03-14 07:09:18",'
        '"hold_events":"{{1521025767847893,1521025783334494}}","start_uepoch":"1521025758006702",'
        '"answer_uepoch":"1521025767766321","bridge_uepoch":"1521025767766321","hold_accum_seconds":"15",'
        '"end_uepoch":"1521025788366141","duration":"30","billsec":"21"},"callflow":[{"profile_index":"1",'
        f'"caller_profile":{{"caller_id_number":"{caller}","destination_number":"{dialled}"}}}}]}}'
    )
    call = call_of(document)
    assert (call.direction, call.talk_seconds, call.hold_seconds) == (direction, 21, held)


def test_a_document_of_an_older_switch_that_names_callflow_twice() -> None:
    """FreeSWITCH 1.2, 2013: a call that was redirected; the newer callflow names who was reached."""
    document = (
        '{"core-uuid":"844715f9-d8a1-44d6-a4bf-358bec5e10b8","variables":{"direction":"inbound",'
        '"uuid":"01df56f4-d99a-4ef6-b7fe-b924b2415b7f","sip_from_user":"dan","sip_req_user":"+4915123050600",'
        '"transfer_history":"1375609854:d2300128-6724-471c-a495-a3f7a985a2b6:bl_xfer:dan/redirected/XML",'
        '"call_uuid":"01df56f4-d99a-4ef6-b7fe-b924b2415b7f","originated_legs":"ARRAY::e377c077-0f1f-4b7d-b036-'
        '1aeef13eff32;Outbound Call;dan|:8f7c860f-0619-4d3c-9515-cc23b0fa3997;Outbound Call;dan",'
        '"originate_disposition":"SUCCESS","last_bridge_to":"8f7c860f-0619-4d3c-9515-cc23b0fa3997",'
        '"hangup_cause":"NORMAL_CLEARING","start_stamp":"2013-08-04 11:50:54","start_uepoch":"1375609854385581",'
        '"answer_uepoch":"1375609856285587","bridge_uepoch":"1375609856285587","end_uepoch":"1375609860205563",'
        '"sip_hangup_disposition":"send_bye"},'
        '"callflow":{"profile_index":"2","caller_profile":{"caller_id_number":"dan","destination_number":"117",'
        '"originatee":{"originatee_caller_profiles":[{"destination_number":"117",'
        '"uuid":"8f7c860f-0619-4d3c-9515-cc23b0fa3997"}]}}},'
        '"callflow":{"profile_index":"1","caller_profile":{"caller_id_number":"dan",'
        '"destination_number":"+4915123050600"}}}'
    )
    call = call_of(document)
    assert (call.direction, call.disposition, call.talk_seconds) == (Direction.INBOUND, Disposition.ANSWERED, 4)
    assert call.callee_e164 == "+4915123050600"
    assert [(leg.number, leg.outcome) for leg in call.legs] == [("117", Outcome.ANSWERED)]


@pytest.mark.skipif(sys.version_info >= (3, 12), reason="this Python reads deeper than orjson, which reads it before")
def test_a_callflow_nested_too_deeply_is_an_error() -> None:
    deep = '{"variables":{"uuid":"a"},"callflow":1,"callflow":' + "[" * 1010 + "]" * 1010 + "}"
    with pytest.raises(DecodeError, match="nested"):
        decoded(deep.encode(), calls="all")
