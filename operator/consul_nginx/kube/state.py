"""ConfigMap ``<lb>-state``: the last accepted specification of every mapping. Pure.

What is rejected today may have been fine yesterday, and goes on being served in that form, also by
an operator that was started since. Objects are kept as they were written, and validated again when
they are read.
"""

from __future__ import annotations

import gzip
import json
from base64 import b64decode, b64encode
from collections.abc import Mapping
from typing import Any

from consul_nginx.kube.client import Raw

STATE_KEY = "mappings.json.gz"

_METADATA = ("namespace", "name", "uid", "generation", "creationTimestamp")


def essence(raw: Raw) -> dict[str, Any]:
    """What has to be remembered of a mapping."""
    metadata = {key: raw["metadata"][key] for key in _METADATA}
    return {"metadata": metadata, "spec": raw["spec"]}


def encode_state(mappings: Mapping[str, Raw]) -> dict[str, str]:
    """``binaryData`` that holds mappings by uid; equal mappings give equal bytes."""
    text = json.dumps(mappings, sort_keys=True, separators=(",", ":"))
    return {STATE_KEY: b64encode(gzip.compress(text.encode(), mtime=0)).decode()}


def decode_state(data: Mapping[str, str]) -> dict[str, Raw]:
    """Mappings by uid; a state that somebody damaged remembers nothing."""
    try:
        text = gzip.decompress(b64decode(data[STATE_KEY], validate=True))
        mappings = json.loads(text)
        return {uid: essence(raw) for uid, raw in mappings.items()}
    except (LookupError, ValueError, TypeError, AttributeError, OSError, EOFError):
        return {}
