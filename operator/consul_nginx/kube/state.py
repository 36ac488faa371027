"""ConfigMap ``<lb>-state``: what was accepted last, of a LoadBalancer and of its mappings. Pure.

What is rejected today may have been fine yesterday, and goes on being served in that form, also by
an operator that was started since. Objects are kept as they were written, and validated again when
they are read. Beside them, what Consul said last of services whose instances are held at present:
an operator that is started now could not know.
"""

from __future__ import annotations

import gzip
import hashlib
import json
from base64 import b64decode, b64encode
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from consul_nginx.kube.client import Raw
from consul_nginx.kube.held import read_held, write_held
from consul_nginx.model.certificates import Certificate
from consul_nginx.model.consul import ServiceQuery
from consul_nginx.model.history import Recollection
from consul_nginx.model.secret_files import SecretFile, SecretKind

STATE_KEY = "accepted.json.gz"

_METADATA = ("namespace", "name", "uid", "generation", "creationTimestamp")


@dataclass(frozen=True, kw_only=True)
class State:
    """The LoadBalancer, None when it never was accepted, and mappings by uid.

    ``proven`` are the files, without endpoints, that nginx ran last in all pods. ``held`` is what
    was known, by ``query_key``, of services that Consul does not tell the present of;
    ``certificates`` and ``users`` are those in force, by the name of their Secret.
    """

    load_balancer: Raw | None = None
    mappings: Mapping[str, Raw] = field(default_factory=dict)
    proven: Mapping[str, str] = field(default_factory=dict)
    held: Mapping[str, Recollection] = field(default_factory=dict)
    certificates: Mapping[str, Certificate] = field(default_factory=dict)
    users: Mapping[str, SecretFile] = field(default_factory=dict)


def query_key(query: ServiceQuery) -> str:
    """Equal for equal queries, also in the process after this one."""
    text = json.dumps(asdict(query), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def essence(raw: Raw) -> dict[str, Any]:
    """What has to be remembered of an object."""
    metadata = {key: raw["metadata"][key] for key in _METADATA}
    return {"metadata": metadata, "spec": raw["spec"]}


def encode_state(state: State) -> dict[str, str]:
    """``binaryData`` that holds the state; equal states give equal bytes."""
    text = json.dumps(
        {
            "loadBalancer": state.load_balancer,
            "mappings": dict(state.mappings),
            "proven": dict(state.proven),
            "held": {key: write_held(item) for key, item in state.held.items()},
            "certificates": {
                secret: {
                    "sha256": item.file.sha256,
                    "hostnames": list(item.hostnames),
                    "keyType": item.key_type,
                    "notAfter": item.not_after,
                }
                for secret, item in state.certificates.items()
            },
            "users": {secret: file.sha256 for secret, file in state.users.items()},
        },
        sort_keys=True,
        separators=(",", ":"),
    )
    return {STATE_KEY: b64encode(gzip.compress(text.encode(), mtime=0)).decode()}


def decode_state(data: Mapping[str, str]) -> State:
    """The state; one that somebody damaged remembers nothing."""
    try:
        raw = json.loads(gzip.decompress(b64decode(data[STATE_KEY], validate=True)))
        load_balancer = raw["loadBalancer"]
        return State(
            load_balancer=None if load_balancer is None else essence(load_balancer),
            mappings={uid: essence(item) for uid, item in raw["mappings"].items()},
            proven={str(name): str(text) for name, text in raw["proven"].items()},
            held={str(key): read_held(item) for key, item in raw["held"].items()},
            certificates={
                secret: _certificate(secret, item)
                for secret, item in raw.get("certificates", {}).items()
            },
            users={
                secret: SecretFile(secret=secret, kind=SecretKind.USERS, sha256=str(digest))
                for secret, digest in raw.get("users", {}).items()
            },
        )
    except (LookupError, ValueError, TypeError, AttributeError, OSError, EOFError):
        return State()


def _certificate(secret: str, raw: Raw) -> Certificate:
    return Certificate(
        file=SecretFile(secret=secret, kind=SecretKind.TLS, sha256=str(raw["sha256"])),
        hostnames=tuple(map(str, raw["hostnames"])),
        key_type=str(raw["keyType"]),
        not_after=float(raw["notAfter"]),
    )
