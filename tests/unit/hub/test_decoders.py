"""Records of which a source kept the first part only wait in suspense until somebody repairs them."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from importlib.resources import files
from pathlib import Path

import orjson
import pytest
from structlog.testing import capture_logs

from cdrhub.errors import DecodeError, Reason
from cdrhub.hub.decoders import Decoders, UnknownRevision
from cdrhub.model.record import RawRecord, Revision
from cdrhub.model.update import CallUpdate, Ignored
from cdrhub.sources.registry import system
from support.processes import python
from support.records import raw_record

LINE = (
    b"Call 1,00000172FF10D141_1,00:00:56,2020/06/29 07:53:11,2020/06/29 07:53:42,2020/06/29 07:54:39,TerminatedByDst,"
    b"Ext.114,0266904995,114,10001,0266904995,,,,,1,0.95,default,Chain: Ext.114;0266904995;"
)
CDR = b'{"ivruniqueid":"k","type":"Incoming Call","status":"ANSWER","time":1790000000,"duration":5}'


def learnt(kind: str) -> Decoders:
    decoders = Decoders()
    settings = system(kind).config_model.settings_model().model_dump_json()
    decoders.learn(Revision(revision="r", source="s", system=kind, settings=settings))
    return decoders


def cut(body: bytes) -> RawRecord:
    kind = "application/json" if body.startswith(b"{") else "text/plain"
    return raw_record(body, source="s", content_type=kind, config_revision="r", attributes={"too_long": True})


@pytest.mark.parametrize(("kind", "body"), [("3cx", LINE), ("voicenter", CDR)])
def test_a_cut_record_waits_whatever_it_looks_like_and_decodes_once_repaired(kind: str, body: bytes) -> None:
    decoders, record = learnt(kind), cut(body)
    outcome = decoders.decode(record)
    assert isinstance(outcome, DecodeError)
    assert outcome.reason is Reason.TOO_LONG
    assert isinstance(decoders.decode(replace(record, body=body + b" ")), CallUpdate)


def test_settings_nobody_knows_are_asked_for() -> None:
    with pytest.raises(UnknownRevision, match="'r'"):
        Decoders().decode(replace(cut(LINE), attributes={}))


def test_long_values_of_strangers_are_not_kept_in_memory() -> None:
    """Numbers, words and keys that come again and again are remembered; long ones would fill the memory."""
    decoders, long = learnt("voicenter"), 20_000
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        for count in range(100):
            text = f"{count:0{long}}"
            cdr = {"ivruniqueid": "k", "caller": text, "type": text, "status": text, "direction": text, text: "x"}
            body = orjson.dumps(cdr)
            assert isinstance(decoders.decode(replace(cut(body), attributes={})), CallUpdate)
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert after - before < 20 * long, "that is the last CDR, but not all of them"


A_ZONE = """
import sys, zoneinfo
from cdrhub.sources.registry import system
from support.descriptors import no_free_descriptor

settings = system("3cx").config_model.settings_model
sys.modules["tzdata"] = None  # else listing all zones fails in the same way
zoneinfo.reset_tzpath(sys.argv[1:])
with no_free_descriptor():
    try:
        settings.model_validate({"timezone": "Here"})
    except OSError as error:
        print(error.strerror)
"""


def test_a_zone_that_cannot_be_read_without_a_free_descriptor_is_no_wrong_one(tmp_path: Path) -> None:
    (tmp_path / "Here").write_bytes(files("tzdata.zoneinfo").joinpath("UTC").read_bytes())
    read = python(A_ZONE, str(tmp_path))
    assert read.stdout == "Too many open files\n", read.stderr


WITHOUT_MEMORY = """
import re, resource
from datetime import UTC, datetime
from pathlib import Path
from cdrhub.hub.decoders import Decoders
from cdrhub.model.record import Revision
from cdrhub.model.record import RawRecord, digest_of
from cdrhub.sources.registry import system

decoders = Decoders()
settings = system("3cx").config_model.settings_model().model_dump_json()
decoders.learn(Revision(revision="r", source="s", system="3cx", settings=settings))
body = b"Call 1,00000172FF10D141_1," * 2_000_000
record = RawRecord(source="s", received_at=datetime.now(UTC), content_type="text/plain", body=body,
                   digest=digest_of(body), config_revision="r", attributes={})
