"""The client's address, which only trusted proxies can set."""

from ipaddress import ip_network

import pytest

from service.gateway.access.client_address import client_of

TRUSTED = [ip_network("10.0.0.0/8"), ip_network("2001:db8:ffff::/48")]


def found(peer: str | None, *forwarded: str) -> str:
    headers = [(b"x-forwarded-for", line.encode("latin-1")) for line in forwarded]
    return client_of({"type": "http", "client": (peer, 4711) if peer else None, "headers": headers}, TRUSTED)


def test_a_request_comes_from_its_peer() -> None:
    assert found("192.0.2.7") == "192.0.2.7"


def test_a_peer_that_is_not_trusted_is_not_believed() -> None:
    assert found("192.0.2.7", "203.0.113.9") == "192.0.2.7"


@pytest.mark.parametrize(
    ("forwarded", "expected"),
    [
        (["203.0.113.9"], "203.0.113.9"),
        (["198.51.100.1, 203.0.113.9"], "203.0.113.9"),
        (["198.51.100.1", "203.0.113.9"], "203.0.113.9"),
        (["203.0.113.9, 10.1.1.1, 10.2.2.2"], "203.0.113.9"),
        (["10.1.1.1"], "10.1.1.1"),
        (["203.0.113.9:4711"], "203.0.113.9"),
        (["[2001:db8:1:2:3::9]:4711"], "2001:db8:1:2::/64"),
        (["::ffff:203.0.113.9"], "203.0.113.9"),
        (["203.0.113.9, unknown"], "10.0.0.1"),
        (["203.0.113.9, 10.0.0.2, x" * 3], "10.0.0.1"),
        ([""], "10.0.0.1"),
        ([], "10.0.0.1"),
    ],
)
def test_a_trusted_proxy_is_believed_as_far_as_the_first_that_is_not(forwarded: list[str], expected: str) -> None:
    assert found("10.0.0.1", *forwarded) == expected


def test_the_addresses_of_one_ipv6_subscriber_are_one_place() -> None:
    assert found("2001:db8:1:2::1") == found("2001:db8:1:2:ffff::2") == "2001:db8:1:2::/64"
    assert found("2001:db8:1:3::1") != found("2001:db8:1:2::1")
    assert found("2001:db8:ffff::1", "2001:db8:5::1") == "2001:db8:5::/64"


@pytest.mark.parametrize("peer", [None, "testclient", ""])
def test_a_peer_without_an_address_is_nowhere(peer: str | None) -> None:
    assert found(peer, "203.0.113.9") == ""


def test_what_is_too_long_for_an_address_is_none() -> None:
    assert found("10.0.0.1", "203.0.113.9" + " " * 4096) == "203.0.113.9"
    assert found("10.0.0.1", "2001:db8::1%" + "z" * 4096) == "10.0.0.1"
