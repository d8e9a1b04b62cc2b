"""Variables that are unknown, and values that cannot be used."""

import pytest

from service.config import environment
from service.config.environment import SettingsError
from service.config.settings import Settings
from service.host import gateway_slots
from service.host.served_models import roster


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in environment.names():
        monkeypatch.delenv(name, raising=False)


def test_every_setting_has_a_variable() -> None:
    assert set(environment.names()) >= {f"RESNEST_{name.upper()}" for name in Settings.model_fields}


def test_an_unknown_variable_is_named_with_the_nearest_setting() -> None:
    found = environment.unknown({"RESNEST_CORS_ORIGIN": "x", "RESNEST_PORT": "1", "PATH": "x"})

    assert found == ["RESNEST_CORS_ORIGIN is no setting; did you mean RESNEST_CORS_ORIGINS?"]


def test_a_variable_that_is_near_to_none_is_named_with_the_list() -> None:
    assert environment.unknown({"RESNEST_XYZZY": ""}) == [
        "RESNEST_XYZZY is no setting; `resnest-service settings` lists them"
    ]


def test_names_are_known_in_any_case_as_the_gateway_reads_them() -> None:
    assert not environment.unknown({"resnest_port": "1"})
    assert environment.unknown({"resnest_prt": "1"})


def test_what_the_service_sets_for_its_own_processes_is_known() -> None:
    slot = {gateway_slots.NUMBER, gateway_slots.COUNT, gateway_slots.PREVIOUS}
    assert slot | {roster.VARIABLE} == environment.INTERNAL
    environment.check_names(dict.fromkeys(environment.INTERNAL, "1"))


def test_unknown_names_are_refused() -> None:
    with pytest.raises(SettingsError, match=r"RESNEST_PRT is no setting; did you mean RESNEST_PORT\?"):
        environment.check_names({"RESNEST_PRT": "1"})


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("MAX_IMAGES", "many", "RESNEST_MAX_IMAGES: it must be a whole number, and is 'many'"),
        ("PORT", "70000", "RESNEST_PORT: it must be at most 65535, and is '70000'"),
        ("DRAIN_S", "-1", "RESNEST_DRAIN_S: it must be at least 0, and is '-1'"),
        ("REDIS_TIMEOUT_S", "0", "RESNEST_REDIS_TIMEOUT_S: it must be above 0, and is '0'"),
        ("READINESS_INTERVAL_S", "x", "RESNEST_READINESS_INTERVAL_S: it must be a number, and is 'x'"),
        ("PLAYGROUND", "perhaps", "RESNEST_PLAYGROUND: it must be true or false, and is 'perhaps'"),
        ("READY", "some", "RESNEST_READY: it must be 'any' or 'all', and is 'some'"),
        ("TRUSTED_PROXIES", "here", "RESNEST_TRUSTED_PROXIES: it must be an address or a network"),
        ("CORS_ORIGINS", "https://a.b/", "RESNEST_CORS_ORIGINS: write it as a browser does"),
        ("MAX_IN_FLIGHT", "3", "RESNEST_MAX_IN_FLIGHT is below RESNEST_MAX_IMAGES: a full request would always be"),
    ],
)
def test_a_value_that_cannot_be_used_is_said_in_words(
    name: str, value: str, sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(f"RESNEST_{name}", value)

    with pytest.raises(SettingsError) as raised:
        environment.read()

    assert str(raised.value).startswith(sentence)


def test_every_wrong_setting_is_named_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RESNEST_PORT", "x")
    monkeypatch.setenv("RESNEST_MAX_IMAGES", "y")

    with pytest.raises(SettingsError, match=r"RESNEST_PORT: .*; RESNEST_MAX_IMAGES: "):
        environment.read()


def test_the_value_of_a_secret_is_not_in_the_message(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RESNEST_JWT_KEYS", "http://secret.example")

    with pytest.raises(SettingsError) as raised:
        environment.read()

    assert "secret.example" not in str(raised.value)


def test_what_is_given_replaces_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RESNEST_PORT", "1")

    assert environment.read(port=2).port == 2
