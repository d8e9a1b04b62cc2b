"""Every setting as a row, and the page that is made of the rows."""

from pathlib import Path

import pytest

from service.config import environment, setting_table
from service.config.settings import Settings

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in environment.names():
        monkeypatch.delenv(name, raising=False)


def row(name: str, **variables: str) -> setting_table.SettingRow:
    rows = {each.name: each for each in setting_table.rows(variables)}
    return rows[f"RESNEST_{name}"]


def test_the_page_is_written_from_the_settings() -> None:
    written = (ROOT / "docs" / "settings.md").read_text(encoding="utf-8")

    assert written == setting_table.manual(), "run `make settings`"


def test_every_setting_is_a_row_with_a_meaning_in_a_section() -> None:
    rows = setting_table.rows({})

    assert [each.name for each in rows] == environment.names()
    assert all(each.meaning and each.section and each.origin == "default" for each in rows)
    assert set(setting_table.SECTIONS) <= set(Settings.model_fields)


def test_a_setting_of_the_environment_has_its_value_and_its_origin() -> None:
    found = row("PORT", RESNEST_PORT="9000")

    assert (found.value, found.default, found.origin) == ("9000", "8000", "environment")
    assert row("PORT", resnest_port="9000").value == "9000"


def test_a_value_that_cannot_be_used_is_none() -> None:
    assert row("PORT", RESNEST_PORT="x").value is None
    assert row("HOST", RESNEST_PORT="x", RESNEST_HOST="::").value == "::"


@pytest.mark.parametrize(
    ("name", "default"),
    [
        ("MAX_UPLOAD_BYTES", "20971520 (20 MiB)"),
        ("CACHE_BYTES", "0"),
        ("DRAIN_S", "0"),
        ("REDIS_TIMEOUT_S", "0.1"),
        ("JWT_ALGORITHMS", "RS256,ES256"),
        ("PLAYGROUND", "true"),
        ("KEYS_FILE", "-"),
        ("DECODE_PROCESSES", "cores"),
        ("URL", "-"),
    ],
)
def test_a_default_is_written_as_the_environment_has_it(name: str, default: str) -> None:
    assert row(name).default == default


@pytest.mark.parametrize("name", ["KEYS", "REDIS_URL", "JWT_KEYS", "API_KEY", "MODELS_TOKEN"])
def test_a_secret_is_not_shown(name: str) -> None:
    assert row(name, **{f"RESNEST_{name}": "abc"}).value == "(set)"


def test_a_meaning_names_other_settings_by_their_variables() -> None:
    assert "`RESNEST_CALLER_RATE`" in row("CALLER_BURST").meaning
