"""A service's name."""

from __future__ import annotations

import re

from consul_nginx.model.names import MAX_SERVICE_NAME, SERVICE_NAME
from consul_nginx.model.policy import matches
from consul_nginx.registrar.context import Context, Port
from consul_nginx.registrar.warnings import Reason, Refused, invalid, shown

_WAY_OUT = (
    f"not a service name: letters, digits and ._- inside, at most {MAX_SERVICE_NAME} characters"
)


def service_name(port: Port, context: Context) -> str:
    """NAME, else the image's; ``-<port>`` is appended when the Pod offers other ports too.

    A key that names the port decides alone: it gets nothing appended. Raises ``Refused``, also
    when the Pod's namespace may not register that name.
    """
    name = _name(port, context)
    namespace, rules = context.pod.ref.namespace, context.settings.rules
    if rules is None or any(
        matches(namespace, rule.namespaces) and matches(name, rule.services) for rule in rules
    ):
        return name
    raise Refused(
        Reason.NOT_ALLOWED,
        f"service {name}: namespace {namespace} may not register it; choose another name, or have "
        "it added to registration.rules in the chart's values",
    )


def image_name(image: str) -> str:
    """The last part of an image's path, without tag and digest."""
    return image.partition("@")[0].rpartition("/")[2].partition(":")[0]


def _name(port: Port, context: Context) -> str:
    offer, values = port.offer, port.values
    suffix = f"-{offer.port}" if port.among_others and not values.is_scoped("name") else ""
    key = values.given("name")
    if key is None:
        name = image_name(offer.image) + suffix
        if not _is_name(name):
            raise Refused(
                Reason.INVALID_VALUE,
                f"image {shown(offer.image)}: it makes no service name; write "
                f"SERVICE_{offer.port}_NAME",
            )
        return name
    name = context.expand(key.value, key=key) + suffix
    if not _is_name(name):
        raise invalid(key.written, key.value, _WAY_OUT)
    return name


def _is_name(text: str) -> bool:
    return len(text) <= MAX_SERVICE_NAME and re.fullmatch(SERVICE_NAME, text) is not None
