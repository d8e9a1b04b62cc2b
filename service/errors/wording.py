"""Words problem documents in one line: the rows of `errors`, and the values to choose from."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

CHOICES: Final = ("available", "accepted")  # members that list what a caller can use instead
BODY: Final = "body"  # the name of a row that is about the body as a whole


def first_of(rows: Sequence[Mapping[str, str]]) -> str:
    """Return the first row of `errors` in words, and how many more there are."""
    row, *others = rows
    more = f" See errors for {len(others)} more." if others else ""
    return f"{row['parameter'] or BODY}: {row['detail']}{more}"


def with_choices(problem: Mapping[str, Any]) -> str:
    """Return the `detail` of a problem document, and the values to choose from. Raise `KeyError` without a `detail`."""
    listed = {name: problem[name] for name in CHOICES if isinstance(problem.get(name), list)}
    choices = [f"{name.capitalize()}: {', '.join(map(str, values)) or 'none'}." for name, values in listed.items()]
    return " ".join([str(problem["detail"]), *choices])
