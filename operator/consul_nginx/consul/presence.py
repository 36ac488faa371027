"""Whether what we registered is still there, by one blocking query."""

from __future__ import annotations

from collections import Counter

from consul_nginx.consul.api import Api
from consul_nginx.consul.errors import ConsulUnavailable
from consul_nginx.consul.fields import MalformedError, field_of
from consul_nginx.consul.registered import notes, of_cluster


async def present(
    *, api: Api, cluster: str, index: int = 0
) -> tuple[int, Counter[tuple[str, str]]]:
    """Count what Consul's catalog has of ``cluster``, by ID and the readiness check's status.

    Blocks until a check moved on from ``index`` (any check: what comes may equal what was known).
    Returns the index to wait on next, 0 when it went back. Raises ``ConsulError``.
    """
    read = await api.all("health/state/any", params=[("filter", of_cluster(cluster))], index=index)
    if type(read.found) is not list:
        raise ConsulUnavailable("not an answer of Consul's: no list of checks")
    try:
        found = Counter(
            (field_of(check, "ServiceID", str), field_of(check, "Status", str))
            for check in read.found
            if field_of(check, "Notes", str) == notes(cluster)
        )
    except MalformedError as error:
        raise ConsulUnavailable(f"not an answer of Consul's: {error}") from error
    return (0 if read.index < index else read.index), found
