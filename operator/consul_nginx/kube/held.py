"""What was known of a Consul service, as JSON: a part of ``<lb>-state``. Pure."""

from __future__ import annotations

from typing import Any

from consul_nginx.model.consul import Health, Instance, PodMark, Spell, Spells
from consul_nginx.model.history import Recollection


def write_held(held: Recollection) -> dict[str, Any]:
    """Instances as rows, each with its two spells where it has a history."""
    return {
        "at": held.at,
        "nearestFirst": held.nearest_first,
        "instances": [
            [
                [item.id, item.node, item.address, item.port, item.health, item.weight],
                [item.pod.cluster, item.pod.namespace, item.pod.uid],
                None
                if (spells := held.history.get(item.identity)) is None
                else [_spell_written(spells.passing), _spell_written(spells.bearable)],
            ]
            for item in held.instances
        ],
    }


def read_held(raw: Any) -> Recollection:
    """The same again; ``LookupError``, ``TypeError`` or ``ValueError`` when it is damaged."""
    instances, history = [], {}
    for (identity, node, address, port, health, weight), pod, spells in raw["instances"]:
        cluster, namespace, uid = map(str, pod)
        instance = Instance(
            id=str(identity),
            node=str(node),
            address=str(address),
            port=int(port),
            health=Health(health),
            weight=int(weight),
            pod=PodMark(cluster=cluster, namespace=namespace, uid=uid),
        )
        instances.append(instance)
        if spells is not None:
            passing, bearable = map(_spell_read, spells)
            history[instance.identity] = Spells(passing=passing, bearable=bearable)
    return Recollection(
        at=float(raw["at"]),
        instances=tuple(instances),
        history=history,
        nearest_first=bool(raw["nearestFirst"]),
    )


def _spell_written(spell: Spell | None) -> list[Any] | None:
    return None if spell is None else [spell.began, spell.ended, spell.returned]


def _spell_read(raw: Any) -> Spell | None:
    if raw is None:
        return None
    began, ended, returned = raw
    return Spell(
        began=None if began is None else float(began),
        ended=None if ended is None else float(ended),
        returned=bool(returned),
    )
