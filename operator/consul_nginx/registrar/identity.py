"""IDs: what Consul tells registrations apart by. Two that are equal would lose an instance."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from consul_nginx.registrar.context import Context, Port
from consul_nginx.registrar.keys import Key
from consul_nginx.registrar.offers import UDP, Offer
from consul_nginx.registrar.warnings import Reason, Refused, invalid, shown, shown_key

MAX_LENGTH = 253

# IDs become parts of URL paths.
_ID = re.compile(r"[A-Za-z0-9._:/@+=~-]+", re.ASCII)
_WAY_OUT = (
    f"not an ID: letters, digits and ._:/@+=~-, at most {MAX_LENGTH} characters, and no part "
    "between slashes empty, . or .."
)


def service_ids(ports: tuple[Port, ...], context: Context) -> Mapping[Offer, str]:
    """IDs of the ports of one Pod; a port that can't have one is refused, and missing here.

    Default IDs come first, then a generic ID, then those of single ports: no key for one port can
    change another's. Among equals the first port keeps it.
    """
    taken: dict[str, Offer] = {}
    wishes = sorted(_wishes(ports, context), key=lambda wish: wish.rank)
    for wish in wishes:
        with context.warnings.refusals(str(wish.offer)):
            taken[_free(wish, taken, context)] = wish.offer
    return {offer: identity for identity, offer in taken.items()}


@dataclass(frozen=True, kw_only=True)
class _Wish:
    """The ID that a port asks for; ``tail`` is what tells Pods of one template apart."""

    offer: Offer
    key: Key | None
    text: str
    tail: str = ""
    rank: int = 0


def _wishes(ports: tuple[Port, ...], context: Context) -> Iterator[_Wish]:
    pod = context.pod
    for port in ports:
        key = port.values.given("id")
        if key is None:
            text = f"{context.settings.cluster}:{pod.ref}:{_port(port.offer)}"
            yield _Wish(offer=port.offer, key=None, text=text)
            continue
        with context.warnings.refusals(str(port.offer)):
            text = context.expand(key.value, key=key)
            if not _is_id(text):
                raise invalid(key.written, key.value, _WAY_OUT)
            _must_be_nobodys_default(text, key, context)
            own = any(f"$({name})" in key.value for name in ("POD_NAME", "POD_ORDINAL"))
            yield _Wish(
                offer=port.offer,
                key=key,
                text=text,
                tail=f"-{pod.ref.name}" if pod.controlled and not own else "",
                rank=2 if port.values.is_scoped("id") else 1,
            )


def _must_be_nobodys_default(text: str, key: Key, context: Context) -> None:
    """The older of two Pods keeps an ID: it must not be the default of another team's Pod."""
    cluster, namespace = context.settings.cluster, context.pod.ref.namespace
    if text.startswith(f"{cluster}:") and not text.startswith(f"{cluster}:{namespace}/"):
        raise Refused(
            Reason.NOT_ALLOWED,
            f"{shown_key(key.written)}: {shown(text)}: IDs that begin with {cluster}: are those of "
            f"Pods without SERVICE_ID; begin with {cluster}:{namespace}/ or otherwise",
        )


def _free(wish: _Wish, taken: Mapping[str, Offer], context: Context) -> str:
    """The ID, or one that no other port has; raises ``Refused``."""
    written = f"{shown_key(wish.key.written)}: {shown(wish.text)}" if wish.key else "ID"
    if wish.tail:
        context.warnings.add(
            Reason.ID_CHANGED,
            f"{written}: {wish.tail} is appended, for other Pods of the same template have that "
            "ID too; write $(POD_NAME) into it yourself, or leave it out",
        )
    identity = f"{wish.text}{wish.tail}"
    if identity not in taken:
        return identity
    other, suffix = taken[identity], f"-{_port(wish.offer)}"
    identity = f"{wish.text}{suffix}{wish.tail}"
    if identity in taken:
        raise Refused(
            Reason.DUPLICATE_ID,
            f"{written}: port {taken[identity]} has the ID {identity}; choose another",
        )
    context.warnings.add(
        Reason.ID_CHANGED,
        f"{written}: {suffix} is appended for port {wish.offer}, for port {other} has that ID; "
        "write SERVICE_<port>_ID, or leave it out",
    )
    return identity


def _port(offer: Offer) -> str:
    return f"{offer.port}:udp" if offer.protocol == UDP else f"{offer.port}"


def _is_id(text: str) -> bool:
    return (
        len(text) <= MAX_LENGTH
        and _ID.fullmatch(text) is not None
        and not any(part in ("", ".", "..") for part in text.split("/"))
    )
