"""What the service counts: today's verdicts for people, and metrics for Prometheus."""

import threading
from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from prometheus_client import CollectorRegistry, Gauge, Histogram, generate_latest
from prometheus_client import Counter as Total

from ..values import Verdict

__all__ = ["Counts", "Metrics"]


class Counts:
    """Today's verdicts and what people said of them; they begin anew at midnight and with the service."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._since = datetime.now().astimezone()
        self._judged: Counter[str] = Counter()
        self._labels: Counter[str] = Counter()
        self._feedback: Counter[str] = Counter()

    def judged(self, verdicts: Sequence[Verdict]) -> None:
        """Count verdicts."""
        with self._lock:
            self._begin_anew()
            self._labels.update(verdict.label for verdict in verdicts)
            self._judged.update(verdict.judgement for verdict in verdicts if verdict.judgement is not None)

    def said(self, *, right: bool) -> None:
        """Count what a person said of a verdict."""
        with self._lock:
            self._begin_anew()
            self._feedback["right" if right else "wrong"] += 1

    def plain(self) -> dict[str, Any]:
        """Return the counts as JSON values."""
        with self._lock:
            self._begin_anew()
            return {
                "since": self._since.isoformat(timespec="seconds"),
                "judged": {name: self._judged[name] for name in ("OK", "NG", "unknown")},
                "labels": dict(self._labels.most_common()),
                "images": self._labels.total(),
                "feedback": {name: self._feedback[name] for name in ("right", "wrong")},
            }

    def _begin_anew(self) -> None:
        now = datetime.now().astimezone()
        if now.date() != self._since.date():
            self._since = now.replace(hour=0, minute=0, second=0, microsecond=0)
            for counter in (self._judged, self._labels, self._feedback):
                counter.clear()


class Metrics:
    """Metrics of one service, in a registry of its own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Total(
            "mitsugo_requests", "Requests by route and status.", ["route", "status"], registry=self.registry
        )
        self.seconds = Histogram(
            "mitsugo_request_seconds", "Seconds to the answer, by route.", ["route"], registry=self.registry
        )
        self.verdicts = Total("mitsugo_verdicts", "Verdicts.", ["verdict"], registry=self.registry)
        self.together = Histogram(
            "mitsugo_batch_images",
            "Images that went through the network together.",
            buckets=(1, 2, 4, 8, 16, 32, 64),
            registry=self.registry,
        )
        self.waiting = Gauge("mitsugo_waiting_images", "Images that wait.", registry=self.registry)
        self.revision = Gauge("mitsugo_gallery_revision", "The gallery's last batch.", registry=self.registry)

    def judged(self, verdicts: Sequence[Verdict]) -> None:
        """Count verdicts."""
        for verdict in verdicts:
            self.verdicts.labels(verdict.judgement or "class").inc()

    def text(self) -> bytes:
        """Return all of it as Prometheus reads it."""
        return generate_latest(self.registry)
