"""The Jinja2 environment of our templates: strict, and blind to anything that is not a token."""

from __future__ import annotations

from functools import cache

from jinja2 import Environment, PackageLoader, StrictUndefined, Template

from consul_nginx.nginx.tokens import Token, UnsafeTokenError


def _only_tokens(value: object) -> str:
    if not isinstance(value, Token):
        raise UnsafeTokenError(f"a template printed a bare {type(value).__name__}: {value!r:.80}")
    return str(value)


@cache
def _environment() -> Environment:
    return Environment(  # noqa: S701 - not HTML; escaping is the tokens' work
        loader=PackageLoader("consul_nginx.nginx"),
        undefined=StrictUndefined,
        finalize=_only_tokens,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        auto_reload=False,
    )


def template(name: str) -> Template:
    """Compiled template by file name."""
    return _environment().get_template(name)
