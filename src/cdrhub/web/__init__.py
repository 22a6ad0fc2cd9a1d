"""The HTTP server: ingest paths, health, metrics, the API and the live feed."""
