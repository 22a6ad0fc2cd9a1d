"""Messages of files: the same ones however a file is read."""

from __future__ import annotations

import io

import pytest

from cdrhub.cli import importing
from cdrhub.cli.importing import messages
from cdrhub.sources.registry import system


class Dribble(io.BytesIO):
    """A stream that gives a few bytes at a time, whatever is asked for."""

    def __init__(self, content: bytes, step: int) -> None:
        super().__init__(content)
        self._step = step

    def read(self, size: int | None = -1, /) -> bytes:
        return super().read(self._step if size is None or size < 0 else min(size, self._step))


LOG = b"\r\nCall 1,a\r\n\r\nCall 2,b\nCall 3,c"
EXPORT = b'{"ERROR_NUMBER": 0,\n "CDR_LIST": [{"ivruniqueid": "1"}, {"ivruniqueid": "2"}]}'


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("3cx", LOG, [b"Call 1,a", b"Call 2,b", b"Call 3,c"]),
        ("voicenter", EXPORT, [b'{"ivruniqueid":"1"}', b'{"ivruniqueid":"2"}']),
        ("3cx", b"", []),
    ],
)
def test_every_way_of_reading_gives_the_same_messages(name: str, content: bytes, expected: list[bytes]) -> None:
    for step in range(1, len(content) + 2):
        read: list[int] = []
        found = list(messages(Dribble(content, step), system(name), name="x", advance=read.append))
        assert found == expected
        assert sum(read) == len(content)


def test_the_type_of_a_message_is_told_by_its_first_character() -> None:
    kinds = [importing._content_type(body) for body in (b' {"a": 1}', b"[1]", b"<?xml?>", b"Call 1,a", b"")]
    assert kinds == ["application/json", "application/json", "text/xml", "text/plain", "text/plain"]
