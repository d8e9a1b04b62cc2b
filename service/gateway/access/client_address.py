"""Find the client's address of a request that came through trusted proxies."""

import ipaddress
import re
from collections.abc import Sequence
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

from starlette.datastructures import Headers
from starlette.types import Scope

Network = IPv4Network | IPv6Network

SUBSCRIBER_BITS = 64  # of an IPv6 address; a subscriber chooses the other bits itself
MAX_CHARACTERS = 128  # of an address with a zone and a port
MAX_CACHED = 4096
WITH_PORT = re.compile(r"\[([0-9a-fA-F:.]+)\](?::\d+)?|([0-9.]+):\d+")


def client_of(scope: Scope, trusted: Sequence[Network]) -> str:
    """Return the client's address, for IPv6 the subscriber's network; empty if there is none.

    `X-Forwarded-For` is read from its end, where the nearest proxy wrote, and only as far as trusted proxies wrote it.
    A value that the client wrote comes before that and is never reached.
    """
    peer = scope.get("client")
    hops = ",".join(Headers(scope=scope).getlist("x-forwarded-for")).split(",") if trusted else []
    address = _address(peer[0]) if peer else None
    while address is not None and hops and any(address in network for network in trusted):
        nearer = _address(hops.pop())
        if nearer is None:
            break
        address = nearer
    return "" if address is None else _network(address)


def _address(text: str) -> IPv4Address | IPv6Address | None:
    text = text.strip()
    return _read(text) if len(text) <= MAX_CHARACTERS else None


@lru_cache(MAX_CACHED)
def _read(text: str) -> IPv4Address | IPv6Address | None:
    match = WITH_PORT.fullmatch(text)
    try:
        address = ipaddress.ip_address((match[1] or match[2]) if match else text.partition("%")[0])
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


@lru_cache(MAX_CACHED)
def _network(address: IPv4Address | IPv6Address) -> str:
    return str(address) if address.version == 4 else str(ipaddress.ip_network((address, SUBSCRIBER_BITS), strict=False))
