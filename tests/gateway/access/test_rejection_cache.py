"""Cached rejections: which requests get one without reaching the application, and for how long."""

from collections.abc import Mapping
from typing import Any

import pytest

from service.config.api_keys import digest
from service.gateway.access import rejection_cache
from service.gateway.access.rejection_cache import key_of
from tests.gateway.conftest import Opened
from tests.gateway.fixtures.full_gateway import HERE, House, Told, refused
from tests.gateway.fixtures.pictures import picture
from tests.gateway.test_metrics import Samples, samples

pytestmark = pytest.mark.anyio

COUNTS = {
    "resnest_http_requests_total",
    "resnest_http_request_duration_seconds_count",
    "resnest_problems_total",
    "resnest_caller_requests_total",
}
KEYS = "\n".join(
    [
        f"hog classify {digest('hog')}",
        f"guest classify {digest('guest')}",
        f"slow classify {digest('slow')} rate=0.01 burst=100",
        f"boss admin {digest('boss')}",
    ]
)
CLIENT, SERVER = (HERE, 40_001), (HERE, 8000)
LINES = [(b"host", b"gateway"), (b"content-length", b"7")]


def without_ids(told: Told) -> tuple[Mapping[str, str], dict[str, Any]]:
    reply, document = told
    ignored = {"x-request-id", "date"}
    headers = {name: value for name, value in reply.headers.items() if name not in ignored}
    return headers, document | {"request_id": ""}


async def test_who_asks_the_same_again_is_told_the_same_and_the_app_is_not_asked(house: House) -> None:
    with house.full():
        first = await house.call(body=picture(1))
        again = await house.call(body=picture(2, size=(80, 80)), headers={"traceparent": "00-1"})

    refused(first)
    refused(again)
    assert without_ids(again) == without_ids(first)
    assert again[1]["request_id"] != first[1]["request_id"]
    assert len(house.asked) == 1


async def test_a_repeated_refusal_has_the_id_that_its_request_brought(house: House) -> None:
    with house.full():
        await house.call()
        reply, document = await house.call(headers={"X-Request-ID": "mine-7"})

    assert reply.headers["x-request-id"] == document["request_id"] == "mine-7"
    assert len(house.asked) == 1


async def test_a_repeated_refusal_is_counted_as_any_other(house: House) -> None:
    async def added() -> Samples:
        """Return what one more rejection adds to the metrics of requests, without its duration."""
        before = await samples(house.client)
        await house.call()
        after = await samples(house.client)
        own = {name for name in after if name[0] in COUNTS and ("route", "/metrics") not in name[1]}
        return {name: after[name] - before.get(name, 0) for name in own if after[name] != before.get(name, 0)}

    with house.full():
        whole, repeated = await added(), await added()

    assert len(house.asked) == 1
    assert repeated == whole
    assert {name for name, _ in whole} == COUNTS


async def test_as_soon_as_a_place_is_given_back_the_app_is_asked(house: House) -> None:
    with house.full():
        refused(await house.call())
    reply, _ = await house.call()
    with house.full():
        refused(await house.call())
        with house.full("another caller", 1):  # admitted, up to its equal share
            pass
        house.asked.clear()
        refused(await house.call())

    assert reply.status == 200
    assert len(house.asked) == 1


async def test_as_soon_as_a_model_has_answered_a_picture_the_app_is_asked(house: House) -> None:
    async def nothing() -> None:
        pass

    with house.full():
        refused(await house.call())
        await house.components.queues["tiny-classifier"].run(nothing, "a caller")
        refused(await house.call())

    assert len(house.asked) == 2


async def test_a_refusal_is_not_told_again_for_long(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rejection_cache, "TTL_S", 0)
    with house.full():
        refused(await house.call())
        refused(await house.call())

    assert len(house.asked) == 2


@pytest.mark.parametrize(
    ("path", "headers"),
    [
        ("/v1/classify?top_k=2", {}),
        ("/v1/embed", {}),
        ("/v1/classify", {"Request-Timeout": "5"}),
        ("/v1/classify", {"Priority": "u=1"}),
        ("/v1/classify", {"Accept": "application/json"}),
    ],
)
async def test_another_question_is_the_apps(path: str, headers: dict[str, str], house: House) -> None:
    with house.full():
        refused(await house.call())
        refused(await house.call(path, headers))

    assert len(house.asked) == 2


