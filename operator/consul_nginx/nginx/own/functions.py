"""The functions of a user's own template, named as consul-template's users know them.

Each asks for an answer and notes that it did. What has not been answered looks empty to the
template; the text is not used then, and the template is rendered again with more answers.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from consul_nginx.model.consul import Health
from consul_nginx.model.facts import (
    DatacentersQuery,
    InstancesQuery,
    KeyQuery,
    NodesQuery,
    Question,
    ServicesQuery,
    TreeQuery,
)
from consul_nginx.model.names import MAX_SERVICE_NAME, SERVICE_NAME, is_tag
from consul_nginx.nginx.own.outcome import Answers

MAX_QUESTIONS = 1000
MAX_KEY = 512

_DATACENTER = re.compile(r"[A-Za-z0-9_-]{1,64}", re.ASCII)
_SERVICE = re.compile(
    r"((?P<tag>[^.@~|?]+)\.)?(?P<name>[^.@~|?]*)(@(?P<datacenter>[^~|]*))?(\|(?P<health>.*))?",
    re.ASCII,
)
_STATES = tuple(state.value for state in Health if state is not Health.MALFORMED)


class UsageError(ValueError):
    """A function was called with what it can't take; the message says what it takes."""


class TooManyError(UsageError):
    """It asks too much, whatever the answers are."""


@dataclass(kw_only=True)
class Functions:
    """The functions for one rendering, and what they were asked.

    ``prefixes`` are the folders of the KV store that may be read; None: all of it.
    """

    answers: Answers
    prefixes: tuple[str, ...] | None
    asked: set[Question] = field(default_factory=set)
    unanswered: set[Question] = field(default_factory=set)
    absent: set[Question] = field(default_factory=set)

    def named(self) -> Mapping[str, Callable[..., Any]]:
        """What a template can call, by name."""
        return {
            "service": self.service,
            "services": self.services,
            "nodes": self.nodes,
            "datacenters": self.datacenters,
            "key": self.key,
            "key_exists": self.key_exists,
            "key_or_default": self.key_or_default,
            "ls": self.ls,
            "safe_ls": self.safe_ls,
            "tree": self.tree,
            "safe_tree": self.safe_tree,
        }

    def service(
        self,
        query: str = "",
        *,
        name: str = "",
        tags: Any = (),
        datacenter: str = "",
        health: str = "",
    ) -> list[Any]:
        """Instances. ``query`` is ``TAG.NAME@DATACENTER|HEALTH``, of which NAME is needed."""
        if bool(query) == bool(name):
            raise UsageError("service() takes one of 'TAG.NAME@DATACENTER|HEALTH' and name=")
        if query:
            found = _SERVICE.fullmatch(_text(query, "service()"))
            if found is None:
                raise UsageError(
                    f"service({_shown(query)}): not TAG.NAME@DATACENTER|HEALTH; a name with dots "
                    "goes into name=, and ~NEAR is not offered"
                )
            name = found["name"]
            tags = (found["tag"],) if found["tag"] else tags
            datacenter = found["datacenter"] or datacenter
            health = found["health"] or health
        wanted = (tags,) if isinstance(tags, str) else tuple(tags)
        if len(name) > MAX_SERVICE_NAME or not re.fullmatch(SERVICE_NAME, name, re.ASCII):
            raise UsageError(f"service({_shown(name)}): not a service's name")
        for tag in wanted:
            if not isinstance(tag, str) or not is_tag(tag):
                raise UsageError(f"service(): {_shown(tag)}: not a tag")
        states = _states(health)
        entries: list[Any] = self._ask(
            InstancesQuery(service=name, tags=wanted, datacenter=_datacenter(datacenter))
        )
        return [entry for entry in entries if entry["Status"] in states]

    def services(self, query: str = "", *, datacenter: str = "") -> list[Any]:
        """Names and tags of all services. ``query`` is ``@DATACENTER``."""
        return self._ask(ServicesQuery(datacenter=_at(query, "services()") or datacenter))

    def nodes(self, query: str = "", *, datacenter: str = "") -> list[Any]:
        """All nodes. ``query`` is ``@DATACENTER``."""
        return self._ask(NodesQuery(datacenter=_at(query, "nodes()") or datacenter))

    def datacenters(self) -> list[Any]:
        """Names of all datacenters."""
        return self._ask(DatacentersQuery())

    def key(self, query: str) -> str:
        """The value of a key. The template waits until there is one."""
        found = self._key(query)
        if found is None:
            self._wait_for(self._key_query(query))
            return ""
        return found

    def key_exists(self, query: str) -> bool:
        """Whether there is such a key."""
        return self._key(query) is not None

    def key_or_default(self, query: str, default: Any) -> Any:
        """The value of a key, or ``default`` when there is no such key."""
        found = self._key(query)
        return default if found is None else found

    def ls(self, query: str) -> list[Any]:
        """Keys of a folder with their values, without those of the folders in it."""
        return [pair for pair in self.tree(query) if "/" not in pair["Key"]]

    def safe_ls(self, query: str) -> list[Any]:
        """The same; the template waits until there is one."""
        found = self.ls(query)
        if not found:
            self._wait_for(self._tree_query(query))
        return found

    def tree(self, query: str) -> list[Any]:
        """Keys of a folder, and of those in it, with their values."""
        wanted = self._tree_query(query)
        return [
            {**pair, "Path": pair["Key"], "Key": pair["Key"].removeprefix(wanted.prefix)}
            for pair in self._ask(wanted)
            if not pair["Key"].endswith("/")
        ]

    def safe_tree(self, query: str) -> list[Any]:
        """The same; the template waits until there is one."""
        found = self.tree(query)
        if not found:
            self._wait_for(self._tree_query(query))
        return found

    def _key(self, query: str) -> str | None:
        found: list[Any] = self._ask(self._key_query(query))
        return found[0]["Value"] if found else None

    def _key_query(self, query: str) -> KeyQuery:
        key, datacenter = _path(query, "key()")
        if not key or key.endswith("/"):
            raise UsageError(f"key({_shown(query)}): that is no key")
        self._may_read(key)
        return KeyQuery(key=key, datacenter=datacenter)

    def _tree_query(self, query: str) -> TreeQuery:
        folder, datacenter = _path(query, "ls() and tree()")
        prefix = f"{folder.rstrip('/')}/" if folder else ""
        self._may_read(prefix)
        return TreeQuery(prefix=prefix, datacenter=datacenter)

    def _may_read(self, key: str) -> None:
        if self.prefixes is None or any(key.startswith(prefix) for prefix in self.prefixes):
            return
        allowed = ", ".join(self.prefixes) or "none"
        raise UsageError(
            f"{_shown(key or '/')}: the operator's policy does not let templates of this namespace "
            f"read it; it allows what begins with: {allowed} (chart: policy.templates)"
        )

    def _ask(self, query: Question) -> list[Any]:
        if query not in self.asked and len(self.asked) == MAX_QUESTIONS:
            raise TooManyError(f"it asks Consul more than {MAX_QUESTIONS} different questions")
        self.asked.add(query)
        if query not in self.answers:
            self.unanswered.add(query)
            return []
        return self.answers[query]

    def _wait_for(self, query: Question) -> None:
        if query in self.answers:
            self.absent.add(query)


