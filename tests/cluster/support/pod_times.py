"""How soon pods that come and go are known: watches of the pods, and of Consul's leader."""

from __future__ import annotations

import json
import subprocess
import threading
import time
import urllib.request
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from consul_nginx.model.registration import META_POD

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from cluster.harness.cluster import Cluster
    from cluster.support.traffic import Traffic

# No stream answers it, which would be late: docs/decisions/0009-ask-consuls-leader.md.
_QUERY = "near=_agent&wait=5s"
_COLUMNS = (
    "{.metadata.name}|{.metadata.deletionTimestamp}|"
    "{.status.conditions[?(@.type=='Ready')].status}{'\\n'}"
)


@dataclass(kw_only=True)
class PodTimes:
    """Times of ``time.monotonic()`` at which something was first seen, of pods that came or went.

    ``ready`` and ``leaving`` are by pod; what Consul says is by service and pod. Each is written
    by one thread.
    """

    ready: dict[str, float] = field(default_factory=dict)
    leaving: dict[str, float] = field(default_factory=dict)
    registered: dict[tuple[str, str], float] = field(default_factory=dict)
    passing: dict[tuple[str, str], float] = field(default_factory=dict)
    gone: dict[tuple[str, str], float] = field(default_factory=dict)

    def to_registered(self) -> list[float]:
        """Seconds from Ready to registered; 0 when it was registered before."""
        return self._since(self.ready, self.registered)

    def to_passing(self) -> list[float]:
        """Seconds from Ready to the first moment in which all checks pass."""
        return self._since(self.ready, self.passing)

    def to_gone_from_consul(self) -> list[float]:
        """Seconds from deletionTimestamp to the end of the registration."""
        return self._since(self.leaving, self.gone)

    def to_last_answer(self, sent: Traffic) -> list[float]:
        """Seconds from deletionTimestamp to a pod's last answer; 0 when it was before."""
        return [
            max(sent.started + sent.last_answer[pod] - at, 0.0)
            for pod, at in self.leaving.items()
            if pod in sent.last_answer
        ]

    @staticmethod
    def _since(begun: dict[str, float], seen: dict[tuple[str, str], float]) -> list[float]:
        return [max(at - begun[pod], 0.0) for (_, pod), at in seen.items() if pod in begun]


@contextmanager
def pod_times(
    *, cluster: Cluster, namespace: str, apps: Sequence[str], services: Sequence[str]
) -> Iterator[PodTimes]:
    """Watch while the context lasts; what is there at the beginning counts only when it goes."""
    times, stop = PodTimes(), threading.Event()
    command = [
        str(cluster.kubectl.program), f"--kubeconfig={cluster.kubectl.kubeconfig}", "get", "pods",
        f"--namespace={namespace}", f"--selector=app in ({','.join(apps)})",
        "--watch", f"--output=jsonpath={_COLUMNS}",
    ]  # fmt: skip
    kubectl = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    threads = [threading.Thread(target=_follow_pods, args=(kubectl, times))]
    begun = threading.Barrier(len(services) + 1)
    for service in services:
        url = f"{cluster.consul_address}/v1/health/service/{service}"
        following = (url, service, times, begun, stop)
        threads.append(threading.Thread(target=_follow_service, args=following))
    for thread in threads:
        thread.start()
    try:
        begun.wait(timeout=10)
        yield times
    finally:
        stop.set()
        kubectl.terminate()
        kubectl.wait()
        for thread in threads:
            thread.join()


def _follow_pods(kubectl: subprocess.Popen[str], times: PodTimes) -> None:
    assert kubectl.stdout is not None
    coming: set[str] = set()
    known: set[str] = set()
    for line in kubectl.stdout:
        now = time.monotonic()
        pod, leaving, ready = line.strip().split("|")
        if pod not in known:
            known.add(pod)
            if ready != "True":
                coming.add(pod)
        if leaving:
            times.leaving.setdefault(pod, now)
        elif ready == "True" and pod in coming:
            times.ready.setdefault(pod, now)


def _follow_service(
    url: str, service: str, times: PodTimes, begun: threading.Barrier, stop: threading.Event
) -> None:
    index, at_first = "0", None
    present: set[str] = set()
    while not stop.is_set():
        with urllib.request.urlopen(f"{url}?{_QUERY}&index={index}", timeout=30) as answer:
            index, entries = answer.headers["X-Consul-Index"], json.load(answer)
        now = time.monotonic()
        passing = {
            str(entry["Service"]["Meta"].get(META_POD)): all(
                check["Status"] == "passing" for check in entry["Checks"]
            )
            for entry in entries
        }
        if at_first is None:
            at_first = set(passing)
            begun.wait(timeout=10)
        for pod in passing.keys() - at_first:
            times.registered.setdefault((service, pod), now)
            if passing[pod]:
                times.passing.setdefault((service, pod), now)
        for pod in present - passing.keys():
            times.gone.setdefault((service, pod), now)
        present = set(passing)