@pytest.mark.parametrize(
    "headers",
    [{"Expect": "100-continue"}, {"Origin": "https://app.example"}, {"X-Long": "x" * rejection_cache.MAX_HEAD_BYTES}],
)
async def test_what_the_app_answers_otherwise_is_never_repeated(headers: dict[str, str], house: House) -> None:
    with house.full():
        refused(await house.call(headers=headers))
        refused(await house.call(headers=headers))

    assert len(house.asked) == 2


async def test_another_caller_is_the_apps(opened: Opened) -> None:
    async with opened(keys=KEYS) as house:
        with house.full("hog"):
            refused(await house.call(headers={"X-API-Key": "hog"}))
            refused(await house.call(headers={"X-API-Key": "hog"}))
            others = len(house.asked)
            reply, _ = await house.call(headers={"X-API-Key": "guest"})
            nobody, _ = await house.call(headers={"X-API-Key": "nobody"})

    assert others == 1
    assert reply.status == 200
    assert nobody.status == 401


async def test_who_has_limits_pays_for_each_refusal(opened: Opened) -> None:
    async with opened(keys=KEYS) as house:
        with house.full("slow"):
            replies = [(await house.call(headers={"X-API-Key": "slow"}))[0] for _ in range(2)]

    assert len(house.asked) == 2
    left = [reply.headers["ratelimit"] for reply in replies]
    assert left[0] != left[1]


async def test_an_instance_that_drains_says_with_each_refusal_that_the_connection_ends(house: House) -> None:
    with house.full():
        refused(await house.call())
        house.components.readiness.drain()
        reply, _ = await house.call()

    assert reply.headers["connection"] == "close"
    assert len(house.asked) == 2


async def test_no_more_refusals_are_kept_than_a_bound(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rejection_cache, "MAX_ENTRIES", 3)
    with house.full():
        for number in range(8):
            refused(await house.call(headers={"X-Any": f"{number}"}))
            assert len(house.components.rejections._entries) <= 3


@pytest.mark.parametrize(
    "other",
    [
        ("PUT", b"/v1/classify", CLIENT, SERVER, LINES),
        ("POST", b"/v1/segment", CLIENT, SERVER, LINES),
        ("POST", b"/v1/classify?top_k=1", CLIENT, SERVER, LINES),
        ("POST", b"/v1/classify", ("192.0.2.7", 40_001), SERVER, LINES),
        ("POST", b"/v1/classify", None, SERVER, LINES),
        ("POST", b"/v1/classify", CLIENT, (HERE, 9000), LINES),
        *(
            ("POST", b"/v1/classify", CLIENT, SERVER, [*LINES, (name, b"1")])
            for name in (b"authorization", b"x-api-key", b"x-forwarded-for", b"forwarded", b"accept", b"priority")
        ),
    ],
)
def test_whoever_asks_something_else_has_another_key(other: Any) -> None:
    assert key_of(*other) != key_of("POST", b"/v1/classify", CLIENT, SERVER, LINES)


def test_another_port_of_the_caller_and_another_length_are_the_same_key() -> None:
    lines = [(b"host", b"gateway"), (b"content-length", b"9"), (b"x-request-id", b"a"), (b"traceparent", b"00-1")]

    assert key_of("POST", b"/", (HERE, 1), SERVER, lines) == key_of("POST", b"/", (HERE, 2), SERVER, LINES)


@pytest.mark.parametrize(
    "head",
    [(b"/" + b"x" * rejection_cache.MAX_HEAD_BYTES, LINES), (b"/", [(b"a", b"x" * rejection_cache.MAX_HEAD_BYTES)])],
)
def test_a_long_head_has_no_key(head: tuple[bytes, list[tuple[bytes, bytes]]]) -> None:
    url, lines = head

    assert key_of("POST", url, CLIENT, SERVER, lines) is None
