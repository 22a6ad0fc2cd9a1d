"""What the daemon counts, as Prometheus metrics (text format 0.0.4) in a registry of its own.

Every name is documented in docs/operations.md, and a test proves it. Labels are the source's name in the
configuration and short constant words, never a value that comes from a phone system.
"""

from __future__ import annotations

from collections.abc import Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics, generate_latest

from cdrhub.model.dialling import Refusal

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)


class Metrics:
    """All counters of one process."""

    def __init__(self) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]  # the moments `…_created` double the number of series and tell nothing
        self.registry = CollectorRegistry()
        self.received = self._counter("cdrhub_records_received_total", "Records handed over by a source.", "source")
        self.acknowledged = self._counter(
            "cdrhub_records_acknowledged_total", "Records that were durable in the journal in time.", "source"
        )
        self.refused = self._counter(
            "cdrhub_records_refused_total", "Records the journal could not take; the sender keeps them.", "source"
        )
        self.stored = self._counter(
            "cdrhub_records_stored_total",
            "What became of received records: applied, duplicate, suspended, ignored; together they are all of them.",
            "source",
            "result",
        )
        self.conflicts = self._counter(
            "cdrhub_calls_conflicting_total", "Calls of which two records of one kind contradict each other.", "source"
        )
        self.unmapped = self._counter(
            "cdrhub_unmapped_words_total", "Records with a word of the vendor that the hub does not know.", "source"
        )
        self.ignored = self._counter(
            "cdrhub_messages_ignored_total", "Messages that say nothing of a call, by why.", "source", "why"
        )
        self.source_events = self._counter(
            "cdrhub_source_events_total", "What else happened at a source: probes, refused peers, …", "source", "what"
        )
        self.links = self._gauge("cdrhub_source_links", "Open connections to the phone system.", "source")
        self.last_record = self._gauge(
            "cdrhub_source_last_record_timestamp_seconds", "When the last record came (Unix time).", "source"
        )
        self.silence = self._gauge(
            "cdrhub_source_seconds_since_last_record", "Seconds since the last record of a source.", "source"
        )
        self.journal_depth = self._gauge("cdrhub_journal_records", "Records in the journal, not yet in the database.")
        self.journal_bytes = self._gauge("cdrhub_journal_bytes", "Size of the journal.")
        self.journal_damaged = self._gauge(
            "cdrhub_journal_damaged_records", "Records set aside because the journal's file no longer gives them."
        )
        self.journal_age = self._gauge("cdrhub_journal_age_seconds", "Age of the journal's oldest record.")
        self.journal_commit = self._gauge("cdrhub_journal_commit_seconds", "Duration of the journal's last commit.")
        self.batch_seconds = Histogram(
            "cdrhub_batch_seconds",
            "Time to write one batch into the database, its commit included.",
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.batch_records = Histogram(
            "cdrhub_batch_records",
            "Records in one batch.",
            buckets=(1, 5, 25, 100, 250, 500, 1000, 2500),
            registry=self.registry,
        )
        self.http_refused = self._counter(
            "cdrhub_http_connections_refused_total", "HTTP connections closed because there were too many at once."
        )
        self.http_unmet = self._counter(
            "cdrhub_http_handshakes_failed_total", "TLS handshakes that failed: probes, or who refuses our certificate."
        )
        self.database_up = self._gauge("cdrhub_database_up", "1 while the database takes batches.")
        self.database_retries = self._counter(
            "cdrhub_database_retries_total", "Batches begun anew because the database was away."
        )

        self.redial_settled = self._counter(
            "cdrhub_settled_calls_total", "Settled calls that were decided about, also those of no case."
        )
        self.redial_decisions = self._counter(
            "cdrhub_redial_decisions_total", "Decisions about settled calls of cases, by result.", "result"
        )
        self.redial_lag = self._gauge(
            "cdrhub_redial_lag_seconds", "How long the oldest settled call of the last batch had been due."
        )
        self.redial_oldest_due = self._gauge(
            "cdrhub_redial_oldest_due_seconds", "How long the oldest waiting case has been due."
        )
        self.redial_requests = self._counter(
            "cdrhub_redial_requests_total", "Requests to diallers, by what they answered.", "dialler", "answer"
        )
        self.redial_live = self._gauge(
            "cdrhub_redial_live_attempts", "Attempts that are requested or accepted, of all hubs.", "dialler"
        )
        self.redial_dial_seconds = Histogram(
            "cdrhub_redial_dial_seconds",
            "Time until a dialler answered a request.",
            ("dialler",),
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.redial_failures = self._counter(
            "cdrhub_redial_failures_total", "Steps of redial that failed and are tried again, by step.", "step"
        )
        for step in _STEPS:
            self.redial_failures.labels(step)
        self.live_readers = self._gauge("cdrhub_live_readers", "Readers of the live feed.")
        self.live_cuts = self._counter(
            "cdrhub_live_cuts_total", "Readers of the live feed that were cut: slow, stopping, token.", "reason"
        )

        self.events_numbered = self._counter(
            "cdrhub_events_numbered_total", "Public events that this hub gave their place in the log."
        )
        self.event_lag = self._gauge(
            "cdrhub_event_lag_seconds", "How long the oldest event of the last batch had waited for its place."
        )
        self.webhook_requests = self._counter(
            "cdrhub_webhook_requests_total",
            "Requests to webhooks, by what came of them: delivered, refused, failed, gone.",
            "webhook",
            "answer",
        )
        self.webhook_missed = self._counter(
            "cdrhub_webhook_missed_events_total", "Events that were purged before a webhook was sent them.", "webhook"
        )
        self.webhook_waiting = self._gauge(
            "cdrhub_webhook_waiting_events", "Events of the log behind a webhook's cursor.", "webhook"
        )
        self.webhook_oldest = self._gauge(
            "cdrhub_webhook_oldest_seconds", "Age of the oldest event that waits for a webhook.", "webhook"
        )
        self.webhook_state = self._gauge(
            "cdrhub_webhook_state",
            "1 for the state that a webhook is in: healthy, failing, disabled.",
            "webhook",
            "state",
        )
        self.broadcast_failures = self._counter(
            "cdrhub_broadcast_failures_total", "Parts of the broadcast that failed and were begun again.", "part"
        )

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(name, text, labels, registry=self.registry)

    def _gauge(self, name: str, text: str, *labels: str) -> Gauge:
        return Gauge(name, text, labels, registry=self.registry)

    def wrote(self, by_source: Mapping[str, Mapping[str, int]]) -> None:
        """Add what a batch did, source by source; words as in store.batch.Written."""
        for source, counts in by_source.items():
            for word, result in _RESULTS.items():
                if amount := counts.get(word, 0):
                    self.stored.labels(source, result).inc(amount)
            if conflicts := counts.get("conflicts", 0):
                self.conflicts.labels(source).inc(conflicts)

    def expect_source(self, name: str) -> None:
        """That source is at work. What alerts go by has a value from the start: Prometheus sees no increase in a series
        that begins at 1, and no link of 0 in one that is not there."""
        self.links.labels(name).set(0)
        self.refused.labels(name)
        self.unmapped.labels(name)
        self.source_events.labels(name, "missing_records")
        for result in _RESULTS.values():
            self.stored.labels(name, result)

    def expect_dialler(self, name: str) -> None:
        """That dialler is asked; see `expect_source`."""
        for answer in _ANSWERS:
            self.redial_requests.labels(name, answer)

    def expect_webhook(self, name: str) -> None:
        """That webhook is told; see `expect_source`."""
        self.webhook_missed.labels(name)
        for kind in _ANSWER_KINDS:
            self.webhook_requests.labels(name, kind)

    def forget_source(self, name: str) -> None:
        """That source is not at work any more: how it stands now has no value. What it did is counted for ever."""
        for gauge in (self.links, self.last_record, self.silence):
            gauge.remove_by_labels({"source": name})

    def forget_dialler(self, name: str) -> None:
        """That dialler is asked no more, and its attempts are not counted any longer; see `forget_source`."""
        self.redial_live.remove_by_labels({"dialler": name})

    def forget_webhook(self, name: str) -> None:
        """This hub does not deliver to that webhook any more, and knows nothing of its state."""
        for gauge in (self.webhook_waiting, self.webhook_oldest, self.webhook_state):
            gauge.remove_by_labels({"webhook": name})

    def text(self) -> bytes:
        """The exposition, as `GET /metrics` answers it."""
        return generate_latest(self.registry)


_RESULTS = {"applied": "applied", "duplicates": "duplicate", "suspended": "suspended", "ignored": "ignored"}
_ANSWERS = ("accepted", "unseen", *(f"refused_{refusal.value}" for refusal in Refusal))
_ANSWER_KINDS = ("delivered", "refused", "failed", "gone")
_STEPS = ("decide", "dial", "due", "deadline", "answer")  #: of redial
