"""Where a service can be reached."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass

from consul_nginx.model.addresses import is_routable
from consul_nginx.model.registration import Address, IPFamily, RegistrationSettings
from consul_nginx.registrar.context import Context, Port
from consul_nginx.registrar.keys import Key
from consul_nginx.registrar.scalars import number
from consul_nginx.registrar.warnings import Reason, Refused, invalid, shown, shown_key


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """An IP address and a port."""

    ip: str
    port: int

    def __str__(self) -> str:
        return f"[{self.ip}]:{self.port}" if ":" in self.ip else f"{self.ip}:{self.port}"


def endpoint(port: Port, context: Context) -> Endpoint:
    """The Pod's address and the port, or what IP and PORT say; raises ``Refused``."""
    offer, values, pod, settings = port.offer, port.values, context.pod, context.settings
    on_host = settings.address is Address.HOST and offer.host_port > 0
    target = number(values, "port") or (offer.host_port if on_host else offer.port)
    key = values.given("ip")
    if key is not None:
        return Endpoint(ip=_named(key, settings), port=target)
    candidates = pod.ips
    if on_host or pod.host_network:
        candidates = (*pod.node_ips, *(pod.ips if pod.host_network else ()))
    return Endpoint(ip=_of_family(candidates, settings.ip_family), port=target)


def _named(key: Key, settings: RegistrationSettings) -> str:
    """Only literals: a name would be whatever its owner says later. A scope can hold any text."""
    try:
        address = ipaddress.ip_address(key.value)
    except ValueError as error:
        raise invalid(key.written, key.value, "not an IP address") from error
    if "%" in key.value:
        raise invalid(key.written, key.value, "an address with a scope means one host only")
    if not is_routable(address):
        # A check of it would look at whoever runs it.
        raise invalid(key.written, key.value, "not an address that other hosts can reach")
    allowed = settings.allowed_ips
    if allowed is None or any(address in network for network in allowed):
        return str(address)
    networks = ", ".join(map(str, allowed)) or "none"
    raise Refused(
        Reason.NOT_ALLOWED,
        f"{shown_key(key.written)}: {shown(key.value)}: not in an allowed network ({networks}); "
        "leave it out, or have it added to registration.allowedIPs in the chart's values",
    )


def _of_family(candidates: tuple[str, ...], family: IPFamily) -> str:
    for ip in candidates:
        if family is IPFamily.FIRST or _family(ip) in (family, None):
            return ip
    if not candidates:
        raise Refused(Reason.NO_ADDRESS, "the Pod's node has no address (yet)")
    raise Refused(
        Reason.NO_ADDRESS,
        f"registration.ipFamily is {family}, and there is only {', '.join(candidates)}; leave "
        "registration.ipFamily in the chart's values empty to have that registered",
    )


def _family(ip: str) -> IPFamily | None:
    try:
        version = ipaddress.ip_address(ip).version
    except ValueError:
        return None  # it stands for one that is not known yet
    return IPFamily.IPV4 if version == 4 else IPFamily.IPV6
