"""What authenticates and limits callers, built from settings."""

import sys
from typing import Any

import pytest
from pydantic import SecretStr

from service.config.api_keys import KeysError
from service.config.settings import Settings
from service.gateway.access.from_settings import authenticator_of, longest_request_s, token_buckets_of
from service.gateway.access.redis_bucket import RedisTokenBuckets
from service.gateway.access.token_bucket import LocalTokenBuckets
from service.gateway.metrics import Metrics

JWT: dict[str, Any] = {
    "jwt_keys": "https://issuer.example/keys",
    "jwt_audience": "resnest",
    "jwt_issuer": "https://issuer.example",
}


def test_without_redis_the_buckets_are_in_this_process() -> None:
    assert isinstance(token_buckets_of(Settings(), Metrics()), LocalTokenBuckets)


@pytest.mark.anyio
async def test_with_redis_they_are_there_for_longer_than_any_request() -> None:
    settings = Settings(redis_url=SecretStr("redis://127.0.0.1:1/0"))
    buckets = token_buckets_of(settings, Metrics())

    assert isinstance(buckets, RedisTokenBuckets)
    assert longest_request_s(settings) > settings.upload_timeout_s + settings.max_request_timeout_s
    await buckets.close()


def test_an_address_that_is_none_of_redis_is_one_sentence() -> None:
    with pytest.raises(KeysError, match=r"^RESNEST_REDIS_URL: "):
        token_buckets_of(Settings(redis_url=SecretStr("http://127.0.0.1")), Metrics())


@pytest.mark.parametrize(
    ("module", "setting", "build", "extra"),
    [
        ("jwt", JWT, authenticator_of, "resnest-service[jwt]"),
        ("redis", {"redis_url": "redis://127.0.0.1:1/0"}, token_buckets_of, "resnest-service[redis]"),
    ],
)
def test_a_missing_extra_is_named(
    module: str, setting: dict[str, Any], build: Any, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == module]:
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setitem(sys.modules, module, None)
    for own in ("service.gateway.access.jwt", "service.gateway.access.redis_bucket"):
        monkeypatch.delitem(sys.modules, own, raising=False)

    with pytest.raises(KeysError) as caught:
        build(Settings(**setting), Metrics())

    assert extra in str(caught.value)
