"""Every setting with its value, default, origin and meaning, for `resnest-service settings` and docs/settings.md."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from pydantic import ValidationError

from service.config import environment as variables
from service.config.settings import MEBIBYTE, Settings
from service.models.default_store import NAME

# The first setting of each section, in the order of `Settings`.
SECTIONS: Final = {
    "log_level": "Logs",
    "traces": "Traces",
    "model_store": "Models and model servers",
    "host": "Listening",
    "keys": "Callers",
    "max_upload_bytes": "Uploads",
    "max_request_timeout_s": "Work",
    "readiness_interval_s": "Readiness and shutdown",
}
OTHER_SECTION: Final = "Other variables"
CALLED: Final = {"decode_processes": "cores", "encode_threads": "cores", "model_store": NAME}  # defaults of this host
NAMED: Final = re.compile(r"`(\w+)`")
UNSET: Final = "-"
HIDDEN: Final = "(set)"

INTRODUCTION: Final = """# Settings

Each setting is an environment variable. `make settings` writes this page from `service/config/settings.py`.

`resnest-service settings` prints the same with the values of your environment. A dash means unset. Lists are separated
by commas. An unknown variable that begins with `RESNEST_` is refused before anything starts, and so is a value that
cannot be used. How settings belong together is in [operations/configure.md](operations/configure.md).

`resnest-service run` has options for the settings that it sets itself: `--store`, `--models`, `--default`, `--host`,
`--port`, `--keys-file`, `--allow-no-keys`, `--traffic-file`, `--cors` and `--gateway-workers`.
"""


@dataclass(frozen=True)
class SettingRow:
    """A setting as text. `value` is None if what the environment has cannot be used."""

    name: str
    value: str | None
    default: str
    origin: Literal["default", "environment"]
    meaning: str
    section: str


def rows(environment: Mapping[str, str]) -> list[SettingRow]:
    """Return all settings, with the values that this environment gives them."""
    named = {name.upper(): value for name, value in environment.items()}
    return [*_settings(named), *_others(named)]


def manual() -> str:
    """Return the text of docs/settings.md."""
    parts = [INTRODUCTION]
    section = ""
    for row in rows({}):
        if row.section != section:
            section = row.section
            parts.append(f"\n## {section}\n\n| setting | default | meaning |\n| --- | --- | --- |\n")
        parts.append(f"| `{row.name}` | {row.default} | {row.meaning.replace('|', chr(92) + '|')} |\n")
    return "".join(parts)


def written(name: str, value: Any) -> str:
    """Return the value of a setting as the environment has it, or a dash if it is unset. Secrets are not shown."""
    if hasattr(value, "get_secret_value"):
        value = value.get_secret_value()
    if value is None or value in ("", ()):
        return UNSET
    if name in variables.SECRETS:
        return HIDDEN
    if name.endswith("_bytes") and isinstance(value, int) and value >= MEBIBYTE:
        return f"{value} ({value / MEBIBYTE:g} MiB)"
    return _text(value)


def _text(value: Any) -> str:
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else str(value)


def _settings(environment: Mapping[str, str]) -> Iterator[SettingRow]:
    section = ""
    given = {
        name: environment[key] for name in Settings.model_fields if (key := variables.variable(name)) in environment
    }
    unusable = _unusable(given)
    for name, field in Settings.model_fields.items():
        section = SECTIONS.get(name, section)
        default = written(name, field.get_default(call_default_factory=True))
        value = None if name in unusable else written(name, given[name]) if name in given else default
        yield SettingRow(
            name=variables.variable(name),
            value=value,
            default=CALLED.get(name, default),
            origin="environment" if name in given else "default",
            meaning=_with_variables(field.description or ""),
            section=section,
        )


def _with_variables(text: str) -> str:
    """Return a description with the variables of the settings that it names in backticks."""
    return NAMED.sub(
        lambda found: f"`{variables.variable(found[1])}`" if found[1] in Settings.model_fields else found[0], text
    )


def _unusable(given: Mapping[str, str]) -> set[str]:
    """Return the settings whose values cannot be used, each for itself."""
    try:
        Settings.model_validate(given)
    except ValidationError as error:
        return {str(each["loc"][0]) for each in error.errors() if each["loc"]}
    return set()


def _others(environment: Mapping[str, str]) -> Iterator[SettingRow]:
    for name, meaning in variables.OTHERS.items():
        is_set = name in environment
        value = (HIDDEN if name.endswith(("_KEY", "_TOKEN")) else environment[name]) if is_set else UNSET
        yield SettingRow(name, value, UNSET, "environment" if is_set else "default", meaning, OTHER_SECTION)