used = int(re.search(r"VmSize:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) * 1024
resource.setrlimit(resource.RLIMIT_AS, (used + 16_000_000, resource.RLIM_INFINITY))
try:
    print(decoders.decode(record))
except MemoryError:
    print("no memory")
"""


def test_a_record_for_which_there_is_no_memory_is_not_suspended_for_it() -> None:
    read = python(WITHOUT_MEMORY)
    assert read.stdout == "no memory\n", read.stderr


def _forgets(record: RawRecord) -> None:
    """A branch without a return."""


def _leaves(record: RawRecord) -> None:
    raise SystemExit(3)


def _reason_of_its_own(record: RawRecord) -> None:
    raise DecodeError("no_such_reason", "why")  # type: ignore[arg-type]


def _no_detail(record: RawRecord) -> None:
    raise DecodeError(Reason.BAD_VALUE, None)  # type: ignore[arg-type]


class Bare(DecodeError):
    """Holds nothing."""

    def __init__(self) -> None:
        Exception.__init__(self)


def _error_of_its_own(record: RawRecord) -> None:
    raise Bare


class Mute(Exception):
    """Cannot be told."""

    def __str__(self) -> str:
        raise AttributeError


def _cannot_be_told(record: RawRecord) -> None:
    raise Mute


def _digest_of_its_own(record: RawRecord) -> CallUpdate:
    return CallUpdate(call_key="k", kind="cdr", digest=b"", values={})


@pytest.mark.parametrize(
    ("decoder", "said"),
    [
        (_forgets, "TypeError: a decoder returns"),
        (_leaves, "SystemExit: 3"),
        (_reason_of_its_own, "DecodeError: no_such_reason: why"),
        (_no_detail, "DecodeError: bad_value: None"),
        (_error_of_its_own, "Bare: Bare"),
        (_cannot_be_told, "Mute: Mute"),
        (_digest_of_its_own, "ValueError: `digest` is not that of the record"),
    ],
)
def test_a_record_that_a_stranger_s_decoder_cannot_handle_waits(
    decoder: Callable[[RawRecord], CallUpdate | None], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoders = learnt("3cx")
    monkeypatch.setattr(type(system("3cx")), "decoder", lambda *_: decoder)
    with capture_logs() as lines:
        outcome = decoders.decode(replace(cut(LINE), attributes={}))
    assert isinstance(outcome, DecodeError)
    assert outcome.reason is Reason.DECODER_BUG
    assert outcome.detail.startswith(said)
    assert [(line["action"], line["log_level"]) for line in lines] == [("decoder_bug", "error")]


def test_who_interrupts_a_replay_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(record: RawRecord) -> None:
        raise KeyboardInterrupt

    decoders = learnt("3cx")
    monkeypatch.setattr(type(system("3cx")), "decoder", lambda *_: interrupted)
    with pytest.raises(KeyboardInterrupt):
        decoders.decode(replace(cut(LINE), attributes={}))


def test_a_decoder_is_made_once(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[object] = []

    def make(_: object, settings: object) -> Callable[[RawRecord], Ignored]:
        made.append(settings)
        return lambda _: Ignored(why="nothing")

    decoders = learnt("3cx")
    monkeypatch.setattr(type(system("3cx")), "decoder", make)
    for _ in range(2):
        assert decoders.decode(replace(cut(LINE), attributes={})) == Ignored(why="nothing")
    assert len(made) == 1


def test_settings_that_a_package_does_not_take_any_more_are_named() -> None:
    decoders = Decoders()
    decoders.learn(Revision(revision="r", source="s", system="3cx", settings='{"gone": 1, "timezone": "UTC"}'))
    outcome = decoders.decode(replace(cut(LINE), attributes={}))
    assert isinstance(outcome, DecodeError)
    said = "the installed '3cx' does not take the settings under which it came any more: gone"
    assert (outcome.reason, outcome.detail) == (Reason.BAD_VALUE, said)
