"""Whether what we registered is still there, by one blocking query."""

from __future__ import annotations

from collections import Counter
from typing import Any

from consul_nginx.consul.api import Api
from consul_nginx.consul.fields import MalformedError, field_of, malformed
from consul_nginx.consul.registered import notes, of_cluster


async def readiness_checks(*, api: Api, cluster: str, index: int = 0) -> tuple[int, list[Any]]:
    """Every readiness check of ``cluster``, one for each registration, and where to wait next.

    Blocks until a check moved on from ``index`` (any check: what comes may equal what was known).
    The index is 0 when it went back. Raises ``ConsulError``.
    """
    read = await api.all("health/state/any", params=[("filter", of_cluster(cluster))], index=index)
    if type(read.found) is not list:
        raise malformed("no list of checks")
    try:
        found = [one for one in read.found if field_of(one, "Notes", str) == notes(cluster)]
    except MalformedError as error:
        raise malformed(error) from error
    return (0 if read.index < index else read.index), found


async def present(
    *, api: Api, cluster: str, index: int = 0
) -> tuple[int, Counter[tuple[str, str]]]:
    """Count what Consul's catalog has of ``cluster``, by ID and the readiness check's status.

    Blocks and raises as ``readiness_checks`` does.
    """
    following, checks = await readiness_checks(api=api, cluster=cluster, index=index)
    try:
        found = Counter(
            (field_of(check, "ServiceID", str), field_of(check, "Status", str)) for check in checks
        )
    except MalformedError as error:
        raise malformed(error) from error
    return following, found
