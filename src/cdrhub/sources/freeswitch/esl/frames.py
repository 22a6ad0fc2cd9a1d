"""Frames of the Event Socket: an outer block of headers, and the body whose length it tells.

Nothing inside a body is looked at here. An event's headers are url-encoded values that a caller can influence; they
are read by name, and only where somebody wants one (`headers.py`). The outer headers are the switch's own: a name, a
colon, a value that is not encoded, ended by `\\n` and nothing else.
https://developer.signalwire.com/freeswitch/FreeSWITCH-Explained/Modules/mod_event_socket_1048924/
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from cdrhub.sources.freeswitch.esl.errors import OutOfStep
from cdrhub.sources.freeswitch.headers import MAX_EVENT_BYTES

MAX_HEAD_BYTES = 16 * 1024  #: of one frame's outer headers; FreeSWITCH writes some 60 bytes of them
MAX_ANSWER_BYTES = 16 * MAX_EVENT_BYTES  #: of one answer to a command: `show channels` of thousands of calls

AUTH_REQUEST = "auth/request"
COMMAND_REPLY = "command/reply"
API_RESPONSE = "api/response"
EVENT_PLAIN = "text/event-plain"
DISCONNECT_NOTICE = "text/disconnect-notice"
REJECTION = "text/rude-rejection"

_LENGTH = re.compile(rb"^Content-Length:[ \t]*([^\n]*)$", re.MULTILINE)
_TYPE = re.compile(rb"^Content-Type:[ \t]*([^\n]*)$", re.MULTILINE)
_DIGITS = re.compile(rb"[0-9]{1,12}")
_MAX_SHOWN = 60  #: characters of what was received in an error's message
_HEAD_END = b"\n\n"


@dataclass(frozen=True, kw_only=True, slots=True)
class Frame:
    """One frame. `content_type` is its Content-Type, `head` the outer headers as they came."""

    content_type: str
    head: bytes
    body: bytes = b""

    def header(self, name: str) -> str | None:
        """The first outer header called `name`, its bytes that are not UTF-8 replaced; None where there is none."""
        prefix = name.encode() + b":"
        for line in self.head.split(b"\n"):
            if line.startswith(prefix):
                return line[len(prefix) :].strip().decode("utf-8", "replace")
        return None

    @property
    def text(self) -> str:
        """The body as text, its bytes that are not UTF-8 replaced."""
        return self.body.decode("utf-8", "replace")


class Framer:
    """Cuts a stream into frames, however its bytes arrive. Holds no more than one incomplete frame.

    `max_body` bounds the body of one frame, in bytes. After it raised OutOfStep it must not be fed again.
    """

    def __init__(self, *, max_body: int) -> None:
        self._max_body = max_body
        self._buffer = bytearray()
        self._looked_at = 0  #: bytes of the buffer in which no end of headers was found
        self._head: tuple[bytes, str, int] | None = None  #: headers, type and body length of the frame being received

    @property
    def pending(self) -> bool:
        """Whether a frame was begun and not ended."""
        return self._head is not None or bool(self._buffer)

    def feed(self, chunk: bytes) -> Iterator[Frame]:
        """Yield the frames that `chunk` completes, in order; to be exhausted before the next call.

        Raises OutOfStep for anything that is no frame, after the frames before it.
        """
        buffer = self._buffer
        buffer += chunk
        at = 0
        while True:
            if self._head is None:
                while buffer.startswith(b"\n", at):
                    at += 1
                end = buffer.find(_HEAD_END, max(at, self._looked_at - 1), at + MAX_HEAD_BYTES)
                if end < 0:
                    break
                self._head = self._read_head(bytes(buffer[at:end]))
                at = end + len(_HEAD_END)
                self._looked_at = 0
            head, content_type, length = self._head
            if len(buffer) - at < length:
                break
            self._head = None
            yield Frame(content_type=content_type, head=head, body=bytes(buffer[at : at + length]))
            at += length
        del buffer[:at]
        if self._head is None:
            if len(buffer) >= MAX_HEAD_BYTES:
                raise OutOfStep(f"{len(buffer)} bytes of headers without an end")
            self._looked_at = len(buffer)

    def _read_head(self, head: bytes) -> tuple[bytes, str, int]:
        kind = _TYPE.search(head)
        if kind is None:
            raise OutOfStep("a frame without Content-Type")
        content_type = kind[1].strip().decode("utf-8", "replace")
        written = _LENGTH.search(head)
        if written is None:
            if content_type.startswith("text/event-"):
                raise OutOfStep("an event without Content-Length")
            return head, content_type, 0
        digits = written[1].strip()
        if _DIGITS.fullmatch(digits) is None:
            raise OutOfStep(f"a frame of Content-Length {digits.decode('utf-8', 'replace')[:_MAX_SHOWN]!r}")
        if int(digits) > self._max_body:
            raise OutOfStep(f"a frame of {int(digits)} bytes, more than {self._max_body}")
        return head, content_type, int(digits)


def encode_frame(content_type: str, body: bytes) -> bytes:
    """A frame with a body as FreeSWITCH writes it: what a simulated switch sends."""
    return b"Content-Length: %d\nContent-Type: %b\n\n%b" % (len(body), content_type.encode(), body)
