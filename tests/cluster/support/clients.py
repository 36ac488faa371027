"""Clients of the shop, all the time: orders through both layers, and TCP connections."""

from __future__ import annotations

import json
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cluster.support.shop import HOST
from cluster.support.tcp_traffic import tcp_traffic
from cluster.support.traffic import Traffic, traffic

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cluster.support.shop import Shop


@dataclass(frozen=True, kw_only=True)
class Sent:
    """``orders`` go to the front end, which asks the back end by HTTP and by TCP; kept connections.

    ``features`` ask the front end, ``thrift`` the back end by TCP, each on a connection of its own.
    """

    orders: Traffic
    features: Traffic
    thrift: Traffic

    def all(self) -> tuple[Traffic, Traffic, Traffic]:
        """Everything that was sent."""
        return self.orders, self.features, self.thrift

    def assert_nothing_failed(self) -> None:
        """Raise an AssertionError that names the failures."""
        for sent in self.all():
            assert not sent.failures, sent.explain()
            assert sent.requests > 0


@contextmanager
def clients(shop: Shop) -> Iterator[Sent]:
    """Send while the context lasts.

    Orders are POSTs: what was sent to one instance, nginx sends to no other.
    """
    address, thrift = shop.address, shop.thrift_address
    with (
        traffic(address=address, host=HOST, path="/orders", method="POST", rate=40) as orders,
        traffic(address=address, host=HOST, rate=40, keep=False) as features,
        tcp_traffic(addresses=[thrift], rate=60, name_of=pod_of) as connections,
    ):
        yield Sent(orders=orders, features=features, thrift=connections)


def pod_of(line: bytes) -> str:
    """Who answered, by test-server's line."""
    return str(json.loads(line)["pod"])
