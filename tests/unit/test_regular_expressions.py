"""Which regular expressions are taken, and what is said of the others."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consul_nginx.resources.regular_expressions import objection

CHARACTERS = "abc/.[]()|*+?{}^$\\-:=,19dwZ"


@pytest.mark.parametrize(
    "text",
    [
        "/a", "^/a", "/a$", "/a|/b", "/v[0-9]+/users", "/[^/]+/[^/]+/edit", "/.*/users/.*",
        "/(?:de|fr|it)/shop", r"/\w+\.php", r"/[\w.-]+", "/(?:[0-9]{2}-)+x", "/a{3}", "/a{2,}",
        "/a{0,3}", r"/[\[\]]", "/[.]", "/[.a]", "/a?b?c?d?", r"/\{id\}", "/~a", "/",
        "/(?:en|de)/shop", "/shop/[a-z0-9_-]+\\.(?:png|jpe?g)$", "/.*/end$",
    ],
)  # fmt: skip
def test_what_people_write_is_taken(text):
    assert objection(text) is None


@pytest.mark.parametrize(
    ("text", "why"),
    [
        # It takes PCRE for ever, or what feels like it.
        ("/(?:a+)+b", "no other repetition"),
        ("/(?:a*)*", "no other repetition"),
        ("/(?:a|a)+b", "no alternative"),
        ("/(?:[a-z]|[a-z])*b", "no alternative"),
        ("/(?:(?:a|b)c)+", "no alternative"),
        ("/(?:a?){30}", "no other repetition"),
        ("/.*.*.*x", "too many ways"),
        ("/.*.*[a-z]{99}x", "too many ways"),
        ("/" + "a?" * 30, "too many ways"),
        ("/" + "(?:a|a)" * 25, "too many ways"),
        # PCRE refuses it, and nginx with it the whole listener.
        ("/a{70000}", "more than 100 times"),
        ("/a{101}", "more than 100 times"),
        ("/(?:[ab][ab][ab][ab][ab][ab][ab][ab][ab][ab][ab]){100}", "more than 1000 characters"),
        ("/[.a.]", "write classes as"),
        ("/[=a=]", "write classes as"),
        ("/[..]", "write classes as"),
        ("/[a[.x.]]", "write classes as"),
        ("/[[:alpha:]]", "write classes as"),
        # Python and PCRE, or two versions of PCRE, read it differently.
        ("/[]a]", "write classes as"),
        ("/a{,3}", r"written \{"),
        ("/a{", r"written \{"),
        ("/a]", r"written \]"),
        ("/a++", "lazy"),
        ("/a*?", "lazy"),
        ("/a{1}{2}", "lazy"),
        (r"/\bfoo", r"\b is not known"),
        (r"/[\b]", r"\b is not known"),
        (r"/\1", r"\1 is not known"),
        ("/a\\", "is not known"),
        # It would capture, or look at more than the path.
        ("/(a)", "nothing is captured"),
        ("/(?=a)", "look-around"),
        ("/(?i:a)", "options"),
        ("/(?i)a", "options"),
        ("/(a+)+$", "nothing is captured"),
        ("/(*UTF)a", "nothing is captured"),
        # It is none.
        ("/[a", "write classes as"),
        ("/(?:a", "without its )"),
        ("/a)", "without its (?:"),
        ("/[z-a]", "not a regular expression"),
        ("/*+", "lazy"),
        ("/^*", "can't be repeated"),
        ("/" + "a" * 200, "at most 200"),
    ],
)
def test_the_others_are_refused_in_words(text, why):
    assert why in (objection(text) or "")


@given(st.text(alphabet=CHARACTERS, max_size=24))
def test_what_is_taken_is_an_expression_of_python(text):
    """The plan matches with it: it must compile, and capture nothing."""
    if objection(f"/{text}") is None:
        assert re.compile(f"/{text}", re.ASCII).groups == 0
