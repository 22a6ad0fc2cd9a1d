"""The receivers of docs/receivers: they believe nothing that is not signed, and act once on each event."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from pathlib import Path

import pytest
from standardwebhooks import Webhook

from support.disks import small_disk
from support.receivers import SECRET, Receiver, node_receiver, python_receiver

OTHER = "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
EVENT = {"id": "e-1", "type": "call.ended", "subject": "c-1", "data": {"disposition": "answered", "note": "ü…\n"}}


@pytest.fixture(params=[python_receiver, node_receiver], ids=["python", "node"])
def receiver(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Receiver]:
    made: Receiver = request.param(tmp_path)
    made.start()
    try:
        yield made
    finally:
        made.kill()


def signed(body: bytes, *, event_id: str = "e-1", secret: str = SECRET, age: float = 0.0) -> dict[str, str]:
    moment = datetime.now(UTC) - timedelta(seconds=age)
    return {
        "webhook-id": event_id,
        "webhook-timestamp": str(int(moment.timestamp())),
        "webhook-signature": Webhook(secret).sign(event_id, moment, body.decode()),
    }


def post(receiver: Receiver, body: bytes, headers: Mapping[str, str]) -> int:
    asked = urllib.request.Request(receiver.url, data=body, headers=dict(headers), method="POST")
    try:
        with urllib.request.urlopen(asked, timeout=10) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code


BODY = json.dumps(EVENT, ensure_ascii=False).encode()


def test_an_event_is_acted_on_once_also_after_a_crash(receiver: Receiver) -> None:
    assert [post(receiver, BODY, signed(BODY)) for _ in range(3)] == [204, 204, 204]
    receiver.kill()
    receiver.start()
    assert post(receiver, BODY, signed(BODY)) == 204
    other = json.dumps({**EVENT, "id": "e-2"}).encode()
    assert post(receiver, other, signed(other, event_id="e-2")) == 204
    assert receiver.read() == [EVENT, {**EVENT, "id": "e-2"}]
    assert receiver.log.read_text().splitlines() == ["call.ended c-1 answered"] * 2


@pytest.mark.parametrize("made", [python_receiver, node_receiver], ids=["python", "node"])
def test_an_event_that_a_full_disk_does_not_take_whole_is_not_answered(made: Callable[[Path], Receiver]) -> None:
    with small_disk(megabytes=1) as disk:
        receiver = made(disk)
        receiver.start()
        try:
            taken = []
            for number in range(200):
                event = json.dumps({**EVENT, "id": f"e-{number}", "data": {"note": "n" * 15_000}}).encode()
                try:
                    status = post(receiver, event, signed(event, event_id=f"e-{number}"))
                except OSError:  # it ended before it answered
                    break
                if status != HTTPStatus.NO_CONTENT:
                    break
                taken.append(f"e-{number}")
            else:
                pytest.fail("the disk was never full")
        finally:
            receiver.kill()
        assert taken
        assert [event["id"] for event in receiver.read()] == taken


def test_while_a_secret_is_changed_one_fitting_signature_is_enough(receiver: Receiver) -> None:
    both = signed(BODY)
    both["webhook-signature"] = f"{signed(BODY, secret=OTHER)['webhook-signature']} {both['webhook-signature']}"
    assert post(receiver, BODY, both) == 204


@pytest.mark.parametrize(
    "spoil",
    [
        lambda headers: {**headers, "webhook-signature": signed(BODY, secret=OTHER)["webhook-signature"]},
        lambda headers: {**headers, "webhook-id": "e-2"},
        lambda headers: {**headers, "webhook-timestamp": str(int(headers["webhook-timestamp"]) + 1)},
        lambda headers: {**headers, "webhook-timestamp": "soon"},
        lambda headers: {**headers, "webhook-timestamp": "9" * 5_000},
        lambda headers: {**headers, "webhook-signature": headers["webhook-signature"].replace("v1,", "v2,")},
        lambda headers: {**headers, "webhook-signature": "v1,"},
        lambda headers: {**headers, "webhook-signature": "v1,???? , v1"},
        lambda _: signed(BODY + b" "),
        lambda _: signed(BODY, age=301),
        lambda _: signed(BODY, age=-302),
        lambda headers: {name: value for name, value in headers.items() if name != "webhook-signature"},
        lambda _: {},
    ],
    ids=[
        "another secret",
        "another id",
        "another time",
        "no time",
        "no time of this universe",
        "another version",
        "an empty signature",
        "nonsense",
        "another body",
        "old",
        "of the future",
        "not signed",
        "nothing",
    ],
)
def test_what_is_not_genuine_is_refused(receiver: Receiver, spoil: Callable[[dict[str, str]], dict[str, str]]) -> None:
    assert post(receiver, BODY, spoil(signed(BODY))) == 401
    assert receiver.read() == []


def test_what_is_too_long_is_refused(receiver: Receiver) -> None:
    long = b"x" * 1_000_001
    try:
        assert post(receiver, long, signed(long)) == 413
    except urllib.error.URLError as error:  # it closed before it was sent all
        assert isinstance(error.reason, ConnectionError)  # noqa: PT017
    assert receiver.read() == []


@pytest.mark.parametrize("secrets", ["", "whsec_", f"{SECRET} whsec_", "whsec_c2hvcnQ="])
@pytest.mark.parametrize("make", [python_receiver, node_receiver], ids=["python", "node"])
def test_it_does_not_start_with_a_secret_that_anybody_knows(
    make: Callable[[Path], Receiver], secrets: str, tmp_path: Path
) -> None:
    """An empty one stands there when a variable was not set."""
    receiver = make(tmp_path)
    receiver.secrets = secrets
    with pytest.raises(RuntimeError, match="WEBHOOK_SECRETS must hold"):
        receiver.start()