def _states(health: str) -> tuple[str, ...]:
    """Health that counts; passing by default."""
    if health == "any":
        return _STATES
    states = tuple(word.strip() for word in (health or "passing").split(","))
    for state in states:
        if state not in _STATES:
            raise UsageError(
                f"service(): {_shown(state)}: not a health; there is any, {', '.join(_STATES)}"
            )
    return states


def _at(query: str, function: str) -> str:
    """Datacenter in ``@DATACENTER``."""
    text = _text(query, function)
    if text and not text.startswith("@"):
        raise UsageError(f"{function}: {_shown(text)}: not @DATACENTER")
    return _datacenter(text[1:])


def _path(query: str, function: str) -> tuple[str, str]:
    """Path, without a slash at its begin, and datacenter in ``PATH@DATACENTER``."""
    path, _, datacenter = _text(query, function).partition("@")
    path = path.removeprefix("/")
    segments = path.removesuffix("/").split("/") if path else []
    if len(path) > MAX_KEY or not path.isprintable() or {"", ".", ".."} & set(segments):
        raise UsageError(
            f"{function}: {_shown(path)}: not a path of the KV store; at most {MAX_KEY} printable "
            "characters, and no empty part, . or .."
        )
    return path, _datacenter(datacenter)


def _datacenter(name: str) -> str:
    if name and not _DATACENTER.fullmatch(name):
        raise UsageError(f"{_shown(name)}: not a datacenter's name")
    return name


def _text(value: object, function: str) -> str:
    if not isinstance(value, str):
        raise UsageError(f"{function} takes a text, and not {_shown(value)}")
    return value


def _shown(value: object) -> str:
    return ascii(value[:60] if isinstance(value, str) else type(value).__name__)
