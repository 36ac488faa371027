"""What happens around a reload of nginx."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from consul_nginx.model import kubernetes as model
from consul_nginx.resources.base import SpecModel
from consul_nginx.resources.durations import Between, seconds

GRACE_BELOW_SHUTDOWN = (
    "keepaliveGrace must be less than shutdownTimeout, which ends the workers that grant it"
)


class Reload(SpecModel):
    """What happens to connections when the configuration changes, and how often it does."""

    keepalive_grace: Annotated[
        str,
        Between(low="0s", high="60s"),
        Field(
            description=(
                "For how long an old nginx worker still answers on idle keep-alive connections "
                "after a reload (nginx: keepalive_min_timeout). With 0s, clients see errors at "
                "reloads; for this long, an idle connection can still reach a removed instance."
            ),
        ),
    ] = "2s"
    shutdown_timeout: Annotated[
        str,
        Between(low="1s", high="1h"),
        Field(
            description=(
                "For how long open requests may go on after a reload or at the end of a pod "
                "(nginx: worker_shutdown_timeout); TCP sessions that last longer are cut off then. "
                "Changing it replaces the nginx pods."
            ),
        ),
    ] = "30s"
    quiet_period: Annotated[
        str,
        Between(low="0s", high="1m"),
        Field(
            description=(
                "A change goes out at once when none did within this time. Those that follow "
                "closer are gathered until none came for this long."
            )
        ),
    ] = "100ms"
    max_delay: Annotated[
        str,
        Between(low="0s", high="5m"),
        Field(description="The longest that a change waits for others."),
    ] = "1s"
    min_interval: Annotated[
        str, Between(low="0s", high="1h"), Field(description="Least time between two reloads.")
    ] = "0s"

    @model_validator(mode="after")
    def _grace_fits(self) -> Reload:
        if seconds(self.keepalive_grace) >= seconds(self.shutdown_timeout):
            raise ValueError(GRACE_BELOW_SHUTDOWN)
        return self


def reload_settings(spec: Reload) -> model.ReloadSettings:
    """The same in seconds."""
    return model.ReloadSettings(
        keepalive_grace=seconds(spec.keepalive_grace),
        shutdown_timeout=seconds(spec.shutdown_timeout),
        batching=model.Batching(
            quiet_period=seconds(spec.quiet_period),
            max_delay=seconds(spec.max_delay),
            min_interval=seconds(spec.min_interval),
        ),
    )
