"""Which ports of a Pod are to be registered, before it is said how."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from consul_nginx.registrar.context import Context, Port
from consul_nginx.registrar.keys import Keys, Values, values_of
from consul_nginx.registrar.offers import MAX_PORTS, Offer, declared, named
from consul_nginx.registrar.scalars import number
from consul_nginx.registrar.warnings import (
    Reason,
    Refused,
    listed,
    shown,
    shown_key,
)

_NO = frozenset({"false", "0", "no", "off"})


def ports_of(keys: Keys, context: Context) -> tuple[Port, ...]:
    """Ports that the Pod offers, without those that are ignored or can't be registered.

    When it declares none, there is the one that SERVICE_PORT names.
    """
    offers = declared(context.pod) or _named(keys, context)
    _warn_of_unused(keys, offers, context)
    _refuse_surplus(offers, context)
    found = tuple(_wanted(offers, keys, context))
    _warn_of_same_port(found, context)
    return found


def _named(keys: Keys, context: Context) -> tuple[Offer, ...]:
    with context.warnings.refusals(""):
        key = keys.value_for_all("port")
        if key is not None:
            port = number(Values(by_word={key.word: key}), key.word)
            return (named(context.pod, port),) if port else ()
        if context.pod.annotations:
            message = "no container declares a port; write containerPort, or SERVICE_PORT"
            raise Refused(Reason.NO_PORTS, f"{message}; nothing is registered")
    return ()


def _wanted(offers: tuple[Offer, ...], keys: Keys, context: Context) -> Iterator[Port]:
    for offer, found in keys.by_offer(offers[:MAX_PORTS]).items():
        with context.warnings.refusals(str(offer)):
            values = values_of(found)
            implicit = values.given("name") is None
            if not _is_ignored(values, context) and not (context.settings.explicit and implicit):
                yield Port(offer=offer, values=values, among_others=len(offers) > 1)


def _refuse_surplus(offers: tuple[Offer, ...], context: Context) -> None:
    with context.warnings.refusals(""):
        if len(offers) > MAX_PORTS:
            raise Refused(
                Reason.TOO_MANY_PORTS,
                f"the Pod offers {len(offers)} ports; only the first {MAX_PORTS} are registered",
            )


def _is_ignored(values: Values, context: Context) -> bool:
    key = values.given("ignore")
    if key is not None and key.value.lower() in _NO:
        context.warnings.add(
            Reason.FALSE_MEANS_TRUE,
            f"{shown_key(key.written)}: {shown(key.value)}: any value ignores the port; leave it "
            "empty to have it registered",
        )
    return key is not None


def _warn_of_unused(keys: Keys, offers: tuple[Offer, ...], context: Context) -> None:
    unused = keys.unused(offers)
    if unused:
        context.warnings.add(
            Reason.KEY_UNUSED,
            f"{listed(unused)}: the Pod does not offer such a port; it offers "
            f"{listed([str(offer) for offer in offers]) or 'none'}",
        )


def _warn_of_same_port(found: tuple[Port, ...], context: Context) -> None:
    generic = [
        (key, port.offer.protocol)
        for port in found
        if (key := port.values.given("port")) is not None and not port.values.is_scoped("port")
    ]
    for (key, _), count in Counter(generic).items():
        if count > 1:
            context.warnings.add(
                Reason.SAME_PORT,
                f"{shown_key(key.written)}: {shown(key.value)}: {count} ports are registered as "
                "this one; write SERVICE_<port>_PORT",
            )
