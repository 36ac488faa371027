"""What one Pod asks to have registered: the whole flow."""

from __future__ import annotations

from dataclasses import replace

from consul_nginx.model.registration import Pod, Registration, RegistrationSettings, Wanted
from consul_nginx.registrar.context import Context
from consul_nginx.registrar.identity import service_ids
from consul_nginx.registrar.keys import parse_keys
from consul_nginx.registrar.ports import ports_of
from consul_nginx.registrar.registration import registration
from consul_nginx.registrar.variables import variables_of
from consul_nginx.registrar.warnings import MAX_WARNINGS, Warnings

# Stand in for what a Pod will have, so that its author is told early what is wrong.
_UNKNOWN = "unknown"


def wanted(
    *,
    pod: Pod,
    settings: RegistrationSettings,
    included: bool = False,
    most_warnings: int | None = MAX_WARNINGS,
) -> Wanted:
    """What a Pod asks for, and what is to be said about it; it raises nothing.

    ``included``: it is registered even if nothing is annotated. A Pod that is leaving, or has no
    address yet, wants nothing. ``most_warnings``: not more than people read in Events; None: all.
    """
    if not pod.annotations and not included:
        return Wanted()
    context = _context(pod, settings)
    keys = parse_keys(pod.annotations)
    ports = ports_of(keys, context)
    ids = service_ids(ports, context)
    found: list[Registration] = []
    for port in ports:
        # A port that can't be registered leaves the others alone.
        with context.warnings.refusals(str(port.offer)):
            if port.offer in ids:
                found.append(registration(port, identity=ids[port.offer], context=context))
    here = bool(pod.ips) and not pod.leaving
    return Wanted(
        registrations=tuple(found) if here else (),
        warnings=context.warnings.all(at_most=most_warnings),
    )


def _context(pod: Pod, settings: RegistrationSettings) -> Context:
    if not pod.ips:
        pod = replace(pod, ips=(_UNKNOWN,), node=_UNKNOWN, node_ips=(_UNKNOWN,))
    return Context(pod=pod, settings=settings, variables=variables_of(pod), warnings=Warnings())
