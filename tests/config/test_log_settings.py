"""The settings of the log: from the environment, and from the file that replaces them."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from service.config.log_settings import LogSettings, changed_by


def test_the_environment_sets_level_format_and_access_log(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RESNEST_LOG_LEVEL", "error")
    monkeypatch.setenv("RESNEST_ACCESS_LOG", "all")
    found = LogSettings()

    assert (found.log_level, found.log_format, found.access_log) == ("error", "auto", "all")


def test_a_level_that_is_none_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RESNEST_LOG_LEVEL", "loud")
    with pytest.raises(ValidationError, match="log_level"):
        LogSettings()


def test_the_file_replaces_what_it_sets_and_nothing_else(tmp_path: Path) -> None:
    file = tmp_path / "log.toml"
    file.write_text('level = "debug"\naccess = "all"\n', encoding="utf-8")
    found = changed_by(LogSettings(log_format="json"), file)

    assert (found.log_level, found.log_format, found.access_log) == ("debug", "json", "all")


@pytest.mark.parametrize("content", ['levels = "debug"', 'level = "loud"', "level = ", "\udcff"])
def test_an_unusable_file_is_refused_by_its_name(tmp_path: Path, content: str) -> None:
    file = tmp_path / "log.toml"
    file.write_bytes(content.encode("utf-8", "surrogateescape"))
    with pytest.raises(ValueError, match=r"log\.toml"):
        changed_by(LogSettings(), file)


def test_a_file_that_is_not_there_is_refused_by_its_name(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"none\.toml"):
        changed_by(LogSettings(), tmp_path / "none.toml")
