"""The address that a request came from, through proxies that are trusted and through no others."""

import ipaddress
import re
from collections.abc import Sequence
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

from starlette.datastructures import Headers
from starlette.types import Scope

Network = IPv4Network | IPv6Network

SUBSCRIBER = 64  # bits of an IPv6 address that one subscriber shares; the others are its own to choose
LONGEST = 128  # characters of what may be an address, with a zone and a port
REMEMBERED = 4096
WITH_PORT = re.compile(r"\[([0-9a-fA-F:.]+)\](?::\d+)?|([0-9.]+):\d+")


def client_of(scope: Scope, trusted: Sequence[Network]) -> str:
    """The client's address, of IPv6 the subscriber's network; empty where there is none.

    `X-Forwarded-For` is read from its end, where the nearest proxy wrote, as long as a trusted one says who called it:
    what a client writes itself stands before that and is never reached.
    """
    peer = scope.get("client")
    hops = ",".join(Headers(scope=scope).getlist("x-forwarded-for")).split(",") if trusted else []
    address = _address(peer[0]) if peer else None
    while address is not None and hops and any(address in network for network in trusted):
        nearer = _address(hops.pop())
        if nearer is None:
            break
        address = nearer
    return "" if address is None else _place(address)


def _address(text: str) -> IPv4Address | IPv6Address | None:
    text = text.strip()
    return _read(text) if len(text) <= LONGEST else None


@lru_cache(REMEMBERED)
def _read(text: str) -> IPv4Address | IPv6Address | None:
    named = WITH_PORT.fullmatch(text)
    try:
        address = ipaddress.ip_address((named[1] or named[2]) if named else text.partition("%")[0])
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


@lru_cache(REMEMBERED)
def _place(address: IPv4Address | IPv6Address) -> str:
    return str(address) if address.version == 4 else str(ipaddress.ip_network((address, SUBSCRIBER), strict=False))
