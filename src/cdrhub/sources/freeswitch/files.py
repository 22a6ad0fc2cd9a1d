"""Messages in a file: a recorded Event Socket stream, CDR documents in JSON (one after the other or in an array), or
in XML. The first byte that is not white space tells which.

With `encode`, mod_json_cdr and mod_xml_cdr leave a document in `err-log-dir` as they would have posted it, without the
`cdr=`: url-encoded, or in base64 (`mod_json_cdr.c`, `mod_xml_cdr.c`). It is the same record as the one that is posted.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from cdrhub.sources.freeswitch.documents import MAX_DOCUMENT_BYTES, OPENING, unencoded
from cdrhub.sources.freeswitch.headers import MAX_EVENT_BYTES

EVENT_TYPES = frozenset({b"text/event-plain", b"text/event-json"})
MAX_HEADER_BYTES = 1 << 16  #: of one frame's outer header block

_LENGTH = re.compile(rb"^Content-Length: ?(\d{1,9})$", re.MULTILINE)
_TYPE = re.compile(rb"^Content-Type: ?(\S+)$", re.MULTILINE)
#: A text, finished or cut off by the end of what was read so far, or a brace outside texts.
_TOKEN = re.compile(rb'"(?:[^"\\]|\\.)*+(?:"|\\?\Z)|[{}]', re.DOTALL)
_CDR_BEGINS = re.compile(rb"<cdr[\s>]")
_CDR_ENDS = b"</cdr>"
#: Comments, and the closing tag of whatever held the documents.
_AFTER_DOCUMENTS = re.compile(rb"(?:\s|<!--.*?-->|</[^<>]*>)*+", re.DOTALL)
#: A `{` or a `<`, url-encoded, or the beginning of what begins with one in base64.
_ENCODED = re.compile(rb"%7[Bb]|%3[Cc]|(?:e[w-z0-9+/]|P[A-P])[A-Za-z0-9+/]{6}")
_BETWEEN = b" \t\r\n,[]"


def split(data: bytes, *, final: bool) -> tuple[Sequence[bytes], bytes]:
    """The complete messages at the beginning of `data`, and the rest. With `final` an incomplete message at the end
    counts as one, so that nothing goes unseen; so does a message over its limit of length."""
    start = data.lstrip(_BETWEEN)
    if not start:
        return [], b""
    if start[:1] == b"{":
        return _json(start, final=final)
    if start[:1] == b"<":
        return _xml(start, final=final)
    if _ENCODED.match(start):
        return _encoded(start, final=final)
    return _frames(data.lstrip(b"\r\n"), final=final)


def _frames(data: bytes, *, final: bool) -> tuple[list[bytes], bytes]:
    messages: list[bytes] = []
    at = 0
    while at < len(data):
        end = data.find(b"\n\n", at, at + MAX_HEADER_BYTES)
        if end < 0:
            if final or len(data) - at >= MAX_HEADER_BYTES:
                return [*messages, data[at:]], b""
            break
        head = data[at:end]  # a JSON event is not followed by a newline
        length = _LENGTH.search(head)
        size = int(length[1]) if length else 0
        if size > MAX_EVENT_BYTES:
            return [*messages, data[at:]], b""
        body, after = end + 2, end + 2 + size
        if after > len(data):
            if final:
                return [*messages, data[at:]], b""
            break
        kind = _TYPE.search(head)
        if kind is not None and kind[1] in EVENT_TYPES:
            messages.append(data[body:after])
        elif kind is None:
            messages.append(data[at:after])  # not a frame of the Event Socket: let the decoder refuse it
        at = after
        while data[at : at + 1] == b"\n":
            at += 1
    return messages, data[at:]


def _encoded(data: bytes, *, final: bool) -> tuple[Sequence[bytes], bytes]:
    """Url-encoded documents on lines of their own, or one in base64, which older switches write in lines."""
    end = len(data) if final else data.rfind(b"\n") + 1 if data[:1] == b"%" else 0
    if not end:
        return [], data
    documents = unencoded(data[:end])
    if not documents.startswith(OPENING):
        return [data[:end]], data[end:]
    return split(documents, final=True)[0], data[end:]


def _json(data: bytes, *, final: bool) -> tuple[list[bytes], bytes]:
    messages: list[bytes] = []
    begin, depth, done = 0, 0, 0
    for token in _TOKEN.finditer(data):
        if token[0] == b"{":
            if depth == 0:
                begin = token.start()
                if between := data[done:begin].strip(_BETWEEN):  # what a damaged document left behind
                    messages.append(between)
                done = begin
            depth += 1
        elif token[0] == b"}" and depth:
            depth -= 1
            if depth == 0:
                messages.append(data[begin : token.end()])
                done = token.end()
    rest = data[done:].lstrip(_BETWEEN)
    if rest and (final or len(rest) > MAX_DOCUMENT_BYTES):
        return [*messages, rest], b""
    return messages, rest


def _xml(data: bytes, *, final: bool) -> tuple[list[bytes], bytes]:
    messages: list[bytes] = []
    done = 0
    while (begun := _CDR_BEGINS.search(data, done)) is not None:
        end = data.find(_CDR_ENDS, begun.end())
        if end < 0:
            break  # no later document ends either: to look for that behind each opening takes hours
        done = end + len(_CDR_ENDS)
        messages.append(data[begun.start() : done])
    rest = data[done:]
    if final and _AFTER_DOCUMENTS.fullmatch(rest):
        return messages, b""
    if rest.strip() and (final or len(rest) > MAX_DOCUMENT_BYTES):
        return [*messages, rest], b""
    return messages, rest
