"""Passes the worker's metrics to TorchServe, which exports them to Prometheus."""

import threading
from typing import Any

from mmkgc.serving.engine.engine import Report

SECONDS = 1.0


class Meter:
    """Passes metrics to TorchServe once a second, from a separate thread.

    Each value is sent as a line of text; a dozen lines per batch would cost more than computing its answers. Counters
    are summed; latencies and batch sizes are those of the last batch of each second.
    """

    def __init__(self, metrics: Any, version: str) -> None:
        self.metrics, self.version = metrics, version
        self._lock, self._report, self._last = threading.Lock(), Report(), 0
        threading.Thread(target=self._run, daemon=True).start()

    def add(self, report: Report) -> None:
        """Add the report of one batch."""
        with self._lock:
            self._report.add(report)
            self._last = report.queries.total()

    def tell(self) -> None:
        """Send what was added since the last call."""
        from ts.metrics.metric_type_enum import MetricTypes

        with self._lock:
            report, self._report = self._report, Report()
        if not report.queries:
            return
        for (direction, status), count in report.queries.items():
            self._add("mmkgc_queries_total", MetricTypes.COUNTER, count, direction, status)
        for modalities, count in report.unseen.items():
            self._add("mmkgc_unseen_entities_total", MetricTypes.COUNTER, count, modalities)
        for modality, count in report.missing.items():
            self._add("mmkgc_missing_modalities_total", MetricTypes.COUNTER, count, modality)
        for stage, seconds in report.seconds.items():
            self._add("mmkgc_stage_seconds", MetricTypes.HISTOGRAM, round(seconds, 6), stage)
        self._add("mmkgc_batch_queries", MetricTypes.HISTOGRAM, self._last)

    def _add(self, name: str, kind: Any, value: float, *dimensions: str) -> None:
        self.metrics.get_metric(name, kind).add_or_update(value, [*dimensions, self.version])

    def _run(self) -> None:
        pause = threading.Event()
        while not pause.wait(SECONDS):
            self.tell()
