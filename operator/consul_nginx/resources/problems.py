"""What pydantic finds wrong, in the words of people who write YAML."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any, get_args

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from consul_nginx.model.verdict import Problem
from consul_nginx.resources.base import FieldError, SpecModel

MAX_SHOWN = 80

_Location = tuple[int | str, ...]


def problems_of(error: ValidationError, *, model: type[SpecModel]) -> tuple[Problem, ...]:
    """What is wrong with a ``model``: field path as in YAML, the value shortened, the reason.

    A list with a bad item is too short for pydantic as well; only the item is told of.
    """
    found = error.errors(include_url=False)
    above = {item["loc"][:depth] for item in found for depth in range(len(item["loc"]))}
    return tuple(_problem(item, model=model) for item in found if item["loc"] not in above)


def _problem(item: ErrorDetails, *, model: type[SpecModel]) -> Problem:
    location: _Location = item["loc"]
    given = item["input"]
    error = item.get("ctx", {}).get("error")
    if isinstance(error, FieldError):
        location = (*location, error.field)
        given = given.get(error.field) if isinstance(given, Mapping) else given
    return Problem(
        field=_path(("spec", *location)),
        value="not given" if item["type"] == "missing" else _shown(given),
        reason=_reason(item, model=model),
    )


def _reason(item: ErrorDetails, *, model: type[SpecModel]) -> str:
    """pydantic's own words speak of Python where these don't."""
    context = item.get("ctx", {})
    match item["type"]:
        case "extra_forbidden":
            *parents, name = item["loc"]
            return _no_such_field(str(name), _fields(_model_at(model, parents)))
        case "missing":
            return "this field is required"
        case "model_type":
            fields = _fields(_model_at(model, item["loc"]))
            return f"fields with values are needed here; there are: {', '.join(fields)}"
        case "tuple_type":
            return "a list is needed, even of one: [a]"
        case "too_short":
            return f"at least {_items(context['min_length'])} needed"
        case "too_long":
            return f"at most {_items(context['max_length'])} possible"
        case "string_type" if isinstance(item["input"], bool | int | float):
            return "a text is needed; numbers and words such as yes and off need quotes"
        case _:
            return item["msg"].removeprefix("Value error, ")


def _items(number: int) -> str:
    return f"{number} item{'' if number == 1 else 's'}"


def _no_such_field(name: str, fields: list[str]) -> str:
    close = get_close_matches(name, fields, cutoff=0.7)
    if close:
        return f"there is no such field; did you mean {' or '.join(close)}?"
    return f"there is no such field; there are: {', '.join(fields)}"


def _fields(model: type[SpecModel]) -> list[str]:
    return sorted(field.alias or name for name, field in model.model_fields.items())


def _model_at(model: type[SpecModel], location: list[int | str] | _Location) -> type[SpecModel]:
    """The model of the field at that place, or of the items of its list."""
    for name in location:
        if isinstance(name, str):
            [field] = (item for item in model.model_fields.values() if item.alias == name)
            model = next(_models_in(field.annotation))
    return model


def _models_in(annotation: Any) -> Any:
    if isinstance(annotation, type) and issubclass(annotation, SpecModel):
        yield annotation
    for inner in get_args(annotation):
        yield from _models_in(inner)


def _path(location: _Location) -> str:
    text = ""
    for part in location:
        text += f"[{part}]" if isinstance(part, int) else f".{part}"
    return text.removeprefix(".")


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}…"
