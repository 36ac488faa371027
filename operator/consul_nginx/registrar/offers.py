"""Which ports a Pod offers."""

from __future__ import annotations

from dataclasses import dataclass

from consul_nginx.model.registration import Pod

MAX_PORTS = 100
TCP = "TCP"
UDP = "UDP"


@dataclass(frozen=True, kw_only=True)
class Offer:
    """A port that a Pod offers; ``image`` is that of the container that declares it."""

    port: int
    protocol: str
    host_port: int = 0
    image: str = ""

    def __str__(self) -> str:
        return f"{self.port}/udp" if self.protocol == UDP else f"{self.port}"


def declared(pod: Pod) -> tuple[Offer, ...]:
    """TCP and UDP ports of all containers, each once: the first that declares it names it."""
    found: dict[tuple[int, str], Offer] = {}
    for container in pod.containers:
        for port in container.ports:
            if port.protocol in (TCP, UDP):
                offer = Offer(
                    port=port.port,
                    protocol=port.protocol,
                    host_port=port.host_port,
                    image=container.image,
                )
                found.setdefault((port.port, port.protocol), offer)
    return tuple(found.values())


def named(pod: Pod, port: int) -> Offer:
    """The port of a Pod that declares none."""
    return Offer(port=port, protocol=TCP, image=pod.containers[0].image if pod.containers else "")
