"""One port's registration."""

from __future__ import annotations

from consul_nginx.model.registration import Content, Owner, Registration
from consul_nginx.registrar.address import endpoint
from consul_nginx.registrar.checks import check_of, written_checks
from consul_nginx.registrar.context import Context, Port
from consul_nginx.registrar.enterprise import refuse_tenancy
from consul_nginx.registrar.meta import service_meta
from consul_nginx.registrar.name import service_name
from consul_nginx.registrar.scalars import number, truth
from consul_nginx.registrar.tags import service_tags


def registration(port: Port, *, identity: str, context: Context) -> Registration:
    """What is registered for a port under an ID; raises ``Refused``."""
    pod, values = context.pod, port.values
    owner = Owner(
        cluster=context.settings.cluster,
        namespace=pod.ref.namespace,
        pod=pod.ref.name,
        pod_uid=pod.uid,
    )
    refuse_tenancy(values)
    name = service_name(port, context)
    where = endpoint(port, context)
    check = check_of(port, where, context)
    content = Content(
        id=identity,
        name=name,
        address=where.ip,
        port=where.port,
        tags=service_tags(port, context),
        meta={**service_meta(port, context), **owner.marks()},
        weight=number(values, "weight") or 1,
        enable_tag_override=truth(values, "enable_tag_override"),
        checks=written_checks(check, context),
    )
    return Registration(
        content=content, owner=owner, check=check, ready=pod.ready, created=pod.created
    )
