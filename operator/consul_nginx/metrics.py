"""Prometheus metrics of the operator; names follow client-go's where it has one."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

RECONCILES = Counter(
    "consul_nginx_reconciles",
    "Reconciliations by flow and outcome (success, standby, conflict, error, bug).",
    ["flow", "outcome"],
)
RECONCILE_SECONDS = Histogram(
    "consul_nginx_reconcile_seconds",
    "Duration of a reconciliation, by flow.",
    ["flow"],
    buckets=(0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10),
)
QUEUE_DEPTH = Gauge("workqueue_depth", "Keys that wait in a work queue, by name.", ["name"])
CONSUL_WATCHES = Gauge("consul_nginx_consul_watches", "Distinct Consul queries that are watched.")
CONSUL_WATCHES_FAILING = Gauge(
    "consul_nginx_consul_watches_failing", "Consul watches whose latest attempt failed."
)
CONSUL_ERRORS = Counter("consul_nginx_consul_errors", "Consul requests that failed.")
CONFIGMAP_WRITES = Counter(
    "consul_nginx_configmap_writes",
    "Bundles written to ConfigMaps; each is at most one reload per pod.",
)
CONFIGMAP_BYTES = Counter("consul_nginx_configmap_written_bytes", "Bytes of bundles written.")
ENDPOINTS = Gauge(
    "consul_nginx_mapping_endpoints",
    "Instances of a mapping's backend, by state (healthy, total).",
    ["namespace", "name", "state"],
)
DROPPED_INSTANCES = Gauge(
    "consul_nginx_mapping_dropped_instances",
    "Passing instances that are not served because Consul holds an unusable value.",
    ["namespace", "name", "reason"],
)
STALE_PODS = Gauge(
    "consul_nginx_data_plane_stale_pods",
    "Ready nginx pods that don't serve the newest revision.",
    ["namespace", "name"],
)
EVENT_LOOP_LAG = Gauge(
    "consul_nginx_event_loop_lag_seconds", "How late the event loop ran its latest timer."
)
BUILD_INFO = Gauge("consul_nginx_build_info", "Always 1.", ["version", "python"])
