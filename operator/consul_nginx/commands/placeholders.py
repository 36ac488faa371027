"""What nobody knows of a Pod without a cluster, as ``<pod-ip>`` and the like."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Any

from consul_nginx.model.kubernetes import ObjectRef
from consul_nginx.model.registration import Pod

# Angle brackets would be refused in names and IDs: these words take their place until it is shown.
_WORD = "UNKNOWN."
_WORDS = re.compile(rf"{re.escape(_WORD)}(pod-name|pod-uid|pod-ip|node-ip|node-name|cluster-name)")


def placeholder(name: str) -> str:
    """A word that is taken wherever the value would be."""
    return f"{_WORD}{name}"


@dataclass(frozen=True, kw_only=True)
class Known:
    """What whoever asks knows better than the manifest; empty: not known."""

    pod_ip: str = ""
    node_ip: str = ""
    node_name: str = ""

    def complete(self, pod: Pod) -> Pod:
        """The Pod with what it lacks, so that it can be registered."""
        return replace(
            pod,
            ref=ObjectRef(
                namespace=pod.ref.namespace, name=pod.ref.name or placeholder("pod-name")
            ),
            uid=pod.uid or placeholder("pod-uid"),
            ips=pod.ips or (self.pod_ip or placeholder("pod-ip"),),
            node_ips=pod.node_ips or (self.node_ip or placeholder("node-ip"),),
            node=pod.node or self.node_name or placeholder("node-name"),
        )


def shown(value: Any) -> Any:
    """A text, or all texts in lists and mappings, with placeholders as people read them."""
    if isinstance(value, str):
        return _WORDS.sub(r"<\1>", value)
    if isinstance(value, dict):
        return {key: shown(item) for key, item in value.items()}
    if isinstance(value, list):
        return [shown(item) for item in value]
    return value
