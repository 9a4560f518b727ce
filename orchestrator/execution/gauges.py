"""Numbers for Prometheus, which finds them at the metrics endpoint of every Ray node.

Ray puts ``ray_`` in front of the names. A gauge that fails is a warning in the log, once; it never
costs a training anything else.
"""

import logging
from collections.abc import Mapping
from typing import Any

logger = logging.getLogger(__name__)

OUTBOX_LAG = (
    "aptune_outbox_lag_seconds",
    "Seconds since everything that trials had logged was with the tracker.",
)


class Gauges:
    """Gauges and counters that share their tags; made when they are first used.

    Args:
        tags: Label -> its value.
    """

    def __init__(self, tags: Mapping[str, str]) -> None:
        self._tags = dict(tags)
        self._known: dict[str, Any] = {}
        self._is_broken = False

    def set(self, name: str, value: float, description: str) -> None:
        """Set a gauge.

        Args:
            name: What Prometheus calls it, without ``ray_``.
            value: The number.
            description: What it is.
        """
        self._do("Gauge", name, description, lambda gauge: gauge.set(value))

    def count(self, name: str, description: str) -> None:
        """Count one more.

        Args:
            name: What Prometheus calls it, without ``ray_`` and ``_total``.
            description: What is counted.
        """
        self._do("Counter", name, description, lambda counter: counter.inc())

    def _do(self, kind: str, name: str, description: str, do: Any) -> None:
        if self._is_broken:
            return
        try:
            from ray import is_initialized

            if not is_initialized():  # it would have nobody to report to
                return
            do(self._metric(kind, name, description))
        except Exception as error:  # whatever Ray raises: not worth a training
            self._is_broken = True
            logger.warning("no more metrics for Prometheus: %s: %s", type(error).__name__, error)

    def _metric(self, kind: str, name: str, description: str) -> Any:
        if name not in self._known:
            from ray.util import metrics

            metric = getattr(metrics, kind)(name, description, tag_keys=tuple(self._tags))
            self._known[name] = metric.set_default_tags(self._tags)
        return self._known[name]


class SweepGauges:
    """Shows the driver of a sweep; needs a process that is connected to Ray.

    Args:
        name: Label ``sweep``.
    """

    def __init__(self, name: str) -> None:
        self._gauges = Gauges({"sweep": name})

    def show_lag(self, seconds: float) -> None:
        """Show how late tracking is.

        Args:
            seconds: See `Shipper.lag_s`.
        """
        name, description = OUTBOX_LAG
        self._gauges.set(name, seconds, description)
