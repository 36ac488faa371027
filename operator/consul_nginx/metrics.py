"""Prometheus metrics of the operator, and all of them; names are client-go's where it has one.

Labels have bounds: words of ours, HTTP codes, names of custom resources. Pod names, names of Consul
services and texts of errors are none. Series of an object end with the object.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from prometheus_client import REGISTRY, Counter, Gauge, Histogram
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

_SECONDS = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 30.0)
# As client-go has them.
_REST_SECONDS = (0.005, 0.025, 0.1, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 30.0, 60.0)


class LeadersGauge(Gauge):
    """Figures of objects, told while ``leading``: what a replica knew when it led is old."""

    leading: Callable[[], bool] = staticmethod(lambda: True)

    def collect(self) -> list[Metric]:
        """Called by the registry."""
        families = list(super().collect())
        if not self.leading():
            for family in families:
                family.samples.clear()
        return families


RECONCILES = Counter(
    "consul_nginx_reconciles",
    "Reconciliations, by flow (apply, report, register) and outcome (success, standby, conflict, "
    "error, bug).",
    ["flow", "outcome"],
)
TASK_CRASHES = Counter(
    "consul_nginx_task_crashes",
    "Tasks that ended by a bug and began anew, by task: the log has the traceback.",
    ["task"],
)
RECONCILE_SECONDS = Histogram(
    "consul_nginx_reconcile_seconds",
    "Duration of a reconciliation, by flow (apply, report, register).",
    ["flow"],
    buckets=_SECONDS,
)
EVENTS = Counter(
    "consul_nginx_events",
    "Events for people, by outcome (posted, dropped: too many of one object, failed).",
    ["outcome"],
)
LEADER = Gauge(
    "leader_election_master_status",
    "1 in the replica that leads and therefore writes, 0 in the others; name is that of the Lease.",
    ["name"],
)

QUEUE_DEPTH = Gauge("workqueue_depth", "Keys that wait in a work queue.", ["name"])
QUEUE_ADDS = Counter("workqueue_adds", "Keys that were added to a work queue.", ["name"])
QUEUE_SECONDS = Histogram(
    "workqueue_queue_duration_seconds",
    "How long a key waited in a work queue until it was worked on.",
    ["name"],
    buckets=_SECONDS,
)
WORK_SECONDS = Histogram(
    "workqueue_work_duration_seconds",
    "How long the work on a key of a work queue took.",
    ["name"],
    buckets=_SECONDS,
)
UNFINISHED_WORK_SECONDS = Gauge(
    "workqueue_unfinished_work_seconds",
    "How long the keys that are being worked on have been so, all together.",
    ["name"],
)
LONGEST_WORK_SECONDS = Gauge(
    "workqueue_longest_running_processor_seconds",
    "How long the key that has been worked on longest has been so.",
    ["name"],
)
QUEUE_RETRIES = Counter(
    "workqueue_retries", "Keys that were queued again because the work on them failed.", ["name"]
)

REST_REQUESTS = Counter(
    "rest_client_requests",
    "Requests to the Kubernetes API, by HTTP code (<error> without an answer) and method; "
    "without those of the watches of custom resources.",
    ["code", "method"],
)
REST_SECONDS = Histogram(
    "rest_client_request_duration_seconds",
    "Time until the Kubernetes API answered, by method, here called verb.",
    ["verb"],
    buckets=_REST_SECONDS,
)

CONSUL_REQUESTS = Counter(
    "consul_nginx_consul_requests",
    "Requests to Consul, by endpoint (the first word of its path), mode (immediate; blocking: "
    "Consul answers once something changed) and outcome (success, unavailable, refused).",
    ["endpoint", "mode", "outcome"],
)
CONSUL_SECONDS = Histogram(
    "consul_nginx_consul_request_duration_seconds",
    "Duration of immediate requests to Consul, by endpoint; that of blocking ones is no latency.",
    ["endpoint"],
    buckets=_SECONDS,
)
CONSUL_WATCHES = Gauge("consul_nginx_consul_watches", "Distinct Consul queries that are watched.")
CONSUL_WATCHES_FAILING = Gauge(
    "consul_nginx_consul_watches_failing", "Consul watches whose latest attempt failed."
)
CONSUL_WATCH_ERRORS = Counter(
    "consul_nginx_consul_watch_errors",
    "Attempts of Consul watches that failed, by kind (unavailable: tried again soon; refused: "
    "Consul answers, but not what was asked, mostly for its ACLs).",
    ["kind"],
)
CONSUL_DATA_AGE = Gauge(
    "consul_nginx_consul_data_age_seconds",
    "Since Consul last answered the watch that has waited longest; an answer takes up to 320 s "
    "when nothing changes, so only more than that means old data.",
)
REGISTRATION_WRITES = Counter(
    "consul_nginx_registration_writes",
    "Writes of registrations to Consul, by kind (register, readiness: only that check, deregister, "
    "refresh: of a TTL check, node: the synthetic node that they are on) and result (success, "
    "refused, conflict: somebody else wrote meanwhile, unavailable).",
    ["kind", "result"],
)

CONFIGMAP_WRITES = Counter(
    "consul_nginx_configmap_writes",
    "Bundles written to ConfigMaps; each is at most one reload per pod.",
)
CONFIGMAP_BYTES = Counter("consul_nginx_configmap_written_bytes", "Bytes of bundles written.")
ENDPOINTS = LeadersGauge(
    "consul_nginx_mapping_endpoints",
    "Instances of a mapping's backends, by state (healthy; total; kept: served although they are "
    "not healthy, because too few are; fallback: servers that get their requests instead). Told by "
    "the leader only.",
    ["namespace", "name", "state"],
)
DROPPED_INSTANCES = LeadersGauge(
    "consul_nginx_mapping_dropped_instances",
    "Instances that pass their checks, or are malformed, and are not served because Consul holds "
    "an unusable value, by reason. Told by the leader only.",
    ["namespace", "name", "reason"],
)
STALE_PODS = LeadersGauge(
    "consul_nginx_data_plane_stale_pods",
    "Ready nginx pods that don't serve the newest revision. Told by the leader only.",
    ["namespace", "name"],
)
CERTIFICATE_EXPIRY = LeadersGauge(
    "consul_nginx_certificate_expiry_timestamp_seconds",
    "When the certificate of a listener that is in force ends, in seconds since 1970, by the name "
    "of its Secret. Told by the leader only.",
    ["namespace", "name", "listener", "secret"],
)
STATE_LEFT_OUT = LeadersGauge(
    "consul_nginx_state_left_out",
    "What a LoadBalancer's state ConfigMap has no room for, by kind (texts, services, mappings, "
    "load_balancer): an operator that starts does not know it. Told by the leader only.",
    ["namespace", "name", "kind"],
)
OF_OBJECTS = (ENDPOINTS, DROPPED_INSTANCES, STALE_PODS, CERTIFICATE_EXPIRY, STATE_LEFT_OUT)

REGISTRATIONS = LeadersGauge(
    "consul_nginx_registrations",
    "What Pods' annotations ask for, by state (registered; refused: see the Events of the Pod; "
    "pending: Consul does not answer), and missed: what Consul holds for Pods that are gone "
    "without having been seen to end, kept until that is confirmed. Told by the leader only.",
    ["state"],
)
REGISTRATION_DRIFT = Counter(
    "consul_nginx_registration_drift",
    "Registrations that were not as the operator left them in Consul, by state (found, repaired).",
    ["state"],
)
REGISTRATION_AGE = LeadersGauge(
    "consul_nginx_registration_comparison_age_seconds",
    "Since the begin of the last comparison of all registrations that is complete; it is repeated "
    "every 300 s. Told by the leader only.",
)
EVENT_LOOP_LAG = Histogram(
    "consul_nginx_event_loop_lag_seconds",
    "How late the event loop ran a timer that rings four times a second.",
    buckets=_SECONDS,
)
BUILD_INFO = Gauge(
    "consul_nginx_build_info", "Always 1; the versions are in the labels.", ["version", "python"]
)


class Counted(Collector):
    """Counted when Prometheus asks; ``count`` says how many there are by values of the labels."""

    def __init__(self, name: str, documentation: str, labels: Sequence[str]) -> None:
        self._name = name
        self._documentation = documentation
        self._labels = labels
        self.count: Callable[[], Mapping[tuple[str, ...], int]] = dict
        REGISTRY.register(self)

    def collect(self) -> Iterator[Metric]:
        """Called by the registry."""
        family = GaugeMetricFamily(self._name, self._documentation, labels=self._labels)
        for labels, number in sorted(self.count().items()):
            family.add_metric(labels, number)
        yield family


REJECTED_OBJECTS = Counted(
    "consul_nginx_rejected_objects",
    "Custom resources whose condition Accepted is False, by kind and the reason it gives.",
    ["kind", "reason"],
)
REJECTED_ANNOTATIONS = Counted(
    "consul_nginx_rejected_annotations",
    "Warnings about SERVICE_* annotations of Pods that are there, by reason. Told by the leader "
    "only.",
    ["reason"],
)


def tell_of_lead(*, name: str, leading: Callable[[], bool]) -> None:
    """Have ``leading``, asked at each scrape, say whether this replica holds the Lease ``name``."""
    LEADER.labels(name=name).set_function(leading)
    for gauge in (*OF_OBJECTS, REGISTRATIONS, REGISTRATION_AGE):
        gauge.leading = leading


def forget_objects() -> None:
    """Forget every object's figures: the lead changed, and from here on others are true."""
    for gauge in OF_OBJECTS:
        gauge.clear()
