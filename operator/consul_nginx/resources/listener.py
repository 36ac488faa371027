"""Ports that nginx listens on."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from consul_nginx.resources.base import SpecModel
from consul_nginx.resources.texts import DnsLabel


class Listener(SpecModel):
    """A port that nginx listens on."""

    name: Annotated[
        DnsLabel, Field(description="Name by which ServiceMappings choose this listener.")
    ]
    protocol: Annotated[
        Literal["HTTP", "TCP", "UDP"],
        Field(
            description=(
                "What is spoken on the port. HTTP chooses a mapping by host name and path; all of "
                "a TCP or UDP port goes to one mapping, and it is open only while there is one."
            )
        ),
    ] = "HTTP"
    port: Annotated[
        int, Field(ge=1, le=65535, description="Port of the nginx pods and of their Service.")
    ]
