"""Which templates are in force: those with a text, or of which nginx has one. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from consul_nginx.model.template import OwnText
from consul_nginx.nginx.render import own_file
from consul_nginx.nginx.substitute import RefusedTexts


@dataclass(frozen=True, kw_only=True)
class Templates:
    """``in_force`` write their listeners; of the others mappings do, until there is a text.

    ``problems`` are those without a text at present. ``refused`` has what nginx refused without
    ever having taken another text of it, by listener or field, and why.
    """

    in_force: tuple[OwnText, ...]
    problems: tuple[OwnText, ...]
    refused: Mapping[str, str]


def chosen(
    *,
    own: Collection[OwnText],
    written: Collection[str],
    refused: RefusedTexts,
    proven: Collection[str],
) -> Templates:
    """``written`` and ``proven`` are names of files: of the bundle written last, and of the last
    one that nginx ran.

    A listener whose template never worked must not lose what it served before it had one.
    """
    hopeless = {
        one.use: f"{refused[file][one.text]}; without it, what nginx ran before is served on"
        for one in own
        if one.text is not None
        and one.text in refused.get(file := own_file(one.use.id), {})
        and file not in proven
    }
    return Templates(
        in_force=tuple(
            one
            for one in own
            if one.use not in hopeless and (one.text is not None or own_file(one.use.id) in written)
        ),
        problems=tuple(one for one in own if one.problem is not None),
        refused={use.listener or use.field: why for use, why in hopeless.items()},
    )
