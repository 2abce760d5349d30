"""What the worker counted, handed to TorchServe, which shows it to Prometheus."""

import threading
from typing import Any

from mmkgc.serving.engine.engine import Report

SECONDS = 1.0


class Meter:
    """Hands TorchServe what happened, once a second, from a thread of its own.

    Every figure travels as a line of text, and a dozen lines a batch cost more than its answers. Counters are summed;
    of the latencies and batch sizes of a second, those of its last batch are told.
    """

    def __init__(self, metrics: Any, version: str) -> None:
        self.metrics, self.version = metrics, version
        self._lock, self._report, self._last = threading.Lock(), Report(), 0
        threading.Thread(target=self._run, daemon=True).start()

    def add(self, report: Report) -> None:
        """Take in the report of one batch."""
        with self._lock:
            self._report.add(report)
            self._last = report.queries.total()

    def tell(self) -> None:
        """Hand over what has come in since the last time."""
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
