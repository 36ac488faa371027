"""``$(POD_NAME)`` and others in values: one Pod template, and values of each Pod's own."""

from __future__ import annotations

import re
from collections.abc import Mapping

from consul_nginx.model.registration import Pod
from consul_nginx.registrar.keys import Key
from consul_nginx.registrar.warnings import Reason, Warnings, shown_key

NAMES = ("POD_NAME", "POD_NAMESPACE", "POD_ORDINAL", "NODE_NAME", "POD_IP")
MAX_LENGTH = 512

_USE = re.compile(r"\$\(([A-Za-z_][A-Za-z0-9_]*)\)", re.ASCII)
# Five digits would be a Deployment's random suffix, not an ordinal.
_ORDINAL = re.compile(r".*-(0|[1-9][0-9]{0,3})", re.ASCII)


def expanded(text: str, *, key: Key, variables: Mapping[str, str], warnings: Warnings) -> str:
    """``text``, a part of ``key``'s value, with values in it; unknown names stay as they are.

    What is longer than any value may be is not looked into.
    """
    if len(text) > MAX_LENGTH:
        return text

    def value(match: re.Match[str]) -> str:
        name = match[1]
        if name not in variables:
            message = f"{shown_key(key.written)}: $({shown_key(name)}): {_why(name)}"
            warnings.add(Reason.UNKNOWN_VARIABLE, message)
        return variables.get(name, match[0])

    return _USE.sub(value, text)


def variables_of(pod: Pod) -> dict[str, str]:
    """What can be written as ``$(NAME)``."""
    found = {
        "POD_NAME": pod.ref.name,
        "POD_NAMESPACE": pod.ref.namespace,
        "NODE_NAME": pod.node,
        "POD_IP": pod.ips[0] if pod.ips else "",
    }
    ordinal = _ORDINAL.fullmatch(pod.ref.name)
    return {**found, "POD_ORDINAL": ordinal[1]} if ordinal else found


def _why(name: str) -> str:
    if name == "POD_ORDINAL":
        return "the Pod's name does not end with an ordinal; only a StatefulSet's Pods have one"
    return f"not known, it stays as it is; there are {', '.join(NAMES)}"
