"""Which of a backend's healthy instances are near enough. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType

from consul_nginx.plan.survey import Candidate

# How many instances are wanted of a backend, by its position among the group's.
Nearest = Mapping[int, int]

EVERYBODY: Nearest = MappingProxyType({})


def nearest_of(candidates: Iterable[Candidate], *, nearest: Nearest) -> list[Candidate]:
    """The first candidates of each backend in ``nearest``, and all of the others.

    What is registered twice counts once.
    """
    near: dict[int, set[tuple[int, str, int]]] = {}
    found = []
    for candidate in candidates:
        places = near.setdefault(candidate.backend, set())
        wanted = nearest.get(candidate.backend)
        if wanted is None or candidate.place in places or len(places) < wanted:
            places.add(candidate.place)
            found.append(candidate)
    return found
