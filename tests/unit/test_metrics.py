"""What Prometheus finds before anything happened."""

from __future__ import annotations

from cdrhub.broadcast.health import AnswerKind
from cdrhub.metrics import Metrics
from cdrhub.model.dialling import Accepted, Answer, Refusal, Refused, Unseen
from cdrhub.redial.service import _word


def test_a_source_that_was_never_connected_has_no_link() -> None:
    metrics = Metrics()
    metrics.expect_source("lagos")
    assert metrics.registry.get_sample_value("cdrhub_source_links", {"source": "lagos"}) == 0


def test_every_answer_of_diallers_and_of_webhooks_begins_at_nothing() -> None:
    metrics = Metrics()
    metrics.expect_dialler("pbx")
    metrics.expect_webhook("crm")
    refused: list[Answer] = [Refused(refusal=refusal, detail="") for refusal in Refusal]
    for answer in (Accepted(), Unseen(detail=""), *refused):
        labels = {"dialler": "pbx", "answer": _word(answer)}
        assert metrics.registry.get_sample_value("cdrhub_redial_requests_total", labels) == 0
    for step in ("decide", "dial", "due", "deadline", "answer"):
        assert metrics.registry.get_sample_value("cdrhub_redial_failures_total", {"step": step}) == 0
    assert metrics.registry.get_sample_value("cdrhub_webhook_missed_events_total", {"webhook": "crm"}) == 0
    for kind in AnswerKind:
        labels = {"webhook": "crm", "answer": kind.value}
        assert metrics.registry.get_sample_value("cdrhub_webhook_requests_total", labels) == 0
