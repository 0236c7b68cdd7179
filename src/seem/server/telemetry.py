"""What a server tells about itself: Prometheus metrics, and one JSON line a request in the log."""

from __future__ import annotations

import json
import logging
import sys
import time
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

LOGGER = logging.getLogger("seem.server")
REQUEST_BUCKETS = (0.01, 0.025, 0.05, 0.1, 0.2, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
PLAIN_ATTRIBUTES = frozenset(vars(logging.makeLogRecord({}))) | {"message", "color_message"}


class Telemetry:
    """The metrics of one server."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        labels = ("method", "route")
        self.requests = Counter(
            "seem_requests", "Requests.", (*labels, "status"), registry=self.registry
        )
        self.seconds = Histogram(
            "seem_request_seconds", "Time of requests.", labels,
            buckets=REQUEST_BUCKETS, registry=self.registry,
        )  # fmt: skip
        self.active = Gauge("seem_active_requests", "Requests in work.", registry=self.registry)
        self.work = Histogram(
            "seem_work_seconds", "Time of work in a pool.", ("task",),
            buckets=REQUEST_BUCKETS, registry=self.registry,
        )  # fmt: skip
        self.cancelled = Counter(
            "seem_cancelled", "Requests whose client went away.", registry=self.registry
        )

    def add_gauge(self, name: str, description: str, read: Any) -> None:
        """Add a gauge whose values, by one label, are read when metrics are."""
        self.registry.register(ReadGauge(name, description, read))

    def finished(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count a request."""
        self.requests.labels(method, route, str(status)).inc()
        self.seconds.labels(method, route).observe(seconds)


class ReadGauge(Collector):
    """A gauge that reads its values when it is asked: `read` returns them by label."""

    def __init__(self, name: str, description: str, read: Any) -> None:
        self._name, self._description, self._read = name, description, read

    def collect(self) -> list[Metric]:
        """Return the values now."""
        family = GaugeMetricFamily(self._name, self._description, labels=("of",))
        for label, value in self._read().items():
            family.add_metric((label,), value)
        return [family]


class JsonFormatter(logging.Formatter):
    """Writes a log record as one line of JSON: time, level, event, and what was passed as `extra`."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        line: dict[str, Any] = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
            + f".{int(record.msecs):03}Z",
            "level": record.levelname.lower(),
            "event": record.getMessage(),
        }
        for name, value in vars(record).items():
            if name not in PLAIN_ATTRIBUTES:
                line[name] = value
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False, default=str)


def log_to_stderr(level: int = logging.INFO) -> None:
    """Send the log of the server and of uvicorn to standard error, a JSON object a line."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter())
    for name in ("seem.server", "uvicorn", "uvicorn.error"):
        logger = logging.getLogger(name)
        logger.handlers = [] if name == "uvicorn.error" else [handler]
        logger.propagate = name == "uvicorn.error"
        logger.setLevel(level)
