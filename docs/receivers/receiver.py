#!/usr/bin/env python3
"""A receiver of cdrhub's webhooks: verifies each request and acts exactly once on each event. Standard library only.

    WEBHOOK_SECRETS="whsec_..." python3 receiver.py --listen 127.0.0.1:9000 --database events.db

Whoever knows the address may post to it, so nothing is believed before its signature fits (Standard Webhooks,
https://github.com/standard-webhooks/standard-webhooks). cdrhub sends an event again when it did not see the answer; its
`webhook-id` is the same then. So the id and what follows from the event are written in one transaction, and the answer
is given after it.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import hmac
import json
import os
import sqlite3
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

MAX_BODY = 1_000_000  # bytes; an event has at most 20,000
MAX_DIGITS = 12  # of a number in a header
MIN_KEY = 24  # bytes; with an empty key anybody could sign
TOLERANCE = 300  # seconds between the sender's clock and ours; older requests may be replayed by somebody


class Unverified(Exception):
    """The request is not from whoever has the secret, or is too old."""


def verify(body: bytes, headers: Mapping[str, str], secrets: Sequence[bytes], *, now: float) -> str:
    """The id of a request that is genuine. Raises Unverified."""
    given = {name.lower(): value for name, value in headers.items()}
    event_id, timestamp = given.get("webhook-id", ""), given.get("webhook-timestamp", "")
    if not event_id or not timestamp.isdecimal() or len(timestamp) > MAX_DIGITS:
        raise Unverified
    if abs(now - int(timestamp)) > TOLERANCE:
        raise Unverified
    signed = f"{event_id}.{timestamp}.".encode() + body  # the body exactly as it came
    for word in given.get("webhook-signature", "").split():  # one for each secret while they are changed
        version, _, signature = word.partition(",")
        for secret in secrets:
            right = base64.b64encode(hmac.new(secret, signed, hashlib.sha256).digest())
            if version == "v1" and hmac.compare_digest(right, signature.encode()):
                return event_id
    raise Unverified


def read_secrets(text: str) -> list[bytes]:
    """The keys in `whsec_<base64>`, several with blanks between them. Raises ValueError."""
    keys = [base64.b64decode(word.removeprefix("whsec_"), validate=True) for word in text.split()]
    if not keys or any(len(key) < MIN_KEY for key in keys):
        raise ValueError(f"a secret is whsec_ and {MIN_KEY} bytes or more in base64")
    return keys


class Inbox:
    """Events that were acted on, in a database of their own or, better, in yours."""

    def __init__(self, file: str) -> None:
        self._lock = threading.Lock()
        self._database = sqlite3.connect(file, check_same_thread=False)
        self._database.execute("CREATE TABLE IF NOT EXISTS events (id TEXT PRIMARY KEY, type TEXT, event TEXT)")

    def take(self, event_id: str, event: Mapping[str, Any]) -> bool:
        """Act on an event unless that was done before; whether it was new."""
        with self._lock, self._database:  # one transaction: both or neither
            done = self._database.execute(
                "INSERT INTO events VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
                (event_id, event["type"], json.dumps(event)),
            )
            if done.rowcount == 0:
                return False
            act(event)
        return True


def act(event: Mapping[str, Any]) -> None:
    """What you do with an event. Here: one line. Types that you do not know are to be ignored: new ones may come."""
    known = event["data"]
    print(event["type"], event["subject"], known.get("disposition") or known.get("reason") or "", flush=True)


def handler(inbox: Inbox, secrets: Sequence[bytes]) -> type[BaseHTTPRequestHandler]:
    """The request handler."""

    class Receiver(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"  # connections are kept
        timeout = 120

        def do_POST(self) -> None:
            length = self.headers.get("content-length", "")
            if not length.isdecimal() or len(length) > MAX_DIGITS or int(length) > MAX_BODY:
                self.close_connection = True
                self._answer(413)
                return
            body = self.rfile.read(int(length))
            try:
                event_id = verify(body, dict(self.headers.items()), secrets, now=time.time())
            except Unverified:
                self._answer(401)
                return
            inbox.take(event_id, json.loads(body))
            self._answer(204)  # also when it was known: it need not come again

        def _answer(self, status: int) -> None:
            self.send_response(status)
            if status != 204:  # which has no body, RFC 9110
                self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *words: Any) -> None:
            """Say nothing of requests: `act` does."""

    return Receiver


def main() -> int:
    """Receive until interrupted."""
    parser = argparse.ArgumentParser(description="Receives webhooks of cdrhub.")
    parser.add_argument("--listen", default="127.0.0.1:9000", metavar="HOST:PORT")
    parser.add_argument("--database", default="events.db", metavar="FILE")
    chosen = parser.parse_args()
    try:
        secrets = read_secrets(os.environ.get("WEBHOOK_SECRETS", ""))
    except ValueError:
        print("WEBHOOK_SECRETS must hold the secret of [[broadcast.webhooks]]: whsec_…", file=sys.stderr)
        return 78
    host, _, port = chosen.listen.rpartition(":")
    server = ThreadingHTTPServer((host, int(port)), handler(Inbox(chosen.database), secrets))
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        return 0
    return 0


if __name__ == "__main__":
    sys.exit(main())
