"""What all problems that we tell a caller about have in common (RFC 9457); `errors` has them one by one."""

import math
import re
from functools import cache
from typing import Any, ClassVar

MAX_INTEGER = 2**53 - 1  # beyond it JavaScript rounds, and beyond 2**64 our encoder fails; a caller may send any number


class ServiceError(Exception):
    """A problem with a status, a one-line title and what the caller can do about it (`cure`).

    `detail` says what happened this time; `limit` and `actual` the bound that was broken; `retry_after_s` when to come
    again, where it is known better than for the class; `members` are further members of the problem document.
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
            self.retry_after_s = max(1, math.ceil(retry_after_s))  # told in whole seconds (RFC 9110, section 10.2.3)
        self.detail = detail
        self.limit = limit
        self.actual = actual
        self.members = members

    @classmethod
    @cache
    def code(cls) -> str:
        """The class name in snake case: `ImageTooLarge` is `image_too_large`."""
        return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", cls.__name__).lower()

    def problem(self) -> dict[str, Any]:
        """The problem document (RFC 9457, section 3) without `instance`; `type` is a page of this service."""
        document = {
            "type": f"/problems/{self.code()}",
            "title": self.title,
            "status": self.status,
            "detail": self.detail,
            "code": self.code(),
        }
        bounds = {"limit": self.limit, "actual": self.actual}
        told = {name: value for name, value in bounds.items() if value is not None and abs(value) <= MAX_INTEGER}
        return document | told | self.members
