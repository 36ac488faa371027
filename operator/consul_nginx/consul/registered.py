"""Registrations in the words of Consul's HTTP API, in both directions and for both modes.

Each has two checks at most. The readiness check says whether the Pod is ready; its notes are the
same for everything of one cluster, which makes one blocking query tell of all of it. The other one
is what CHECK_* asks for; its notes are its fingerprint. It has the fingerprint in its ID as well:
an agent goes on running what an ID stood for when it gets another type of check.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

from consul_nginx.consul.errors import ConsulRefused
from consul_nginx.consul.fields import MalformedError, field_of, malformed
from consul_nginx.model.registration import MARKS, Check, Content, Held, Owner, Registration

PASSING, CRITICAL = "passing", "critical"
# Another status isn't of ours: the check is written anew.
_READY = {PASSING: True, CRITICAL: False}

_READINESS_NAME = "Pod readiness"
_FINGERPRINT = re.compile(r"\[([0-9a-f]{16})\]$")
_PLAIN = re.compile(r"[a-z0-9.-]+")
# For people: what Consul says may repeat a whole value.
_MOST_WORDS = 300


def notes(cluster: str) -> str:
    """The notes of every readiness check of a cluster."""
    return f"consul-nginx-operator in cluster {cluster}"


def equals(selector: str, value: str, *, before: str = "") -> str:
    """A filter for Consul; ``ConsulRefused`` when ``value`` could become more than a value.

    ``before`` is text of ours that stands before it.
    """
    if not _PLAIN.fullmatch(value):
        raise ConsulRefused(
            f"unsafe name {value!r}: it can have lower-case letters, digits, '.' and '-' only"
        )
    return f'{selector} == "{before}{value}"'


def of_cluster(cluster: str) -> str:
    """The filter that finds the readiness checks of a cluster, and so what is registered by it."""
    return equals("Notes", cluster, before=notes(""))


def readiness_id(service_id: str) -> str:
    """ID of the check that says whether the Pod is ready."""
    return f"readiness:{service_id}"


def asked_id(service_id: str, *, fingerprint: str) -> str:
    """ID of the check that CHECK_* asks for."""
    return f"asked:{fingerprint}:{service_id}"


def service(registration: Registration, *, name_key: str) -> dict[str, Any]:
    """The service itself; ``name_key`` is what the endpoint calls its name."""
    content = registration.content
    return {
        "ID": content.id,
        name_key: content.name,
        "Address": content.address,
        "Port": content.port,
        "Tags": list(content.tags),
        "Meta": {**content.meta, **registration.owner.marks()},
        "Weights": {"Passing": content.weight, "Warning": 1},
        "EnableTagOverride": content.enable_tag_override,
    }


def status(*, ready: bool) -> dict[str, str]:
    """Status and output of a readiness check."""
    return {
        "Status": PASSING if ready else CRITICAL,
        "Output": "the Pod is ready" if ready else "the Pod is not ready",
    }


def readiness(registration: Registration) -> dict[str, Any]:
    """The readiness check without its status.

    Its name has the fingerprint of the TTL check that CHECK_TTL asks for: this is that check.
    """
    content, asked = registration.content, registration.check
    name = _READINESS_NAME
    if asked and asked.ttl and asked.fingerprint in content.checks:
        name += f" [{asked.fingerprint}]"
    return {
        "CheckID": readiness_id(content.id),
        "Name": name,
        "Notes": notes(registration.owner.cluster),
    }


def asked_for(registration: Registration) -> Check | None:
    """The check that CHECK_* asks for when it is one beside readiness, and to be written."""
    check = registration.check
    wanted = check and check.ttl is None and check.fingerprint in registration.content.checks
    return check if wanted else None


def asked(registration: Registration, check: Check) -> dict[str, Any]:
    """The check that CHECK_* asks for, with the status to begin with, without its definition."""
    return {
        "CheckID": asked_id(registration.content.id, fingerprint=check.fingerprint),
        "Name": "What the Pod's annotations ask for",
        "Notes": check.fingerprint,
        "Status": check.initial_status if registration.ready else CRITICAL,
    }


def held(*, services: Iterable[Any], checks: Iterable[Any], cluster: str) -> dict[str, Held]:
    """What is registered, by ID; raises ``ConsulUnavailable`` for what no Consul answers."""
    try:
        of_service: Mapping[str, list[Any]] = _by_service(checks)
        found = (
            _held(raw, checks=of_service.get(field_of(raw, "ID", str), []), cluster=cluster)
            for raw in services
        )
        return {one.content.id: one for one in found}
    except MalformedError as error:
        raise malformed(error) from error


def words(text: str) -> str:
    """What Consul says, short enough for people."""
    return text if len(text) <= _MOST_WORDS else f"{text[:_MOST_WORDS]}…"


def _by_service(checks: Iterable[Any]) -> Mapping[str, list[Any]]:
    found = defaultdict(list)
    for check in checks:
        found[field_of(check, "ServiceID", str, "")].append(check)
    return found


def _held(raw: Any, *, checks: Iterable[Any], cluster: str) -> Held:
    service_id = field_of(raw, "ID", str)
    meta = _texts(raw, "Meta")
    ready, ready_version = None, 0
    fingerprints = set()
    for check in checks:
        check_id = field_of(check, "CheckID", str)
        said = field_of(check, "Notes", str, "")
        if check_id == readiness_id(service_id):
            ready_version = field_of(check, "ModifyIndex", int, 0)
            # Of another type it isn't the check that we wrote, and can't be told anything.
            if said == notes(cluster) and field_of(check, "Type", str, "") in ("", "ttl"):
                ready = _READY.get(field_of(check, "Status", str))
            fingerprints |= set(_FINGERPRINT.findall(field_of(check, "Name", str, "")))
        elif check_id == asked_id(service_id, fingerprint=said):
            fingerprints.add(said)
    return Held(
        content=Content(
            id=service_id,
            name=field_of(raw, "Service", str),
            address=field_of(raw, "Address", str, ""),
            port=field_of(raw, "Port", int, 0),
            tags=_tags(raw),
            meta=meta,
            weight=field_of(field_of(raw, "Weights", dict, {}), "Passing", int, 1),
            enable_tag_override=field_of(raw, "EnableTagOverride", bool, False),
            checks=frozenset(fingerprints),
        ),
        owner=_owner(meta, cluster=cluster),
        ready=ready,
        version=field_of(raw, "ModifyIndex", int, 0),
        ready_version=ready_version,
    )


def _owner(meta: Mapping[str, str], *, cluster: str) -> Owner | None:
    marks = [meta.get(mark, "") for mark in MARKS]
    owner = Owner(cluster=marks[0], namespace=marks[1], pod=marks[2], pod_uid=marks[3])
    return owner if owner.cluster == cluster else None


def _tags(raw: Any) -> tuple[str, ...]:
    tags = field_of(raw, "Tags", list, [])
    if not all(type(tag) is str for tag in tags):
        raise MalformedError("Tags has other things than texts")
    return tuple(tags)


def _texts(raw: Any, name: str) -> dict[str, str]:
    found = field_of(raw, name, dict, {})
    if not all(type(value) is str for value in found.values()):
        raise MalformedError(f"{name} has other things than texts")
    return found
