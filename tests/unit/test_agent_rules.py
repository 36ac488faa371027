"""The agent's pure halves: what to do next, what to tell, what it is told."""

from __future__ import annotations

from dataclasses import replace

import pytest

from consul_nginx.agent import stub_status
from consul_nginx.agent.decisions import (
    Adopt,
    Idle,
    Load,
    Refusal,
    decide,
    worth_a_retry,
    worth_a_search,
)
from consul_nginx.agent.settings import Settings, SettingsError
from consul_nginx.agent.state import (
    Nginx,
    Rejection,
    Seen,
    Serving,
    State,
    Wanted,
    Worker,
    to_json,
)
from consul_nginx.backoff import Backoff

WANTED = Wanted(hash="new", structure="s", revision=2)
RUNS_NOTHING = Nginx(hash=None, master=None, workers=(), reloads=0, restarts=0)
RUNS_OLD = replace(RUNS_NOTHING, hash="old", master=12)
WITH_TEST = Load(test=True, reason="structure")
RUNS_NEW = replace(RUNS_OLD, hash="new")
FOR_EVER = Refusal(hash="new", master=12, retry_at=None)


@pytest.mark.parametrize(
    ("wanted", "nginx", "structure", "refusal", "action"),
    [
        (None, RUNS_OLD, "s", None, Idle()),
        (WANTED, None, None, None, Idle()),
        (WANTED, RUNS_NEW, "s", None, Adopt()),
        (WANTED, RUNS_NEW, "s", FOR_EVER, Adopt()),
        (WANTED, RUNS_OLD, "s", None, Load(test=False, reason="endpoints")),
        (WANTED, RUNS_OLD, "t", None, WITH_TEST),
        (WANTED, RUNS_OLD, None, None, WITH_TEST),
        (WANTED, RUNS_NOTHING, None, None, Load(test=True, reason="start")),
        (WANTED, RUNS_OLD, "s", FOR_EVER, Idle()),
        (WANTED, RUNS_OLD, "t", replace(FOR_EVER, retry_at=101.0), Idle()),
        (WANTED, RUNS_OLD, "t", replace(FOR_EVER, retry_at=99.0), WITH_TEST),
        (WANTED, RUNS_OLD, "t", replace(FOR_EVER, master=11), WITH_TEST),
        (WANTED, RUNS_OLD, "t", replace(FOR_EVER, hash="x"), WITH_TEST),
        (WANTED, RUNS_NOTHING, None, FOR_EVER, Idle()),
        (WANTED, RUNS_OLD, "s", replace(FOR_EVER, master=None), Idle()),
    ],
)  # fmt: skip
def test_what_to_do_next(
    wanted: Wanted | None,
    nginx: Nginx | None,
    structure: str | None,
    refusal: Refusal | None,
    action: object,
) -> None:
    decided = decide(wanted=wanted, nginx=nginx, structure=structure, refusal=refusal, now=100.0)
    assert decided == action


def rejection(stage: str, message: str = "") -> Rejection:
    return Rejection(hash="h", revision=1, stage=stage, message=message)  # type: ignore[arg-type]


def test_only_nginx_own_verdict_on_the_text_is_final() -> None:
    assert not worth_a_retry(rejection("test", "nginx: [emerg] unknown directive"))
    assert worth_a_retry(rejection("test", "nginx -t took longer than 30 s"))
    assert worth_a_retry(rejection("reload", "nginx: [emerg] still could not bind()"))


def test_files_are_looked_for_where_nginx_complained() -> None:
    assert worth_a_search(rejection("test", "nginx: [emerg] unknown directive"))
    assert worth_a_search(rejection("reload", "nginx: [emerg] still could not bind()"))
    assert not worth_a_search(rejection("test", "nginx -t took longer than 30 s"))
    assert not worth_a_search(rejection("verify", "after 15 s: no worker"))
    assert not worth_a_search(rejection("decode", "nginx: [emerg] in a ConfigMap"))


