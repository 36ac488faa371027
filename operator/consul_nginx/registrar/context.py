"""What the making of one Pod's registrations needs everywhere."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from consul_nginx.model.registration import Pod, RegistrationSettings
from consul_nginx.registrar.keys import Key, Values
from consul_nginx.registrar.offers import Offer
from consul_nginx.registrar.variables import expanded
from consul_nginx.registrar.warnings import Warnings


@dataclass(frozen=True, kw_only=True)
class Context:
    """One Pod, the operator's settings, and what is to be said to the Pod's author."""

    pod: Pod
    settings: RegistrationSettings
    variables: Mapping[str, str]
    warnings: Warnings

    def expand(self, text: str, *, key: Key) -> str:
        """``text``, a part of ``key``'s value, with the Pod's own values for ``$(…)``."""
        return expanded(text, key=key, variables=self.variables, warnings=self.warnings)


@dataclass(frozen=True, kw_only=True)
class Port:
    """A port that is to be registered, and what holds for it.

    ``among_others``: the Pod offers other ports too, whether they are registered or not.
    """

    offer: Offer
    values: Values
    among_others: bool
