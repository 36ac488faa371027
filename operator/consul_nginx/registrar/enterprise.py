"""Consul Enterprise's namespaces and partitions: nothing is registered into them."""

from __future__ import annotations

from consul_nginx.registrar.keys import Values
from consul_nginx.registrar.warnings import Reason, Refused, shown, shown_key

_WORDS = ("namespace", "partition")


def refuse_tenancy(values: Values) -> None:
    """Raises ``Refused`` for a port that is to be in a namespace or a partition.

    Registered elsewhere it would be found by those whom it isn't meant for.
    """
    for word in _WORDS:
        key = values.given(word)
        if key is not None:
            raise Refused(
                Reason.NOT_SUPPORTED,
                f"{shown_key(key.written)}: {shown(key.value)}: everything is registered in the "
                "namespace and the partition of the operator's ACL token; leave it out, or leave "
                "the port out with SERVICE_<port>_IGNORE and register it there yourself",
            )
