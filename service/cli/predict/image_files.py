"""Write the masks and overlays of an answer as files, instead of base64 in its JSON."""

import base64
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePath
from typing import Any

from service.cli.predict.inputs import InputFile

ENCODED = "base64"


class ImageFiles:
    """Files in one folder. Each is named after its image, such as `cat.mask.png`.

    If another image of this run has that name, it is `cat.jpg.mask.png`, or else in folders as those of the image.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._taken: dict[PurePath, str] = {}  # the image of each name

    def write(self, file: InputFile, answer: Mapping[str, Any]) -> dict[str, Any]:
        """Write the files of an answer. Return the answer with the path `file` in place of the encoded `data`.

        Raises `OSError`.
        """
        found = dict(answer)
        for name, member in list(_encoded(found, ())):
            path = self._path(file, f"{name}.{member['format']}")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(base64.b64decode(member["data"]))
            del member["data"]
            member |= {"encoding": "file", "file": str(path)}
        return found

    def _path(self, file: InputFile, ending: str) -> Path:
        path = file.path or file.place
        inside = PurePath(*(part for part in path.parts if part not in (path.anchor, "..")))
        names = (f"{file.place.stem}.{ending}", f"{file.place.name}.{ending}")
        places = (file.place.with_name(names[0]), file.place.with_name(names[1]), inside.with_name(names[1]))
        free = (place for place in places if self._taken.setdefault(place, file.name) == file.name)
        return self._folder / next(free, places[-1])


def _encoded(member: Any, keys: tuple[str, ...]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the members that have an encoded image, with names: `mask`, or `overlay-2` in the second of a list."""
    if isinstance(member, dict):
        if member.get("encoding") == ENCODED and member.get("format") in ("png", "webp"):
            yield "-".join(reversed(keys)), member
            return
        for key, value in member.items():
            if isinstance(value, list):
                for number, each in enumerate(value, 1):
                    yield from _encoded(each, (*keys, str(number)))
            else:
                yield from _encoded(value, (*keys, key))
