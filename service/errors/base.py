"""The base class of all problems that a caller can receive (RFC 9457). `errors` lists the problems themselves."""

import math
import re
from functools import cache
from typing import Any, ClassVar

# JavaScript rounds larger integers, and the JSON encoder fails above 2**64. A caller may send any number.
MAX_INTEGER = 2**53 - 1


class ServiceError(Exception):
    """A problem with a status, a one-line title, and what the caller can do about it (`cure`).

    The `detail` says what happened this time. The `limit` was exceeded by `actual`. An instance's `retry_after_s`
    replaces that of its class. The `members` are further members of the problem document.
    """

    status: ClassVar[int] = 500
    title: ClassVar[str] = ""
    cure: ClassVar[str] = ""
    retry_after_s: int | None = None

    def __init__(
        self,
        detail: str,
        *,
        limit: int | None = None,
        actual: int | None = None,
        retry_after_s: float | None = None,
        **members: Any,
    ) -> None:
        super().__init__(detail)
        if retry_after_s is not None:
            self.retry_after_s = max(1, math.ceil(retry_after_s))  # Retry-After: whole seconds (RFC 9110, 10.2.3)
        self.detail = detail
        self.limit = limit
        self.actual = actual
        self.members = members

    @classmethod
    @cache
    def code(cls) -> str:
        """Return the class name in snake case: `ImageTooLarge` is `image_too_large`."""
        return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", cls.__name__).lower()

    def problem(self) -> dict[str, Any]:
        """Return the problem document (RFC 9457, section 3) without `instance`. `type` is a page of this service."""
        document = {
            "type": f"/problems/{self.code()}",
            "title": self.title,
            "status": self.status,
            "detail": self.detail,
            "code": self.code(),
        }
        bounds = {"limit": self.limit, "actual": self.actual}
        sent = {name: value for name, value in bounds.items() if value is not None and abs(value) <= MAX_INTEGER}
        return document | sent | self.members
