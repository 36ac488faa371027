"""What a Pod's author is told: few reasons, and messages that name key, value and the way out."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum

from consul_nginx.model.registration import PodWarning

MAX_WARNINGS = 20

_MAX_SHOWN = 60
_MAX_LISTED = 5


class Reason(StrEnum):
    """Every reason of a warning; metrics count by it."""

    meaning: str
    refuses: bool

    def __new__(cls, value: str, meaning: str = "", refuses: bool = False) -> Reason:
        """A reason, what it means, and whether it costs a port its registration."""
        member = str.__new__(cls, value)
        member._value_ = value
        member.meaning = meaning
        member.refuses = refuses
        return member

    INVALID_VALUE = "InvalidValue", "a value can't be used", True
    CONFLICTING_KEYS = "ConflictingKeys", "a key stands there twice, with different values", True
    NOT_ALLOWED = "NotAllowed", "the operator's settings don't allow that name, ID or address", True
    NOT_SUPPORTED = (
        "NotSupported",
        "nothing is registered into a namespace or a partition of Consul Enterprise",
        True,
    )
    TOO_MANY_KEYS = "TooManyKeys", "too many keys apply to one port", True
    TOO_MANY_PORTS = "TooManyPorts", "the Pod offers more ports than are registered", True
    NO_PORTS = "NoPorts", "the Pod declares no port and `SERVICE_PORT` names none", True
    NO_ADDRESS = "NoAddress", "the Pod has no address of the family that is registered", True
    DUPLICATE_ID = "DuplicateID", "another port of the Pod has that ID", True
    ID_TAKEN = "IDTaken", "an older Pod of the node, or somebody else in Consul, has that ID", True
    REFUSED_BY_CONSUL = (
        "RefusedByConsul",
        "Consul does not take it; the message has its words",
        True,
    )
    ID_CHANGED = "IDChanged", "an ID would not be unique, and is registered with an addition"
    KEY_UNUSED = "KeyUnused", "a key means nothing here: no such port, check or option"
    META_DROPPED = "MetaDropped", "Consul or the operator does not take a pair of Meta"
    UNKNOWN_VARIABLE = "UnknownVariable", "`$(…)` has no value here and stays as it is"
    FALSE_MEANS_TRUE = "FalseMeansTrue", "any value that is not empty switches on, `false` too"
    CHECK_NOT_RUN = "CheckNotRun", "nothing runs that check; the Pod's readiness decides"
    SAME_PORT = "SamePort", "several ports are registered as the same one"
    MORE_WARNINGS = "MoreWarnings", f"there are more than {MAX_WARNINGS} warnings"


class Refused(Exception):  # noqa: N818 - a verdict on a port, not an error of the program
    """A port is not registered."""

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class Warnings:
    """Collects what is to be said about one Pod, each thing once."""

    def __init__(self) -> None:
        self._ports: dict[tuple[Reason, str], list[str]] = {}

    def add(self, reason: Reason, message: str) -> None:
        """Something that costs no registration."""
        self._ports.setdefault((reason, message), [])

    @contextmanager
    def refusals(self, port: str) -> Iterator[None]:
        """Take down what refuses ``port``, and go on behind the block; empty: no single port."""
        try:
            yield
        except Refused as refused:
            self._ports.setdefault((refused.reason, str(refused)), []).append(port)

    def all(self, *, at_most: int | None) -> tuple[PodWarning, ...]:
        """What was collected: first what costs registrations; None: everything."""
        found = [
            PodWarning(reason=reason.value, message=message + _not_registered(ports))
            for (reason, message), ports in sorted(
                self._ports.items(), key=lambda item: not item[0][0].refuses
            )
        ]
        if at_most is None or len(found) <= at_most:
            return tuple(found)
        more = f"… and {len(found) - at_most} more"
        return (
            *found[:at_most],
            PodWarning(reason=Reason.MORE_WARNINGS.value, message=more),
        )


def costs_registration(warning: PodWarning) -> bool:
    """Whether something is not registered because of what the warning tells."""
    return Reason(warning.reason).refuses


def invalid(key: str, value: str, way_out: str) -> Refused:
    """A value that can't be used, and what can."""
    return Refused(Reason.INVALID_VALUE, f"{shown_key(key)}: {shown(value)}: {way_out}")


def shown(text: str) -> str:
    """A stranger's text for people: short, on one line, and nothing but ASCII."""
    return ascii(text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]}...")


def shown_key(key: str) -> str:
    """A key for people: as it is written, unless that is no key that Kubernetes takes."""
    ordinary = re.fullmatch(r"[A-Za-z0-9_./-]{1,120}", key, re.ASCII)
    return key if ordinary else shown(key)


def listed(words: list[str]) -> str:
    """The first of many."""
    more = len(words) - _MAX_LISTED
    return ", ".join(words[:_MAX_LISTED]) + (f" and {more} more" if more > 0 else "")


def _not_registered(ports: list[str]) -> str:
    if not any(ports):
        return ""
    return (
        f"; port {ports[0]} is not registered"
        if len(ports) == 1
        else f"; ports {listed(ports)} are not registered"
    )
