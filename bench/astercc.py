"""asterCC's events, seven a call, answered only when durable, beside a bare aiohttp handler; 32 connections."""

from __future__ import annotations

from typing import Any

from bench.pushing import beside_bare_aiohttp

PATH = "/ingest/astercc/bench-secret-0123456789"


def push(seconds: float) -> dict[str, Any]:
    """The daemon with SQLite behind it, and the bare handler, one after the other."""
    return beside_bare_aiohttp("astercc", path=PATH, settings='region = "CN"', seconds=seconds)
