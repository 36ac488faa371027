"""Which requests a mapping takes, beside host names and paths: methods, headers, parameters."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Literal

from pydantic import Field, StringConstraints, model_validator

from consul_nginx.model import request_match as model
from consul_nginx.resources.base import FieldError, SpecModel
from consul_nginx.resources.regular_expressions import MAX_LENGTH, objection

HEADER_TWICE = "a header can be named once; its case does not matter"
PARAMETER_TWICE = "a query parameter can be named once; its case does not matter"
HOST = "hosts are named in spec.hostnames"
AS_IN_URLS = "it is compared as it stands in the URL: & is written %26 there, and # is %23"
TOO_LONG = f"a regular expression has at most {MAX_LENGTH} characters"

_Type = Literal["Exact", "RegularExpression"]
_TYPE = (
    "Exact: the value is this one. RegularExpression: all of the value is what the expression "
    "matches."
)


class HeaderMatch(SpecModel):
    """A header that requests have."""

    name: Annotated[
        str,
        # nginx takes no other names from clients (ignore_invalid_headers).
        StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9-]*$", max_length=64),
        Field(description="Name of the header, in any case."),
    ]
    type: Annotated[_Type, Field(description=_TYPE)] = "Exact"
    value: Annotated[
        str,
        # nginx takes off the spaces around a value.
        StringConstraints(pattern=r"^[!-~]([ -~]*[!-~])?$", max_length=512),
        Field(
            description=(
                "Value, or the expression that it is compared with. Of a header that comes several "
                "times, all values with ', ' between them."
            )
        ),
    ]

    @model_validator(mode="after")
    def _can_hold(self) -> HeaderMatch:
        if self.name.lower() == "host":
            raise FieldError("name", HOST)
        _check_expression(self.type, self.value)
        return self


class QueryParameterMatch(SpecModel):
    """A parameter that the query of requests has."""

    name: Annotated[
        str,
        # nginx looks for no others ($arg_).
        StringConstraints(pattern=r"^[A-Za-z0-9_]+$", max_length=64),
        Field(description="Name of the parameter, in any case."),
    ]
    type: Annotated[_Type, Field(description=_TYPE)] = "Exact"
    value: Annotated[
        str,
        StringConstraints(pattern=r"^[!-~]+$", max_length=512),
        Field(
            description=(
                "Value, or the expression that it is compared with, as it stands in the URL: a "
                "space is %20 or + there. Of a parameter that comes several times, the first."
            )
        ),
    ]

    @model_validator(mode="after")
    def _can_hold(self) -> QueryParameterMatch:
        if self.type == "Exact" and set("&#") & set(self.value):
            raise FieldError("value", AS_IN_URLS)
        _check_expression(self.type, self.value)
        return self


_EXPRESSION_RULE = {
    "rule": f"self.type != 'RegularExpression' || self.value.size() <= {MAX_LENGTH}",
    "message": TOO_LONG,
    "fieldPath": ".value",
}
_HEADER_RULES = [
    {"rule": "self.name.lowerAscii() != 'host'", "message": HOST, "fieldPath": ".name"},
    _EXPRESSION_RULE,
]
_PARAMETER_RULES = [
    {
        "rule": "self.type != 'Exact' || !self.value.matches('[&#]')",
        "message": AS_IN_URLS,
        "fieldPath": ".value",
    },
    _EXPRESSION_RULE,
]
_BY_NAME = {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]}


class Match(SpecModel):
    """What requests are like; all of it must hold."""

    methods: Annotated[
        tuple[Literal["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"], ...],
        Field(
            max_length=7,
            description=(
                "Methods that are meant, by default all. With cors, also what browsers ask before "
                "a request with one of them."
            ),
            json_schema_extra={"x-kubernetes-list-type": "set"},
        ),
    ] = ()
    headers: Annotated[
        tuple[
            Annotated[
                HeaderMatch, Field(json_schema_extra={"x-kubernetes-validations": _HEADER_RULES})
            ],
            ...,
        ],
        Field(
            max_length=16,
            description="Headers that requests have; one that is missing or empty never fits.",
            json_schema_extra=_BY_NAME,
        ),
    ] = ()
    query_parameters: Annotated[
        tuple[
            Annotated[
                QueryParameterMatch,
                Field(json_schema_extra={"x-kubernetes-validations": _PARAMETER_RULES}),
            ],
            ...,
        ],
        Field(
            max_length=16,
            description="Parameters in their query; one that is missing or empty never fits.",
            json_schema_extra=_BY_NAME,
        ),
    ] = ()

    @model_validator(mode="after")
    def _named_once(self) -> Match:
        for field, items, why in (
            ("headers", self.headers, HEADER_TWICE),
            ("queryParameters", self.query_parameters, PARAMETER_TWICE),
        ):
            if len({item.name.lower() for item in items}) < len(items):
                raise FieldError(field, why)
        return self


MATCH_RULES = [
    {
        "rule": (
            f"self.{field}.all(a, self.{field}.exists_one(b, "
            "b.name.lowerAscii() == a.name.lowerAscii()))"
        ),
        "message": why,
        "fieldPath": f".{field}",
    }
    for field, why in (("headers", HEADER_TWICE), ("queryParameters", PARAMETER_TWICE))
]


def request_match(spec: Match) -> model.RequestMatch:
    """The same for decisions, in order of names."""
    return model.RequestMatch(
        methods=tuple(sorted(set(spec.methods))),
        headers=_values(spec.headers),
        query_parameters=_values(spec.query_parameters),
    )


def _values(items: Iterable[HeaderMatch | QueryParameterMatch]) -> tuple[model.ValueMatch, ...]:
    return tuple(
        sorted(
            model.ValueMatch(
                name=item.name.lower(), type=model.ValueMatchType(item.type), value=item.value
            )
            for item in items
        )
    )


def _check_expression(kind: str, value: str) -> None:
    if kind == "RegularExpression" and (why := objection(value)) is not None:
        raise FieldError("value", why)
