"""The process that renders users' templates: real ones, that do their worst."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from consul_nginx.nginx.own.environment import environment
from consul_nginx.sandbox.renderer import Renderer
from unit.own_templates import entry, key, rendered, service

INSTANCES = "{% for s in service('web') %}{{ s.Address }} {% endfor %}"


@pytest.fixture
async def renderer():
    made = Renderer(patience=60)
    yield made
    await made.close()


async def render(renderer, source, answers=None, prefixes=None):
    return await renderer.render(source=source, answers=answers or {}, prefixes=prefixes)


async def test_the_outcome_is_that_of_the_pure_function(renderer):
    answers = {**service("web", entry(), entry("10.244.1.6")), **key("a", "x y")}
    for source in (INSTANCES, "{{ key('a') }}", "{{ key('a') | nginx_quote }}", "{{ key('b') }}"):
        assert await render(renderer, source, answers) == rendered(source, answers)
    assert await render(renderer, "{{ key('a') }}", answers, ("b/",)) == rendered(
        "{{ key('a') }}", answers, prefixes=("b/",)
    )


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("\n{{ 'x' * 10 ** 9 }}", "memory"),
        ("\n{% set x = 'x' * 10 ** 9 %}", "memory"),
        ("\n{% set x = '%0999999999d' % 1 %}", "memory"),
        ("\n{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}", "CPU"),
    ],
)
async def test_a_template_that_takes_too_much_is_stopped_and_the_next_is_rendered(
    renderer, source, words
):
    outcome = await render(renderer, source)
    assert outcome.failure is not None
    assert outcome.failure.stopped
    assert words in outcome.failure.message
    assert (await render(renderer, "{{ 1 }}")).text == "1"


@pytest.mark.parametrize(
    "source",
    ["{{ 10 ** (10 ** 8) }}", "{{ ('a' * 40 ~ '!') | regex_match('^(a+)+$') }}"],
)
async def test_what_no_signal_interrupts_is_ended_all_the_same(source):
    """By its own limit or from outside, whichever comes first on a machine."""
    renderer = Renderer(patience=5)
    outcome = await render(renderer, source)
    assert outcome.failure is not None
    assert outcome.failure.stopped
    assert (await render(renderer, "{{ 1 }}")).text == "1"
    await renderer.close()


async def test_what_was_stopped_is_not_tried_again_at_once():
    now = [0.0]
    renderer = Renderer(patience=2, clock=lambda: now[0])
    first = await render(renderer, "{{ 10 ** (10 ** 8) }}")
    assert first.failure.stopped
    assert (await render(renderer, "{{ 10 ** (10 ** 8) }}")) is first
    now[0] = 61.0
    assert (await render(renderer, "{{ 10 ** (10 ** 8) }}")) is not first
    await renderer.close()


async def test_others_go_on_while_one_hangs():
    """The loop is free, and so is every template but those that wait for their turn."""
    renderer = Renderer(patience=2)
    hanging = asyncio.create_task(render(renderer, "{{ 10 ** (10 ** 8) }}"))
    turns = 0
    while not hanging.done():
        await asyncio.sleep(0.01)
        turns += 1
    assert turns > 20
    assert (await hanging).failure.stopped
    await renderer.close()


async def test_a_process_that_dies_is_begun_again(renderer):
    assert (await render(renderer, "{{ 1 }}")).text == "1"
    os.kill(renderer._process.pid, 9)
    await renderer._process.wait()
    assert (await render(renderer, "{{ 2 }}")).text == "2"


async def test_one_that_is_cancelled_does_not_answer_the_next(renderer):
    cancelled = asyncio.create_task(render(renderer, "{{ 10 ** (10 ** 8) }}"))
    while renderer._process is None:  # noqa: ASYNC110 - a test looks on
        await asyncio.sleep(0)
    cancelled.cancel()
    with pytest.raises(asyncio.CancelledError):
        await cancelled
    assert (await render(renderer, "{{ 3 }}")).text == "3"


async def test_the_process_has_no_environment_no_file_and_little_memory(renderer, monkeypatch):
    monkeypatch.setenv("CONSUL_NGINX_CONSUL_TOKEN", "a-secret")
    await render(renderer, "{{ 1 }}")
    about = Path("/proc") / str(renderer._process.pid)
    assert b"a-secret" not in (about / "environ").read_bytes()
    limits = {
        line[:26].strip(): line[26:].split()[0]
        for line in (about / "limits").read_text().splitlines()
    }
    assert limits["Max open files"] == "3"
    assert limits["Max processes"] == "0"
    assert limits["Max file size"] == "0"
    assert limits["Max address space"] == str(128 << 20)
    assert {link.name for link in (about / "fd").iterdir()} == {"0", "1", "2"}


@pytest.mark.parametrize("name", sorted(environment().filters))
async def test_no_filter_needs_a_file_that_can_not_be_opened_any_more(renderer, name):
    """Python imports some things when they are used first."""
    for value in ("'a b'", "[2, 1]", "{'a': 1}", "7"):
        source = f"{{% set x = ({value} | {name}) | string %}}"
        outcome = await render(renderer, source)
        assert (outcome.failure is None) == (rendered(source).failure is None), outcome.failure
