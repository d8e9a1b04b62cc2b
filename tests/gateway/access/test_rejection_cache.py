"""Cached rejections: which requests get one without reaching the application, and for how long."""

from collections.abc import Mapping
from typing import Any

import pytest

from service.config.api_keys import digest
from service.gateway.access import rejection_cache
from service.gateway.access.rejection_cache import key_of
from tests.gateway.conftest import OpenFullGateway
from tests.gateway.fixtures.full_gateway import LOCALHOST, Answer, FullGateway, assert_overloaded
from tests.gateway.fixtures.images import image_bytes
from tests.gateway.metrics.test_definitions import Samples, samples

pytestmark = pytest.mark.anyio

COUNTS = {
    "resnest_http_requests_total",
    "resnest_http_request_duration_seconds_count",
    "resnest_http_request_processing_seconds_count",
    "resnest_images_offered_total",
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
CLIENT, SERVER = (LOCALHOST, 40_001), (LOCALHOST, 8000)
LINES = [(b"host", b"gateway"), (b"content-length", b"7")]


def without_ids(answer: Answer) -> tuple[Mapping[str, str], dict[str, Any]]:
    reply, document = answer
    ignored = {"x-request-id", "date"}
    headers = {name: value for name, value in reply.headers.items() if name not in ignored}
    return headers, document | {"request_id": ""}


async def test_who_asks_the_same_again_is_told_the_same_and_the_app_is_not_asked(full_gateway: FullGateway) -> None:
    with full_gateway.fill():
        first = await full_gateway.call(body=image_bytes(1))
        again = await full_gateway.call(body=image_bytes(2, size=(80, 80)), headers={"traceparent": "00-1"})

    assert_overloaded(first)
    assert_overloaded(again)
    assert without_ids(again) == without_ids(first)
    assert again[1]["request_id"] != first[1]["request_id"]
    assert len(full_gateway.checked) == 1


async def test_a_repeated_refusal_has_the_id_that_its_request_brought(full_gateway: FullGateway) -> None:
    with full_gateway.fill():
        await full_gateway.call()
        reply, document = await full_gateway.call(headers={"X-Request-ID": "mine-7"})

    assert reply.headers["x-request-id"] == document["request_id"] == "mine-7"
    assert len(full_gateway.checked) == 1


async def test_a_repeated_refusal_is_counted_as_any_other(full_gateway: FullGateway) -> None:
    async def added() -> Samples:
        """Return what one more rejection adds to the metrics of requests, without its duration."""
        before = await samples(full_gateway.client)
        await full_gateway.call()
        after = await samples(full_gateway.client)
        own = {name for name in after if name[0] in COUNTS and ("route", "/metrics") not in name[1]}
        return {name: after[name] - before.get(name, 0) for name in own if after[name] != before.get(name, 0)}

    with full_gateway.fill():
        whole, repeated = await added(), await added()

    assert len(full_gateway.checked) == 1
    assert repeated == whole
    assert {name for name, _ in whole} == COUNTS


async def test_as_soon_as_a_place_is_given_back_the_app_is_asked(full_gateway: FullGateway) -> None:
    with full_gateway.fill():
        assert_overloaded(await full_gateway.call())
    reply, _ = await full_gateway.call()
    with full_gateway.fill():
        assert_overloaded(await full_gateway.call())
        with full_gateway.fill("another caller", 1):  # admitted, up to its equal share
            pass
        full_gateway.checked.clear()
        assert_overloaded(await full_gateway.call())

    assert reply.status == 200
    assert len(full_gateway.checked) == 1


async def test_as_soon_as_a_model_has_answered_a_picture_the_app_is_asked(full_gateway: FullGateway) -> None:
    async def nothing() -> None:
        pass

    with full_gateway.fill():
        assert_overloaded(await full_gateway.call())
        await full_gateway.components.queues["tiny-classifier"].run(nothing, "a caller")
        assert_overloaded(await full_gateway.call())

    assert len(full_gateway.checked) == 2


async def test_a_refusal_is_not_told_again_for_long(full_gateway: FullGateway, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rejection_cache, "TTL_S", 0)
    with full_gateway.fill():
        assert_overloaded(await full_gateway.call())
        assert_overloaded(await full_gateway.call())

    assert len(full_gateway.checked) == 2


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
async def test_another_question_is_the_apps(path: str, headers: dict[str, str], full_gateway: FullGateway) -> None:
    with full_gateway.fill():
        assert_overloaded(await full_gateway.call())
        assert_overloaded(await full_gateway.call(path, headers))

    assert len(full_gateway.checked) == 2


@pytest.mark.parametrize(
    "headers",
    [{"Expect": "100-continue"}, {"Origin": "https://app.example"}, {"X-Long": "x" * rejection_cache.MAX_HEAD_BYTES}],
)
async def test_what_the_app_answers_otherwise_is_never_repeated(
    headers: dict[str, str], full_gateway: FullGateway
) -> None:
    with full_gateway.fill():
        assert_overloaded(await full_gateway.call(headers=headers))
        assert_overloaded(await full_gateway.call(headers=headers))

    assert len(full_gateway.checked) == 2


async def test_another_caller_is_the_apps(open_full_gateway: OpenFullGateway) -> None:
    async with open_full_gateway(keys=KEYS) as full_gateway:
        with full_gateway.fill("hog"):
            assert_overloaded(await full_gateway.call(headers={"X-API-Key": "hog"}))
            assert_overloaded(await full_gateway.call(headers={"X-API-Key": "hog"}))
            others = len(full_gateway.checked)
            reply, _ = await full_gateway.call(headers={"X-API-Key": "guest"})
            nobody, _ = await full_gateway.call(headers={"X-API-Key": "nobody"})

    assert others == 1
    assert reply.status == 200
    assert nobody.status == 401


async def test_who_has_limits_pays_for_each_refusal(open_full_gateway: OpenFullGateway) -> None:
    async with open_full_gateway(keys=KEYS) as full_gateway:
        with full_gateway.fill("slow"):
            replies = [(await full_gateway.call(headers={"X-API-Key": "slow"}))[0] for _ in range(2)]

    assert len(full_gateway.checked) == 2
    left = [reply.headers["ratelimit"] for reply in replies]
    assert left[0] != left[1]


async def test_an_instance_that_drains_says_with_each_refusal_that_the_connection_ends(
    full_gateway: FullGateway,
) -> None:
    with full_gateway.fill():
        assert_overloaded(await full_gateway.call())
        full_gateway.components.readiness.drain()
        reply, _ = await full_gateway.call()

    assert reply.headers["connection"] == "close"
    assert len(full_gateway.checked) == 2


async def test_no_more_refusals_are_kept_than_a_bound(
    full_gateway: FullGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rejection_cache, "MAX_ENTRIES", 3)
    with full_gateway.fill():
        for number in range(8):
            assert_overloaded(await full_gateway.call(headers={"X-Any": f"{number}"}))
            assert len(full_gateway.components.rejections._entries) <= 3


@pytest.mark.parametrize(
    "other",
    [
        ("PUT", b"/v1/classify", CLIENT, SERVER, LINES),
        ("POST", b"/v1/segment", CLIENT, SERVER, LINES),
        ("POST", b"/v1/classify?top_k=1", CLIENT, SERVER, LINES),
        ("POST", b"/v1/classify", ("192.0.2.7", 40_001), SERVER, LINES),
        ("POST", b"/v1/classify", None, SERVER, LINES),
        ("POST", b"/v1/classify", CLIENT, (LOCALHOST, 9000), LINES),
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

    assert key_of("POST", b"/", (LOCALHOST, 1), SERVER, lines) == key_of("POST", b"/", (LOCALHOST, 2), SERVER, LINES)


@pytest.mark.parametrize(
    "head",
    [(b"/" + b"x" * rejection_cache.MAX_HEAD_BYTES, LINES), (b"/", [(b"a", b"x" * rejection_cache.MAX_HEAD_BYTES)])],
)
def test_a_long_head_has_no_key(head: tuple[bytes, list[tuple[bytes, bytes]]]) -> None:
    url, lines = head

    assert key_of("POST", url, CLIENT, SERVER, lines) is None
