"""The operator's own copy of Pods, as far as registrations need them, fed by events and by lists.

A Pod that was seen to end (told to, ended by itself, or reported as deleted) is evidence that its
registrations may go. One that is merely missing from a list is none: see ``brake.py``.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable, Mapping, Set
from dataclasses import dataclass
from typing import Any

from consul_nginx.loops.recent import keep
from consul_nginx.model.kubernetes import ObjectRef
from consul_nginx.model.registration import Place, Pod
from consul_nginx.registrar.pod import MalformedPodError

_log = logging.getLogger(__name__)

Raw = Mapping[str, Any]

MAX_ENDED = 100_000


@dataclass(frozen=True, kw_only=True)
class _Known:
    pod: Pod
    version: int


class Pods:
    """``changed`` is called with the node of a Pod that is news, once with each it was on."""

    def __init__(self, *, parse: Callable[[Raw], Pod], changed: Callable[[str], None]) -> None:
        self._parse = parse
        self._changed = changed
        self._fates: list[Callable[[str], None]] = []
        self._lists: list[Callable[[str | None], None]] = []
        self._pods: dict[ObjectRef, _Known] = {}
        self._on: dict[str, dict[ObjectRef, Pod]] = {}
        self._uids: set[str] = set()
        self._addresses: dict[str, str] = {}
        self._ended: OrderedDict[str, None] = OrderedDict()
        self._listed: set[str | None] = set()

    def subscribe(self, fate: Callable[[str], None]) -> None:
        """Have ``fate`` called with the UID of each Pod that is new, was seen to end, or was known
        and is lacking in a list.
        """
        self._fates.append(fate)

    def subscribe_lists(self, listed: Callable[[str | None], None]) -> None:
        """Have ``listed`` called with the namespace of each complete list, None for all, after
        what it tells of Pods.
        """
        self._lists.append(listed)

    def put(self, raw: Raw) -> None:
        """The Pod is there, as ``raw``."""
        pod, version = self._read(raw), int(raw["metadata"]["resourceVersion"])
        if pod is None:
            return
        if pod.leaving:
            self._end(pod)
            return
        before = self._pods.get(pod.ref)
        if pod.uid in self._ended or (before is not None and before.version >= version):
            return
        if before is not None and before.pod.uid != pod.uid:
            self._end(before.pod)
            before = None
        self._pods[pod.ref] = _Known(pod=pod, version=version)
        if before is not None and before.pod == pod:
            return
        if before is not None:
            self._leave(before.pod)
        self._uids.add(pod.uid)
        if before is None:
            self._fate(pod.uid)
        self._on.setdefault(pod.node, {})[pod.ref] = pod
        if pod.node_ips:
            self._addresses[pod.node] = pod.node_ips[0]
        self._tell(pod)

    def remove(self, raw: Raw) -> None:
        """The Pod was deleted."""
        pod = self._read(raw)
        if pod is not None:
            self._end(pod)

    def listed(self, *, uids: Set[str], version: int, namespace: str | None) -> None:
        """A list is complete as of ``version``, of one namespace or (None) of all.

        Each Pod of the list was put before.
        """
        for known in list(self._pods.values()):
            within = namespace is None or known.pod.ref.namespace == namespace
            if within and known.pod.uid not in uids and known.version <= version:
                self._forget(known.pod)
                self._fate(known.pod.uid)
        self._listed.add(namespace)
        for listed in self._lists:
            listed(namespace)

    def covers(self, namespace: str) -> bool:
        """Whether all Pods of a namespace are known."""
        return not self._listed.isdisjoint((None, namespace))

    def on(self, node: str) -> tuple[Pod, ...]:
        """Pods of a node that were not told to end."""
        return tuple(self._on.get(node, {}).values())

    def nodes(self) -> frozenset[str]:
        """Nodes on which a Pod was seen, until they are forgotten."""
        return frozenset(node for node in self._on if node)

    def forget_if_empty(self, node: str) -> None:
        """Forget a node that has no Pods, as one does that has left the cluster."""
        if not self._on.get(node):
            self._on.pop(node, None)
            self._addresses.pop(node, None)

    def place(self, node: str) -> Place:
        """A node and its address."""
        return Place(node=node, ip=self._addresses.get(node, ""))

    def lives(self, uid: str) -> bool:
        """Whether the Pod is known, and was not told to end."""
        return uid in self._uids

    def ended(self, uid: str) -> bool:
        """Whether the Pod was seen to end."""
        return uid in self._ended

    def _read(self, raw: Raw) -> Pod | None:
        """None: it is malformed, as no API server returns one. It must cost no other."""
        try:
            return self._parse(raw)
        except MalformedPodError as error:
            _log.warning("a Pod is left out: %s", error)
            return None

    def _end(self, pod: Pod) -> None:
        is_news = pod.uid not in self._ended
        keep(self._ended, pod.uid, None, at_most=MAX_ENDED)
        known = self._pods.get(pod.ref)
        if known is not None and known.pod.uid == pod.uid:
            self._forget(known.pod)
        else:
            self._tell(pod)
        if is_news:
            self._fate(pod.uid)

    def _forget(self, pod: Pod) -> None:
        del self._pods[pod.ref]
        self._uids.discard(pod.uid)
        self._leave(pod)
        self._tell(pod)

    def _leave(self, pod: Pod) -> None:
        self._on.get(pod.node, {}).pop(pod.ref, None)

    def _fate(self, uid: str) -> None:
        for fate in self._fates:
            fate(uid)

    def _tell(self, pod: Pod) -> None:
        if pod.node:
            self._changed(pod.node)
