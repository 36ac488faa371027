"""Kinds of text that several fields share."""

from __future__ import annotations

import ipaddress
from typing import Annotated

from pydantic import AfterValidator, Field, StringConstraints, WithJsonSchema

# As in Kubernetes' own CRDs: 500m, 128Mi, 2.
QUANTITY = (
    r"^[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)"
    r"([KMGTPE]i|[numkMGTPE]|[eE][+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+))?$"
)
Quantity = Annotated[
    Annotated[str, StringConstraints(pattern=QUANTITY, max_length=32)] | int,
    WithJsonSchema({"x-kubernetes-int-or-string": True, "pattern": QUANTITY}),
]
DnsLabel = Annotated[
    str, StringConstraints(pattern=r"^[a-z0-9]([a-z0-9-]*[a-z0-9])?$", max_length=63)
]
DnsName = Annotated[
    str, StringConstraints(pattern=r"^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$", max_length=253)
]
SecretKey = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._-]+$", max_length=253)]
LabelValue = Annotated[
    str, StringConstraints(pattern=r"^([A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?)?$", max_length=63)
]
NOT_A_NETWORK = "must be a network such as 10.0.0.0/8, or an address"


def _network(text: str) -> str:
    try:
        return str(ipaddress.ip_network(text))
    except ValueError as error:
        raise ValueError(f"{NOT_A_NETWORK}: {error}") from error


Network = Annotated[
    str,
    StringConstraints(pattern=r"^[0-9a-fA-F.:]{2,39}(/[0-9]{1,3})?$", max_length=43),
    AfterValidator(_network),
    Field(
        json_schema_extra={
            "x-kubernetes-validations": [
                {
                    "rule": "isIP(self) || (isCIDR(self) && cidr(self) == cidr(self).masked())",
                    "message": NOT_A_NETWORK,
                }
            ]
        }
    ),
]
