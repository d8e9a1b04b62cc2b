"""What can go wrong: one file that cannot be sent, or the run as a whole."""

from typing import Any


class InputProblemError(Exception):
    """A file that cannot be sent. `problem` has the members `code` and `detail` of a problem document."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.problem: dict[str, Any] = {"code": code, "detail": detail}


class RunFailedError(RuntimeError):
    """The run cannot continue, whatever the image is. The message is for the operator."""
