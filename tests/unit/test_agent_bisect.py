"""The search for the files to blame, against oracles instead of nginx."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consul_nginx.agent.bisect import Verdict, changed, holders, named, search, trial

Oracle = Callable[[frozenset[str]], Verdict]


def run(
    oracle: Oracle, *, suspects: list[str], said: tuple[str, ...] | None = ()
) -> tuple[frozenset[str], int]:
    """What is found, and after how many trials."""
    best, trials = frozenset[str](), 0
    steps = search(suspects=suspects, named=said)
    exchanged = next(steps, None)
    while exchanged is not None:
        trials += 1
        verdict = oracle(exchanged)
        if verdict.passes and exchanged and (not best or len(exchanged) < len(best)):
            best = exchanged
        try:
            exchanged = steps.send(verdict)
        except StopIteration:
            break
    return best, trials


FILES = [f"f{number}.conf" for number in range(60)]


def silent(culprits: frozenset[str]) -> Oracle:
    """An nginx that names nothing: fails while a culprit is in."""
    return lambda exchanged: Verdict(passes=culprits <= exchanged)


def talkative(culprits: frozenset[str]) -> Oracle:
    """An nginx that names the first culprit it meets."""

    def verdict(exchanged: frozenset[str]) -> Verdict:
        left = sorted(culprits - exchanged)
        return Verdict(passes=not left, files=tuple(left[:1]))

    return verdict


some = st.frozensets(st.sampled_from(FILES), min_size=1, max_size=4)


@given(some)
def test_silent_culprits_are_found_and_nobody_else(culprits: frozenset[str]) -> None:
    assert run(silent(culprits), suspects=FILES)[0] == culprits


@given(some)
def test_named_culprits_are_found_one_by_one(culprits: frozenset[str]) -> None:
    found, _ = run(talkative(culprits), suspects=FILES, said=(min(culprits),))
    assert found == culprits


def test_a_named_culprit_takes_one_trial_and_a_silent_one_few() -> None:
    many = [f"f{number}.conf" for number in range(1000)]
    culprit = frozenset({"f700.conf"})
    assert run(talkative(culprit), suspects=many, said=("f700.conf",)) == (culprit, 1)
    found, trials = run(silent(culprit), suspects=many)
    assert found == culprit
    assert trials <= 22


def test_who_was_named_wrongly_is_not_blamed() -> None:
    """An upstream without a server is noticed where the upstream ends, in another file."""
    culprit = frozenset({"f7.conf"})
    assert run(silent(culprit), suspects=FILES, said=("f3.conf", "not-changed.conf"))[0] == culprit


def test_files_that_need_each_other_are_exchanged_together() -> None:
    """A listener that refers to an upstream which only the refused bundle has."""
    pair = frozenset({"f1.conf", "f2.conf"})

    def oracle(exchanged: frozenset[str]) -> Verdict:
        return Verdict(passes="f1.conf" in exchanged and (pair <= exchanged))

    assert run(oracle, suspects=FILES)[0] == pair


def test_when_nothing_helps_nobody_is_blamed() -> None:
    found, trials = run(lambda _: Verdict(passes=False), suspects=FILES, said=("f1.conf",))
    assert (found, trials) == (frozenset(), 2)
    assert run(lambda _: Verdict(passes=True), suspects=[]) == (frozenset(), 0)


def test_what_passes_by_itself_is_no_files_fault() -> None:
    assert run(lambda _: Verdict(passes=True), suspects=FILES, said=None) == (frozenset(), 1)
    culprit = frozenset({"f9.conf"})
    assert run(talkative(culprit), suspects=FILES, said=None) == (culprit, 2)


@given(st.sampled_from(FILES), st.lists(st.booleans(), min_size=200, max_size=200))
def test_a_search_ends_whatever_the_verdicts(name: str, verdicts: list[bool]) -> None:
    left = iter(verdicts)
    run(lambda _: Verdict(passes=next(left, True)), suspects=FILES, said=(name,))


def test_only_what_changed_is_suspect() -> None:
    good = {"nginx.conf": "1", "a.conf": "1", "old.conf": "1", "hash.conf": "1"}
    refused = {"nginx.conf": "2", "a.conf": "1", "new.conf": "1", "hash.conf": "2"}
    assert changed(refused=refused, good=good) == ["new.conf", "nginx.conf"]
    assert changed(refused=refused, good={}) == ["a.conf", "new.conf"]


def test_a_trial_is_the_refused_bundle_with_some_files_exchanged() -> None:
    good = {"nginx.conf": "good", "a.conf": "good", "old.conf": "good"}
    refused = {"nginx.conf": "bad", "a.conf": "bad", "b.conf": "bad", "endpoints-x.conf": "bad"}
    found = trial(
        refused=refused, good=good, exchanged=["nginx.conf", "b.conf", "endpoints-x.conf"]
    )
    assert found == {
        "nginx.conf": "good",
        "a.conf": "bad",
        "old.conf": "good",  # the good main file may include it
        "b.conf": "",
        "endpoints-x.conf": "server 127.0.0.1:1 down;\n",
    }


@pytest.mark.parametrize(
    ("message", "files"),
    [
        ("nginx: [emerg] unknown directive in /run/generated/abc/http.conf:3", ("http.conf",)),
        ("x in a.conf:1\ny in /r/b.conf:2\nz in /q/a.conf:9", ("a.conf", "b.conf")),
        ("in /run/../x.CONF:3 in /run/passwd:1", ()),
        ("nginx: [emerg] still could not bind()", ()),
    ],
)
def test_files_are_found_in_nginx_words(message: str, files: tuple[str, ...]) -> None:
    assert named(message) == files


IN_USE = "nginx: [emerg] bind() to {} failed (98: Address already in use)"


@pytest.mark.parametrize(
    ("message", "files"),
    [
        (IN_USE.format("0.0.0.0:80"), ("listener-a.conf", "listener-star.conf")),
        (IN_USE.format("0.0.0.0:8"), ()),
        (IN_USE.format("10.0.0.1:53"), ("listener-b.conf",)),
        (IN_USE.format("10.0.0.2:80"), ("listener-c.conf",)),
        (IN_USE.format("[::]:443"), ("listener-v6.conf",)),
        (IN_USE.format("[::1]:80"), ("listener-v6.conf",)),
        (IN_USE.format("unix:/run/x.sock"), ("listener-unix.conf",)),
        (
            "nginx: [emerg] listen() to 0.0.0.0:80, backlog 511 failed (98: Address in use)",
            ("listener-a.conf", "listener-star.conf"),
        ),
        (
            f"{IN_USE.format('10.0.0.1:53')}\nnginx: [emerg] still could not bind()",
            ("listener-b.conf",),
        ),
        (
            'nginx: [emerg] limit_req "z.1" uses the "$uri" key while previously it used "$host"',
            ("zone-a.conf",),
        ),
        (
            'nginx: [emerg] cache "k" uses the "/a" cache path while previously it used "/b"',
            ("zone-b.conf",),
        ),
        ("nginx: [emerg] something else", ()),
    ],
)
def test_who_has_a_port_or_a_zone(message: str, files: tuple[str, ...]) -> None:
    found = holders(
        message,
        {
            "listener-a.conf": "server {\n    listen 80 default_server;\n}\n",
            "listener-b.conf": "server { \n  listen  10.0.0.1:53 udp reuseport;\n listen 81;\n}",
            "listener-c.conf": "server { server_name x; listen 10.0.0.2; }",
            "listener-star.conf": "listen *:80;",
            "listener-unix.conf": "listen unix:/run/x.sock;",
            "listener-v6.conf": "listen [::]:443 ssl;\nlisten [::1];",
            "upstreams.conf": "# listen 80\nserver 0.0.0.0:80;",
            "zone-a.conf": "limit_req_zone $uri zone=z.1:1m rate=9r/s;",
            "zone-b.conf": "proxy_cache_path /a keys_zone=k:1m;",
            "zone-c.conf": "limit_req_zone $uri zone=z11:1m rate=9r/s;\nlimit_req zone=z.1;",
        },
    )
    assert found == files
