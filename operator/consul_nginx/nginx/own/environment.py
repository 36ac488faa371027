"""The Jinja2 environment of users' own templates: sandboxed, strict, and wary of what it prints.

The text of a template is its author's, and is printed as it is. What an expression prints may come
from Consul, where others write: it must be harmless wherever it stands, or have passed a filter
that makes it so. That holds for every expression; no mark on a value has to survive joining and
replacing.
"""

from __future__ import annotations

import re

from jinja2 import StrictUndefined, Undefined, nodes
from jinja2.sandbox import ImmutableSandboxedEnvironment

from consul_nginx.nginx.own.filters import FILTERS
from consul_nginx.nginx.own.functions import UsageError
from consul_nginx.nginx.tokens import MAX_TOKEN_LENGTH, Token

# Ends no token, begins no variable, comment or block, wherever in a configuration it stands.
_HARMLESS = re.compile(r"[A-Za-z0-9_.:/@%+,=\[\]-]*", re.ASCII)
# Equal input must give equal text, else nginx would be reloaded for ever; the others make HTML.
_NOT_OFFERED = ("random", "safe", "urlize", "xmlattr", "forceescape", "striptags", "pprint")
# What these print passes no check; there is nothing to include or to extend.
_FORBIDDEN: tuple[type[nodes.Node], ...] = (
    nodes.CallBlock,
    nodes.FilterBlock,
    nodes.Include,
    nodes.Import,
    nodes.FromImport,
    nodes.Extends,
    nodes.Block,
)


def _printed(value: object) -> str:
    if isinstance(value, Token) or (isinstance(value, int | float) and type(value) is not bool):
        return str(value)
    if isinstance(value, Undefined):
        return str(value)  # raises, and says what is not defined
    if not isinstance(value, str):
        what = "nothing" if value is None else f"a {type(value).__name__}"
        raise UsageError(f"this prints {what}; print text or a number")
    if len(value) > MAX_TOKEN_LENGTH or not _HARMLESS.fullmatch(value):
        raise UsageError(
            f"this prints {value[:60]!a}, which nginx may read as more than one word: add "
            "| nginx_quote, or | trusted if you answer for what it is"
        )
    return value


def environment() -> ImmutableSandboxedEnvironment:
    """An environment without any file, clock or chance; the functions come with each rendering."""
    made = ImmutableSandboxedEnvironment(
        undefined=StrictUndefined,
        finalize=_printed,
        autoescape=False,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        extensions=["jinja2.ext.loopcontrols"],
    )
    offered = ("range", "namespace", "joiner", "dict")
    made.globals = {name: made.globals[name] for name in offered}
    for name in _NOT_OFFERED:
        made.filters.pop(name, None)
    made.filters.update(FILTERS)
    return made


def forbidden(tree: nodes.Template) -> tuple[int, str] | None:
    """Line and words for the first statement that is not offered; None when there is none."""
    found = next(tree.find_all(_FORBIDDEN), None)
    if found is None:
        return None
    name = type(found).__name__.removesuffix("Block").lower() or "block"
    return found.lineno, f"{{% {name} %}} is not offered"
