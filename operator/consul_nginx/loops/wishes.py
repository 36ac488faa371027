"""What the Pods of a node ask for, each read once."""

from __future__ import annotations

from collections import Counter

from consul_nginx.loops.namespaces import Namespaces
from consul_nginx.loops.pods import Pods
from consul_nginx.model.registration import Pod, RegistrationSettings
from consul_nginx.registrar.difference import claims
from consul_nginx.registrar.outcome import Wish, WishesOfNode
from consul_nginx.registrar.wanted import wanted


class Wishes:
    """Reads Pods' annotations, and remembers what it read until the Pod changes."""

    def __init__(
        self, *, settings: RegistrationSettings, pods: Pods, namespaces: Namespaces
    ) -> None:
        self._settings = settings
        self._pods = pods
        self._namespaces = namespaces
        self._read: dict[str, dict[str, tuple[bool, Wish]]] = {}

    @property
    def known(self) -> bool:
        """Whether it can be told what every Pod asks for."""
        return self._settings.all_pods_in is None or self._namespaces.labels() is not None

    def of(self, node: str) -> WishesOfNode:
        """What is asked for on one node."""
        before, now = self._read.get(node, {}), {}
        for pod in self._pods.on(node):
            included = self._is_included(pod)
            read = before.get(pod.uid)
            if read is None or read[0] is not included or read[1].pod is not pod:
                asked = wanted(pod=pod, settings=self._settings, included=included)
                read = (
                    included,
                    Wish(pod=pod, registrations=asked.registrations, warnings=asked.warnings),
                )
            now[pod.uid] = read
        self._read[node] = now
        wishes = tuple(wish for _, wish in now.values())
        winners, losers = claims(item for wish in wishes for item in wish.registrations)
        return WishesOfNode(wishes=wishes, registrations=winners, losers=losers)

    def forget(self, node: str) -> None:
        """The node is gone."""
        self._read.pop(node, None)

    def forget_all(self) -> None:
        """Read everything anew."""
        self._read.clear()

    def rejected(self) -> Counter[tuple[str, ...]]:
        """Number of warnings about annotations of Pods that are there, by reason."""
        return Counter(
            (warning.reason,)
            for read in self._read.values()
            for _, wish in read.values()
            for warning in wish.warnings
        )

    def _is_included(self, pod: Pod) -> bool:
        """Whether the Pod is registered without annotations."""
        asked, labels = self._settings.all_pods_in, self._namespaces.labels()
        if asked is None or labels is None:
            return False
        return asked.items() <= dict(labels.get(pod.ref.namespace, {})).items()
