"""The settings of the log of every process: gateway, supervisor, worker. A file may change them without a restart."""

import tomllib
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from service.models import text_file
from service.models.text_file import TextError

Level = Literal["debug", "info", "warning", "error"]
Format = Literal["auto", "json", "text"]
AccessLogMode = Literal["off", "errors", "all"]


class LogSettings(BaseSettings):
    """What is logged and how. An instance reads the environment when it is created."""

    model_config = SettingsConfigDict(env_prefix="RESNEST_", frozen=True, extra="ignore")

    log_level: Level = Field(default="info", description="lowest level that is logged")
    log_format: Format = Field(
        default="auto", description="form of log lines; auto is text on a terminal, otherwise JSON"
    )
    access_log: AccessLogMode = Field(
        default="errors", description="requests that the gateway logs: none (off), those that failed (errors), or all"
    )
    log_file: Path | None = Field(
        default=None,
        description="TOML file with any of `level`, `format` and `access`, which replace the three settings above; "
        "reloaded when it changes",
    )


class _Changes(BaseModel):
    """The content of the file."""

    model_config = ConfigDict(extra="forbid")

    level: Level | None = None
    format: Format | None = None
    access: AccessLogMode | None = None


def changed_by(settings: LogSettings, file: Path) -> LogSettings:
    """Return the settings with what the file sets. Raise `ValueError`, in one sentence, for an unusable file."""
    try:
        changes = _Changes(**tomllib.loads(text_file.read(file)))
    except ValidationError as error:
        rows = "; ".join(f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors())
        raise ValueError(f"{file}: {rows}") from error
    except (OSError, tomllib.TOMLDecodeError, TextError) as error:
        raise ValueError(f"{file}: {error}") from error
    update = {"log_level": changes.level, "log_format": changes.format, "access_log": changes.access}
    return settings.model_copy(update={name: value for name, value in update.items() if value is not None})
