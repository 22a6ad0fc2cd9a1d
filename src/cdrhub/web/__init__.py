"""The HTTP server: ingest paths, health, metrics."""
