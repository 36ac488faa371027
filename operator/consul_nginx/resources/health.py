"""Which instances get requests, and what becomes of them when too few are healthy."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from consul_nginx.model import mapping as model
from consul_nginx.model.health import HealthPolicy
from consul_nginx.resources.base import FieldError, SpecModel
from consul_nginx.resources.durations import Between, seconds

INCLUDE_PASSING = "include must have passing in it"
HOLD_TIME = "holdTime is for Fail and Fallback; with KeepLast, maxAge says for how long"
FALLBACK_MISSING = "health.onEmpty Fallback needs spec.fallback"
FALLBACK_UNUSED = "with health.onEmpty Fail, spec.fallback is never used: leave one of them out"

HEALTH_RULES = [
    {
        "rule": (
            "!(has(self.onEmpty) && self.onEmpty == 'KeepLast') || "
            "duration(self.holdTime) == duration('0s')"
        ),
        "message": HOLD_TIME,
    }
]

FALLBACK_RULES = (
    {
        "rule": (
            "!has(self.health.onEmpty) || self.health.onEmpty != 'Fallback' || "
            "self.fallback.size() > 0"
        ),
        "message": FALLBACK_MISSING,
    },
    {
        "rule": (
            "!has(self.health.onEmpty) || self.health.onEmpty != 'Fail' || "
            "self.fallback.size() == 0"
        ),
        "message": FALLBACK_UNUSED,
    },
)


class Health(SpecModel):
    """Which instances get requests. Maintenance is never served."""

    include: Annotated[
        tuple[Literal["passing", "warning"], ...],
        Field(
            max_length=2,
            description="States that count as healthy; an instance has that of its worst check.",
            json_schema_extra={
                "x-kubernetes-list-type": "set",
                "x-kubernetes-validations": [
                    {"rule": "self.exists(s, s == 'passing')", "message": INCLUDE_PASSING}
                ],
            },
        ),
    ] = ("passing",)
    min_healthy: Annotated[
        int,
        Field(
            ge=1,
            le=10_000,
            description="With fewer healthy instances, of all backends together, onEmpty decides.",
        ),
    ] = 1
    on_empty: Annotated[
        Literal["KeepLast", "Fail", "Fallback"] | None,
        Field(
            description=(
                "With too few healthy instances. KeepLast: those that were healthy within maxAge "
                "and are still registered are served on; after that the healthy ones, or the "
                "fallback. Fail: HTTP clients are answered 503, connections closed. Fallback: "
                "spec.fallback is served. By default Fallback where there is one, else Fail. "
                "Whoever is deregistered is gone at once, whatever this says."
            )
        ),
    ] = None
    hold_time: Annotated[
        str,
        Between(low="0s", high="1h"),
        Field(
            description=(
                "For how long there have to be too few before Fail or Fallback come; until then "
                "those that were healthy are served on."
            )
        ),
    ] = "0s"
    max_age: Annotated[
        str,
        Between(low="1s", high="24h"),
        Field(
            description=(
                "How long ago an instance that KeepLast serves was healthy, at most. Also for how "
                "long an answer without most instances is doubted when Consul can't confirm it. "
                "While Consul does not answer at all, nginx keeps what it has."
            )
        ),
    ] = "10m"
    hold_down: Annotated[
        str,
        Between(low="0s", high="1h"),
        Field(
            description=(
                "How long an instance that failed, or was in maintenance, has to be healthy "
                "without a break before it is served again; not when fewer than minHealthy would "
                "be left."
            )
        ),
    ] = "0s"
    max_fails: Annotated[
        int,
        Field(
            ge=0,
            le=100,
            description=(
                "Failed attempts within failTimeout after which nginx leaves an endpoint out for "
                "as long; 0: never, Consul's checks decide."
            ),
        ),
    ] = 0
    fail_timeout: Annotated[
        str,
        Between(low="1s", high="1h"),
        Field(description="Time in which failures are counted, and for which it is left out."),
    ] = "10s"

    @model_validator(mode="after")
    def _consistent(self) -> Health:
        if "passing" not in self.include:
            raise FieldError("include", INCLUDE_PASSING)
        if self.on_empty == "KeepLast" and seconds(self.hold_time):
            raise FieldError("holdTime", HOLD_TIME)
        return self


def policy(spec: Health, *, slow_start: str) -> HealthPolicy:
    """Who is served, for decisions."""
    keeps_last = spec.on_empty == "KeepLast"
    return HealthPolicy(
        warning="warning" in spec.include,
        min_healthy=spec.min_healthy,
        keep=seconds(spec.max_age if keeps_last else spec.hold_time),
        keep_few=keeps_last,
        hold_down=seconds(spec.hold_down),
        slow_start=seconds(slow_start),
        doubt=seconds(spec.max_age),
    )


def avoidance(spec: Health) -> model.Health:
    """When nginx avoids an endpoint, for decisions."""
    return model.Health(max_fails=spec.max_fails, fail_timeout=seconds(spec.fail_timeout))
