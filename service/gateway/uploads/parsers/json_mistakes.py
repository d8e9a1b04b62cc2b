"""Words what is wrong with a JSON body, without the caller's values and private names."""

from collections.abc import Collection
from typing import Final

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from service.errors import MalformedJson
from service.errors.wording import first_of
from service.gateway.http import mistakes

# Of a member that is not documented only these names are repeated, and those similar to a missing member's, because
# others may be private.
URL_NAMES: Final = {"url", "uri", "image_url"}
IMAGE_NAMES: Final = {"image", "img", "file", "photo", "data", "bytes", "base64", "b64", "b64_json", "image_base64"}
URL_MEMBER: Final = "It has a URL. The service fetches nothing: send the bytes of the image in `content`, in base64."
UNION_STEPS: Final = {"str", "list[str]"}  # which pydantic adds to the path of a member with several types
UNDOCUMENTED_MEMBER: Final = "It has a member that is not documented."

MemberPath = tuple[int | str, ...]  # of a member in JSON, as pydantic names it


def malformed_json(error: ValidationError, cure: str = MalformedJson.cure) -> MalformedJson:
    """Return the problem with the first errors, without values and private names, which are the caller's data.

    An error that names a member comes first, because it says what to change. Others only say that it is wrong.
    """
    found = error.errors()
    missing = [each["loc"] for each in found if each["type"] == "missing"]
    named = [(each, _explained(each["loc"], missing) if each["type"] == mistakes.UNKNOWN else None) for each in found]
    first = sorted(named, key=lambda pair: pair[1] is None)[: mistakes.MAX_ROWS]
    rows = [_row(each["loc"], text) if text else _unnamed_row(each) for each, text in first]
    rows = list({row["parameter"]: row for row in reversed(rows)}.values())[::-1]
    return MalformedJson(f"The body is not the documented JSON. {first_of(rows)} {cure}", errors=rows)


def _explained(path: MemberPath, missing: Collection[MemberPath]) -> str | None:
    """Return what to send in place of a member that is not documented; None if its name may be private."""
    *parents, name = map(str, path)
    if name in URL_NAMES:
        return URL_MEMBER
    absent = [str(each[-1]) for each in missing if [*map(str, each[:-1])] == parents]
    meant = absent[0] if absent and name in IMAGE_NAMES else mistakes.nearest(name, absent)
    return f"There is no such member. Did you mean {meant}?" if meant else None


def _unnamed_row(error: ErrorDetails) -> dict[str, str]:
    if error["type"] == mistakes.UNKNOWN:
        return _row(error["loc"][:-1], UNDOCUMENTED_MEMBER)
    return _row(error["loc"], mistakes.describe(error))


def _row(path: MemberPath, detail: str) -> dict[str, str]:
    return {"parameter": ".".join(str(step) for step in path if step not in UNION_STEPS), "detail": detail}
