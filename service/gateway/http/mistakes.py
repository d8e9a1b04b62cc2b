"""Words pydantic's errors for callers, who know nothing of Python's types."""

import re
from collections.abc import Callable, Collection, Mapping
from difflib import get_close_matches
from typing import Any, Final

from pydantic_core import ErrorDetails

from service.models.labels import LANGUAGE

UNKNOWN: Final = "extra_forbidden"
# Of `errors`. More would take long to word, and make a large response of a small request.
MAX_ROWS: Final = 8
NAME_CHARACTERS: Final = 64  # of an unknown name, which is compared with the known ones
# A name that a program sends, of a parameter or of a form's field. Only such names are repeated to the caller.
NAME: Final = re.compile(r"[A-Za-z0-9_.\[\]-]{1,64}")
Bounds = Mapping[str, Any]

WHOLE, NUMBER, YES_OR_NO = "It must be a whole number.", "It must be a number.", "It must be true or false."

PATTERNS: Final = {LANGUAGE: "It must be a language tag, such as de or pt-BR."}

# By pydantic's type of error. Other types keep pydantic's words.
WORDS: Final[Mapping[str, str | Callable[[Bounds], str]]] = {
    "missing": "It is missing.",
    UNKNOWN: "There is no such parameter.",
    "json_invalid": lambda bounds: f"It is not JSON: {bounds['error']}.",
    "int_parsing": WHOLE,
    "int_type": WHOLE,
    "int_from_float": WHOLE,
    "int_parsing_size": WHOLE,
    "float_parsing": NUMBER,
    "float_type": NUMBER,
    "finite_number": "It must be a finite number.",
    "bool_parsing": YES_OR_NO,
    "bool_type": YES_OR_NO,
    "string_type": "It must be text.",
    "list_type": "It must be a list.",
    "dict_type": "It must be an object.",
    "model_type": "It must be an object.",
    "literal_error": lambda bounds: f"It must be {bounds['expected']}.",
    "greater_than": lambda bounds: f"It must be more than {bounds['gt']:g}.",
    "greater_than_equal": lambda bounds: f"It must be at least {bounds['ge']:g}.",
    "less_than": lambda bounds: f"It must be less than {bounds['lt']:g}.",
    "less_than_equal": lambda bounds: f"It must be at most {bounds['le']:g}.",
    "string_pattern_mismatch": lambda bounds: PATTERNS.get(bounds["pattern"], f"It must match {bounds['pattern']}."),
    "string_too_short": lambda bounds: f"It must have at least {bounds['min_length']} characters.",
    "string_too_long": lambda bounds: f"It must have at most {bounds['max_length']} characters.",
    "too_short": lambda bounds: f"It must be given at least {_times(bounds['min_length'])}.",
    "too_long": lambda bounds: f"It must be given at most {_times(bounds['max_length'])}.",
}


def describe(error: ErrorDetails) -> str:
    """Return what is wrong with a value, without the value."""
    words = WORDS.get(error["type"], f"{error['msg']}.")
    return words if isinstance(words, str) else words(error.get("ctx", {}))


def unknown(name: str, known: Collection[str], holder: str = "This route has") -> str:
    """Return why this name cannot be used: the most similar of the known names, if any, and all of them."""
    similar = nearest(name, known)
    question = f" Did you mean {similar}?" if similar else ""
    return f"{WORDS[UNKNOWN]}{question} {holder} {', '.join(known) or 'no parameters'}."


def nearest(name: str, known: Collection[str]) -> str | None:
    """Return the known name that is most similar to an unknown one, or None if none is similar."""
    return next(iter(get_close_matches(name[:NAME_CHARACTERS].lower(), known, n=1)), None)


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"
