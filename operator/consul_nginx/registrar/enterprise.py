"""Consul Enterprise's namespaces and partitions."""

from __future__ import annotations

import re

from consul_nginx.registrar.keys import Values
from consul_nginx.registrar.warnings import invalid

_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9-]{0,62}[A-Za-z0-9])?", re.ASCII)


def tenancy(values: Values, word: str) -> str:
    """Name of the namespace or partition, empty when it is not given; raises ``Refused``."""
    key = values.given(word)
    if key is None:
        return ""
    if not _NAME.fullmatch(key.value):
        raise invalid(
            key.written, key.value, "not a name: letters, digits and - inside, at most 64"
        )
    return key.value