def test_status_before_anything() -> None:
    assert to_json(State(), configmap="edge-config") == {
        "configMap": "edge-config",
        "serving": None,
        "seen": None,
        "rejection": None,
        "nginx": None,
    }


def test_status_as_the_reference_shows_it() -> None:
    workers = tuple(Worker(pid=n, shutting_down=n > 2, generation=n) for n in (1, 2, 3))
    state = State(
        serving=Serving(hash="a", revision=1, since=1795330800.0),
        seen=Seen(hash="b", revision=2),
        rejection=replace(
            rejection("test", "nginx: [emerg] x in /r/http.conf:1"), files=("http.conf",)
        ),
        nginx=replace(RUNS_OLD, workers=workers, reloads=3),
    )
    assert to_json(state, configmap="edge-config") == {
        "configMap": "edge-config",
        "serving": {"hash": "a", "revision": 1, "since": "2026-11-22T07:00:00Z"},
        "seen": {"hash": "b", "revision": 2},
        "rejection": {
            "hash": "h",
            "revision": 1,
            "stage": "test",
            "message": "nginx: [emerg] x in /r/http.conf:1",
            "files": ["http.conf"],
        },
        "nginx": {"master": 12, "workers": 2, "shuttingDown": 1, "reloads": 3, "restarts": 0},
    }
    looking = to_json(State(rejection=rejection("test")), configmap="c")["rejection"]
    assert isinstance(looking, dict)
    assert looking["files"] is None
    assert state.nginx
    assert state.nginx.draining_generations == 1


def test_backoff_doubles_to_its_last_and_begins_again() -> None:
    backoff = Backoff(first=0.1, last=1.0, uniform=lambda _, high: high)
    assert [backoff.next() for _ in range(6)] == pytest.approx([0.1, 0.2, 0.4, 0.8, 1.0, 1.0])
    backoff.reset()
    assert backoff.next() == pytest.approx(0.1)
    for _ in range(5000):
        backoff.next()


def test_stub_status() -> None:
    text = (
        "HTTP/1.1 200 OK\r\n\r\nActive connections: 3 \nserver accepts handled requests\n"
        " 10 9 42 \nReading: 0 Writing: 1 Waiting: 2 \n"
    )
    assert stub_status.parse(text) == stub_status.Connections(
        active=3, accepted=10, handled=9, requests=42
    )
    assert stub_status.parse("HTTP/1.1 404 Not Found\r\n\r\n") is None


ENVIRON = {
    "CONFIGMAP_NAME": "edge-config",
    "POD_NAMESPACE": "web",
    "POD_NAME": "edge-1",
    "KUBERNETES_SERVICE_HOST": "10.0.0.1",
    "KUBERNETES_SERVICE_PORT": "6443",
}


def test_settings_from_what_the_kubelet_sets() -> None:
    settings = Settings.from_env(ENVIRON)
    assert settings.api_url == "https://10.0.0.1:6443"
    assert str(settings.token_file) == "/var/run/secrets/kubernetes.io/serviceaccount/token"
    assert (str(settings.root), settings.port) == ("/run/consul-nginx", 9901)


def test_settings_with_an_ipv6_service() -> None:
    settings = Settings.from_env({**ENVIRON, "KUBERNETES_SERVICE_HOST": "fd00::1"})
    assert settings.api_url == "https://[fd00::1]:6443"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"CONFIGMAP_NAME": ""}, "CONFIGMAP_NAME is not set"),
        ({"CONFIGMAP_NAME": "../x"}, "CONFIGMAP_NAME='../x' is not a Kubernetes name"),
        ({"POD_NAMESPACE": "web\n"}, "POD_NAMESPACE"),
        ({"KUBERNETES_SERVICE_HOST": ""}, "KUBERNETES_SERVICE_HOST is not set"),
        ({"AGENT_PORT": "8_0"}, "AGENT_PORT='8_0' is not a port"),
        ({"AGENT_PORT": "65536"}, "AGENT_PORT='65536' is not a port"),
    ],
)
def test_wrong_settings_name_the_variable(change: dict[str, str], words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        Settings.from_env({**ENVIRON, **change})
