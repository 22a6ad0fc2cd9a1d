"""The REST API below /api/v1: cases, attempts, do-not-call, pauses, calls (docs/api.md)."""
