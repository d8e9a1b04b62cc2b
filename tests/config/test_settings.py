"""Settings: the environment, validation, and the division between gateway processes."""

from pathlib import Path

import pytest
from pydantic import SecretStr, ValidationError

from service.config.settings import ServerAddress, Settings


def test_every_setting_says_what_it_is_for() -> None:
    assert [name for name, field in Settings.model_fields.items() if not field.description] == []


def test_the_environment_sets_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RESNEST_MAX_IMAGES", "4")
    monkeypatch.setenv("RESNEST_MODEL_STORE", "/somewhere")
    monkeypatch.setenv("RESNEST_MODELS", "a, b,")

    settings = Settings()

    assert (settings.max_images, settings.model_store, settings.models) == (4, Path("/somewhere"), ("a", "b"))


def test_proxies_are_addresses_and_networks_by_commas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RESNEST_TRUSTED_PROXIES", "192.0.2.1, 10.0.0.0/8,fd00::/8")

    assert [str(network) for network in Settings().trusted_proxies] == ["192.0.2.1/32", "10.0.0.0/8", "fd00::/8"]


def test_the_password_of_redis_is_not_shown() -> None:
    assert "s3cret" not in repr(Settings(redis_url=SecretStr("redis://:s3cret@localhost")))


def test_no_models_named_means_all_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RESNEST_MODELS", "")

    assert Settings().models == ()


@pytest.mark.parametrize(
    "changes",
    [
        {"max_in_flight": 31, "max_images": 32},
        {"max_buffered_bytes": 9, "max_upload_bytes": 10},
        {"port": 70_000},
        {"upload_timeout_s": 0},
        {"caller_rate": 0},
        {"port": 9000, "admin_port": 9000},
        {"port": 9000, "grpc_port": 9000},
        {"admin_port": 9000, "grpc_port": 9000},
        {"gateway_workers": 2, "grpc_port": 0},
        {"caller_rate": float("nan")},
        {"caller_burst": 0},
        {"caller_concurrency": 0},
        {"trusted_proxies": "somewhere"},
        {"trusted_proxies": "10.0.0.1/8"},
        {"inference_url": "http://a:1,http://b:1", "management_url": "http://a:2"},
        {"inference_url": "", "management_url": ""},
    ],
)
def test_settings_that_could_serve_nobody_are_refused(changes: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Settings(**changes)  # type: ignore[arg-type]


def test_model_servers_are_named_by_commas_door_by_door() -> None:
    settings = Settings(inference_url="http://a:1, unix:/b/1", management_url="http://a:2,unix:/b/2")

    assert settings.server_addresses == (
        ServerAddress("http://a:1", "http://a:2"),
        ServerAddress("unix:/b/1", "unix:/b/2"),
    )


@pytest.mark.parametrize("of", [1, 2, 3, 8, 64])
def test_the_parts_of_several_processes_add_up_and_none_is_too_small_to_serve(of: int) -> None:
    whole = Settings(max_in_flight=512, decode_processes=4, encode_threads=4, cache_bytes=1 << 30, batches_in_flight=4)
    part = Settings(**whole.per_process(of).model_dump())  # validated again

    assert part.max_in_flight == max(whole.max_images, -(-512 // of))
    assert part.max_buffered_bytes >= max(whole.max_upload_bytes, whole.max_buffered_bytes // of)
    assert part.cache_bytes * of <= whole.cache_bytes
    assert part.decode_processes == part.encode_threads == -(-4 // of)
    assert part.batches_in_flight == min(4, max(1, -(-8 // of)))
    assert part.server_addresses == whole.server_addresses


def test_one_of_one_has_everything() -> None:
    assert Settings().per_process(1) == Settings()


def test_several_processes_need_a_port_that_is_known_beforehand() -> None:
    with pytest.raises(ValidationError, match="gateway_workers needs ports"):
        Settings(gateway_workers=2, port=0)
