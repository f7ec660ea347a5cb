"""Metrics of the server for Prometheus."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

__all__ = ["CONTENT_TYPE_LATEST", "Metrics"]

_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)


class Metrics:
    """Counters of one server."""

    def __init__(self) -> None:
        self._registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        self.requests = Counter("speechrnn_requests", "Requests answered.", ["route", "status"], registry=registry)
        self.seconds = Histogram(
            "speechrnn_request_seconds", "Time to answer.", ["route"], buckets=_SECONDS, registry=registry
        )
        self.audio = Counter("speechrnn_audio_seconds", "Audio recognized.", ["route"], registry=registry)
        self.batch = Histogram(
            "speechrnn_batch_signals",
            "Signals run together.",
            buckets=(1, 2, 4, 8, 16, 32, 64),
            registry=registry,
        )
        self.waiting = Gauge("speechrnn_requests_inside", "Requests worked on or waiting.", registry=registry)
        self.streams = Gauge("speechrnn_streams_open", "Streams listened to.", registry=registry)

    def text(self) -> bytes:
        """All metrics in Prometheus's text format."""
        return generate_latest(self._registry)
