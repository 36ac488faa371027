"""What things may be called here: one rule for who registers, for who maps, for certificates."""

from __future__ import annotations

import re

# In lower case; labels as in RFC 1123.
HOSTNAME = re.compile(
    r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*", re.ASCII
)
MAX_HOSTNAME = 253

# Service names go to Consul's DNS, to URL paths and to names of nginx upstreams.
SERVICE_NAME = r"^[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?$"
MAX_SERVICE_NAME = 128

# Several clusters that share a Consul are told apart by it; service IDs begin with it.
CLUSTER_NAME = r"^[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?$"

# Other programs read tags with spaces and punctuation (fabio, Traefik): printable is enough.
MAX_TAG = 512


def is_tag(text: str) -> bool:
    """Whether a tag can be registered: printable, without spaces around it, not too long."""
    return 0 < len(text) <= MAX_TAG and text.isprintable() and text == text.strip()
