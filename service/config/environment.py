"""Check the `RESNEST_` variables of the environment before anything starts, and say in words what is wrong."""

import re
from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any, Final

from pydantic import ValidationError

from service.config.service_links import PREFIX
from service.config.settings import Settings

# Variables that are no settings of the gateway, with their meaning.
OTHERS: Final = {
    "RESNEST_STRICT": "do not start if the weights of a model fail their check; read by `run` and `worker`",
    "RESNEST_WORKER_CONNECTIONS": "connections of TorchServe to each engine, 1 to 64 (2). With many gateways in front "
    "of a GPU, set it to their number, so that their batches are merged. Read by `run` and `worker`",
    "RESNEST_URL": "URL of the running service that commands such as `classify` and `bulk` ask",
    "RESNEST_API_KEY": "API key that commands send to a service",
    "RESNEST_MODELS_TOKEN": "token that `models fetch` sends to the server with the archives",
}
# Set by the service itself for its gateway processes.
INTERNAL: Final = frozenset(("RESNEST_SLOT", "RESNEST_SLOTS", "RESNEST_SLOT_BEFORE", "RESNEST_ROSTER"))
SECRETS: Final = frozenset(("keys", "jwt_keys", "redis_url"))  # their values are never shown
ORIGIN_FORM: Final = "write it as a browser does, such as https://app.example, without path, user or final slash, or *"
WORDS: Final = {
    "int_parsing": "it must be a whole number",
    "float_parsing": "it must be a number",
    "bool_parsing": "it must be true or false",
    "greater_than_equal": "it must be at least {ge:g}",
    "greater_than": "it must be above {gt:g}",
    "less_than_equal": "it must be at most {le:g}",
    "less_than": "it must be below {lt:g}",
    "literal_error": "it must be {expected}",
    "string_pattern_mismatch": ORIGIN_FORM,
    "ip_any_network": "it must be an address or a network, such as 10.0.0.0/8",
}


class SettingsError(ValueError):
    """A variable is unknown, or its value cannot be used. The message names each of them."""


def variable(field: str) -> str:
    """Return the variable of a setting: `RESNEST_MAX_IMAGES` for `max_images`."""
    return f"{PREFIX}{field.upper()}"


def names() -> list[str]:
    """Return the variables that an operator may set."""
    return [*map(variable, Settings.model_fields), *OTHERS]


def unknown(environment: Mapping[str, str]) -> list[str]:
    """Return a sentence for each variable with the prefix that is no setting, with the nearest name."""
    known = {*names(), *INTERNAL}
    ends = [each.removeprefix(PREFIX) for each in names()]
    found = []
    for name in environment:
        if name.upper().startswith(PREFIX) and name.upper() not in known:
            near = get_close_matches(name.upper().removeprefix(PREFIX), ends, n=1)
            hint = f"did you mean {PREFIX}{near[0]}?" if near else "`resnest-service settings` lists them"
            found.append(f"{name} is no setting; {hint}")
    return found


def check_names(environment: Mapping[str, str]) -> None:
    """Raise `SettingsError` if a variable with the prefix is no setting."""
    if found := unknown(environment):
        raise SettingsError("; ".join(found))


def read(**given: Any) -> Settings:
    """Return the settings of the environment of this process, with those that are `given`. Raises `SettingsError`."""
    try:
        return Settings(**given)
    except ValidationError as error:
        raise SettingsError("; ".join(reasons(error))) from error


def reasons(error: ValidationError) -> list[str]:
    """Return a sentence for each setting that is wrong: its variable, what it must be, and what it is."""
    return list(dict.fromkeys(_reason(each) for each in error.errors()))


def _reason(error: Mapping[str, Any]) -> str:
    if not error["loc"]:  # of several settings together
        return _with_variables(str(error["msg"]).removeprefix("Value error, "))
    field = str(error["loc"][0])
    words = WORDS.get(error["type"])
    said = words.format(**error.get("ctx", {})) if words else f"{error['msg'][0].lower()}{error['msg'][1:]}"
    shown = "" if field in SECRETS else f", and is {error['input']!r}"
    return f"{variable(field)}: {said}{shown}"


def _with_variables(text: str) -> str:
    """Return a text with the names of settings that are no plain words as variables."""
    compound = [name for name in Settings.model_fields if "_" in name]
    return re.sub(rf"\b({'|'.join(compound)})\b", lambda found: variable(found[0]), text)
