"""What Prometheus may ask: instruments with base units, and no label without bounds."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Iterator
from typing import Literal

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

from consul_nginx.agent.decisions import Reason
from consul_nginx.agent.state import Nginx, Stage, State
from consul_nginx.agent.stub_status import Connections

PREFIX = "consul_nginx_agent"

_BUCKETS = (0.05, 0.1, 0.15, 0.2, 0.3, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0)


class Metrics:
    """The agent's instruments on a registry of their own."""

    def __init__(
        self,
        *,
        state: Callable[[], State],
        version: str,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.registry = CollectorRegistry()
        self._clock = clock
        self._last_event = clock()
        self._reloads = Counter(
            f"{PREFIX}_reloads",
            "Bundles handed to nginx, by what changed (structure, endpoints, start) and result.",
            ["reason", "result"],
            registry=self.registry,
        )
        self._duration = Histogram(
            f"{PREFIX}_reload_duration_seconds",
            "From the request to the supervisor until nginx is proven to run the bundle.",
            buckets=_BUCKETS,
            registry=self.registry,
        )
        self._rejected = Counter(
            f"{PREFIX}_rejected_bundles",
            "Bundles that could not be applied, by the stage that refused them.",
            ["stage"],
            registry=self.registry,
        )
        self._trials = Counter(
            f"{PREFIX}_trials",
            "Runs of nginx -t to find the files to blame for a refusal.",
            registry=self.registry,
        )
        self._bisections = Counter(
            f"{PREFIX}_bisections",
            "Searches for the files to blame for a refusal, by result (found, not found).",
            ["result"],
            registry=self.registry,
        )
        self._watch_errors = Counter(
            f"{PREFIX}_watch_errors",
            "Lists and watches of the ConfigMap that ended with an error, by kind.",
            ["kind"],
            registry=self.registry,
        )
        Gauge(
            f"{PREFIX}_watch_last_event_age_seconds",
            "Since the API server last sent anything: an answer, a change or a bookmark.",
            registry=self.registry,
        ).set_function(lambda: clock() - self._last_event)
        Gauge(
            f"{PREFIX}_build_info",
            "Always 1; the version is in the labels.",
            ["version", "python"],
            registry=self.registry,
        ).labels(version, platform.python_version()).set(1)
        self.nginx = NginxCollector(state=state)
        self.registry.register(self.nginx)
        ProcessCollector(registry=self.registry)

    def loaded(self, *, reason: Reason, seconds: float) -> None:
        """A load succeeded."""
        self._reloads.labels(reason, "success").inc()
        self._duration.observe(seconds)

    def load_failed(self, *, reason: Reason) -> None:
        """A load failed."""
        self._reloads.labels(reason, "failure").inc()

    def rejected(self, stage: Stage) -> None:
        """A bundle was rejected."""
        self._rejected.labels(stage).inc()

    def trial(self) -> None:
        """A trial was tested."""
        self._trials.inc()

    def bisected(self, result: Literal["found", "not found"]) -> None:
        """A search for the files to blame has ended."""
        self._bisections.labels(result).inc()

    def watch_error(self, kind: str) -> None:
        """A list or watch ended with an error."""
        self._watch_errors.labels(kind).inc()

    def watch_event(self) -> None:
        """The API server sent something."""
        self._last_event = self._clock()

    def text(self) -> bytes:
        """Prometheus' text format."""
        return generate_latest(self.registry)


class NginxCollector(Collector):
    """Figures that others count: read from the state when Prometheus asks."""

    def __init__(self, *, state: Callable[[], State]) -> None:
        self._state = state
        self.connections: Connections | None = None

    def collect(self) -> Iterator[Metric]:
        """Called by the registry."""
        state = self._state()
        yield from _serving(state)
        if state.nginx:
            yield from _processes(state.nginx)
        if self.connections:
            yield from _connections(self.connections)

    def describe(self) -> Iterator[Metric]:
        """Nothing: the registry need not collect to learn the names."""
        return iter(())


def _serving(state: State) -> Iterator[Metric]:
    yield GaugeMetricFamily(
        f"{PREFIX}_serving_revision",
        "Revision of the bundle that nginx runs; 0 when none or unknown.",
        value=(state.serving and state.serving.revision) or 0,
    )
    info = GaugeMetricFamily(
        f"{PREFIX}_serving_info", "Always 1; which bundle nginx runs.", labels=["hash"]
    )
    if state.serving:
        info.add_metric([state.serving.hash], 1)
    yield info
    yield GaugeMetricFamily(
        f"{PREFIX}_rejected",
        "1 while the newest bundle seen is not the one that is served because it was refused.",
        value=int(state.rejection is not None),
    )


def _processes(nginx: Nginx) -> Iterator[Metric]:
    workers = GaugeMetricFamily(
        f"{PREFIX}_nginx_workers", "nginx's worker processes, by state.", labels=["state"]
    )
    workers.add_metric(["active"], len(nginx.workers) - nginx.shutting_down)
    workers.add_metric(["shutting_down"], nginx.shutting_down)
    yield workers
    yield GaugeMetricFamily(
        f"{PREFIX}_nginx_draining_generations",
        "Worker generations that only finish their connections; each holds its memory.",
        value=nginx.draining_generations,
    )
    yield CounterMetricFamily(
        f"{PREFIX}_nginx_restarts",
        "nginx masters that died and were replaced, since the nginx container started.",
        value=nginx.restarts,
    )
    yield CounterMetricFamily(
        f"{PREFIX}_nginx_reloads",
        "Reloads (HUP) of nginx, since the nginx container started.",
        value=nginx.reloads,
    )


def _connections(figures: Connections) -> Iterator[Metric]:
    yield GaugeMetricFamily(
        f"{PREFIX}_nginx_connections_active",
        "Client connections, waiting ones included.",
        value=figures.active,
    )
    yield CounterMetricFamily(
        f"{PREFIX}_nginx_connections_accepted",
        "Client connections that nginx accepted.",
        value=figures.accepted,
    )
    yield CounterMetricFamily(
        f"{PREFIX}_nginx_connections_handled",
        "Client connections that nginx handled; fewer than accepted when a limit was reached.",
        value=figures.handled,
    )
    yield CounterMetricFamily(
        f"{PREFIX}_nginx_requests", "Client requests.", value=figures.requests
    )
