"""What a check found, and how to correct it."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

State = Literal["ok", "warning", "problem"]


@dataclass(frozen=True)
class Finding:
    """One fact about the host or the installation. A `warning` or a `problem` has a `cure`."""

    check: str
    state: State
    found: str
    cure: str = ""


Check = Callable[[], Iterable[Finding]]


def ok(check: str, found: str) -> Finding:
    """Return a finding that needs no action."""
    return Finding(check, "ok", found)


def warning(check: str, found: str, cure: str) -> Finding:
    """Return a finding with which the service runs, but not as well as it could."""
    return Finding(check, "warning", found, cure)


def problem(check: str, found: str, cure: str) -> Finding:
    """Return a finding that keeps the service from starting or from serving all models."""
    return Finding(check, "problem", found, cure)


def counted(number: int, noun: str) -> str:
    """Return the number with the noun, which gets an s unless the number is 1."""
    return f"{number} {noun}{'s' * (number != 1)}"


def run(checks: Iterable[Check]) -> Iterator[Finding]:
    """Yield what each check finds. A check that fails itself is a finding too, so that the others still run."""
    for check in checks:
        try:
            yield from check()
        except Exception as error:
            name = check.__name__.strip("_").replace("_", " ")
            yield problem(name, f"the check failed: {type(error).__name__}: {error}", "report this with the text")
