"""The check that CHECK_* asks for: at most one, the first of an ordered table."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

from consul_nginx.model.registration import Check, Mode, RegistrationSettings
from consul_nginx.registrar.address import Endpoint
from consul_nginx.registrar.context import Context, Port
from consul_nginx.registrar.durations import duration
from consul_nginx.registrar.keys import Key, Values
from consul_nginx.registrar.scalars import truth
from consul_nginx.registrar.vocabulary import CHECK_PREFIX, WORDS
from consul_nginx.registrar.warnings import Reason, Warnings, invalid, shown, shown_key

DEFAULT_INTERVAL = "10s"
# Whoever refreshes a TTL check may be away for minutes; services must not turn critical for it.
LEAST_TTL = "10m"
# Consul takes no less.
LEAST_DEREGISTER_AFTER = "1m"
CRITICAL = "critical"
STATUSES = ("passing", "warning", CRITICAL)

MAX_PATH = 2048
MAX_HEADER = 4096

_PATH = re.compile(r"(?:[!-$&-~]|%[0-9A-Fa-f]{2})*", re.ASCII)
_TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,128}", re.ASCII)
_METHOD = re.compile(r"[A-Za-z]{1,16}", re.ASCII)

_ESM_RUNS = (
    "consul-esm runs checks by HTTP and TCP only, the Pod's readiness decides; "
    "registration.mode=agent in the chart's values has it run"
)
_NOT_RUN = (
    "nothing runs checks in mode catalog, the Pod's readiness decides; registration.mode=agent, or "
    "registration.esm=true with consul-esm, in the chart's values has them run"
)

_Definition = dict[str, Any]
_Kind = Callable[[Key, Values, Endpoint, Warnings], _Definition | None]


def check_of(port: Port, endpoint: Endpoint, context: Context) -> Check | None:
    """The first of CHECK_HTTP, _HTTPS, _CMD, _SCRIPT, _TTL, _TCP, _GRPC that has a value.

    None: the Pod's readiness alone decides. Raises ``Refused``.
    """
    values, warnings = port.values, context.warnings
    _warn_of_unknown(values, warnings)
    for word, kind in _KINDS.items():
        key = values.given(word)
        if key is None:
            continue
        definition = kind(key, values, endpoint, warnings)
        if definition is None:
            return None
        check = Check(
            definition={**definition, **_deregistration(values)}, initial_status=_status(values)
        )
        if check.ttl is None and not _is_run(check, context.settings):
            why = _ESM_RUNS if context.settings.esm else _NOT_RUN
            warnings.add(Reason.CHECK_NOT_RUN, f"{shown_key(key.written)}: {why}")
        return check
    _warn_of_options(values, warnings)
    return None


def written_checks(check: Check | None, context: Context) -> frozenset[str]:
    """Fingerprint of the check, if it is written: if there is somebody to run it."""
    if check is None:
        return frozenset()
    written = frozenset({check.fingerprint})
    if context.settings.mode is Mode.AGENT:
        # Before the Pod is ready, another initial status than critical would be untrue.
        early = not context.pod.ready and check.ttl is None and check.initial_status != CRITICAL
        return frozenset() if early else written
    return written if check.ttl is None and _is_run(check, context.settings) else frozenset()


def _is_run(check: Check, settings: RegistrationSettings) -> bool:
    """Whether somebody runs it: an agent every kind, consul-esm what it knows (its README)."""
    if settings.mode is Mode.AGENT:
        return True
    return settings.esm and not check.definition.keys().isdisjoint(("HTTP", "TCP"))


def _http(key: Key, values: Values, endpoint: Endpoint, _: Warnings) -> _Definition:
    return {
        "HTTP": f"http://{endpoint}{_path(key)}",
        **_method(values, "check_http_method"),
        **_header(values),
        **_times(values),
    }


def _https(key: Key, values: Values, endpoint: Endpoint, _: Warnings) -> _Definition:
    return {
        "HTTP": f"https://{endpoint}{_path(key)}",
        **_method(values, "check_https_method"),
        **_header(values),
        **_skip_verify(values),
        **_times(values),
    }


def _command(key: Key, _values: Values, _endpoint: Endpoint, warnings: Warnings) -> None:
    warnings.add(
        Reason.CHECK_NOT_RUN,
        f"{shown_key(key.written)}: {shown(key.value)}: no command is run, the Pod's readiness "
        "decides; make it the container's readinessProbe, or write CHECK_HTTP, CHECK_TCP or "
        "CHECK_GRPC",
    )


def _ttl(key: Key, _values: Values, _endpoint: Endpoint, _: Warnings) -> _Definition:
    return {"TTL": duration(key, at_least=LEAST_TTL)}


def _tcp(key: Key, values: Values, endpoint: Endpoint, warnings: Warnings) -> _Definition:
    _warn_of_false(key, warnings)
    return {"TCP": str(endpoint), **_times(values)}


def _grpc(key: Key, values: Values, endpoint: Endpoint, warnings: Warnings) -> _Definition:
    _warn_of_false(key, warnings)
    tls = truth(values, "check_grpc_use_tls")
    return {
        "GRPC": str(endpoint),
        **({"GRPCUseTLS": True, **_skip_verify(values)} if tls else {}),
        **_times(values),
    }


_KINDS: dict[str, _Kind] = {
    "check_http": _http,
    "check_https": _https,
    "check_cmd": _command,
    "check_script": _command,
    "check_ttl": _ttl,
    "check_tcp": _tcp,
    "check_grpc": _grpc,
}


def _path(key: Key) -> str:
    if len(key.value) > MAX_PATH or not _PATH.fullmatch(key.value):
        raise invalid(
            key.written,
            key.value,
            f"not a path: ASCII without spaces, % only before two hexadecimal digits, at most "
            f"{MAX_PATH} characters",
        )
    return key.value if key.value.startswith("/") else f"/{key.value}"


def _method(values: Values, word: str) -> _Definition:
    key = values.given(word)
    if key is None:
        return {}
    if not _METHOD.fullmatch(key.value):
        raise invalid(key.written, key.value, "not an HTTP method; write one such as HEAD")
    return {"Method": key.value.upper()}


def _header(values: Values) -> _Definition:
    key = values.given("check_header")
    if key is None:
        return {}
    wrong = invalid(
        key.written,
        key.value,
        'not headers; write a JSON object such as {"Host": "shop.example.com"}, at most '
        f"{MAX_HEADER} characters",
    )
    if len(key.value) > MAX_HEADER:
        raise wrong
    try:
        found = json.loads(key.value)
    except (ValueError, RecursionError) as error:
        raise wrong from error
    if not isinstance(found, dict):
        raise wrong
    headers = {name: [value] if isinstance(value, str) else value for name, value in found.items()}
    if not all(_TOKEN.fullmatch(name) and _are_texts(texts) for name, texts in headers.items()):
        raise wrong
    return {"Header": headers} if headers else {}


def _are_texts(values: object) -> bool:
    return isinstance(values, list) and all(
        isinstance(value, str) and value.isprintable() for value in values
    )


def _skip_verify(values: Values) -> _Definition:
    return {"TLSSkipVerify": True} if truth(values, "check_tls_skip_verify") else {}


def _times(values: Values) -> _Definition:
    interval, timeout = values.given("check_interval"), values.given("check_timeout")
    return {
        "Interval": DEFAULT_INTERVAL if interval is None else duration(interval),
        **({} if timeout is None else {"Timeout": duration(timeout)}),
    }


def _deregistration(values: Values) -> _Definition:
    key = values.given("check_deregister_after")
    if key is None:
        return {}
    return {"DeregisterCriticalServiceAfter": duration(key, at_least=LEAST_DEREGISTER_AFTER)}


def _status(values: Values) -> str:
    key = values.given("check_initial_status")
    if key is None:
        return CRITICAL
    if key.value not in STATUSES:
        raise invalid(key.written, key.value, f"not one of {', '.join(STATUSES)}")
    return key.value


def _warn_of_false(key: Key, warnings: Warnings) -> None:
    if key.value.lower() == "false":
        warnings.add(
            Reason.FALSE_MEANS_TRUE,
            f"{shown_key(key.written)}: {shown(key.value)}: any value switches the check on; "
            "leave it empty to switch it off",
        )


def _warn_of_unknown(values: Values, warnings: Warnings) -> None:
    for word in sorted(values.by_word.keys() - WORDS):
        if word.startswith(CHECK_PREFIX):
            key = values.by_word[word]
            warnings.add(
                Reason.KEY_UNUSED,
                f"{shown_key(key.written)}: {shown(key.value)}: there is no such CHECK_ key",
            )


def _warn_of_options(values: Values, warnings: Warnings) -> None:
    """Options without a check; when a check was switched off for this port, that is meant."""
    if _KINDS.keys() & values.by_word.keys():
        return
    for word in sorted(WORDS & values.by_word.keys()):
        key = values.by_word[word]
        if word.startswith(CHECK_PREFIX) and key.value:
            warnings.add(
                Reason.KEY_UNUSED,
                f"{shown_key(key.written)}: {shown(key.value)}: it makes no check; add one such "
                "as CHECK_HTTP or CHECK_TCP",
            )
