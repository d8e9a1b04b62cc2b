"""Names the route that a caller probably means by a path at which nothing is served."""

import re
from collections.abc import Iterable, Sequence
from difflib import SequenceMatcher
from typing import Final, NamedTuple

NOTHING_HERE: Final = "Nothing is served at this path."
VERSION: Final = re.compile(r"v\d+")
LEAST_SIMILARITY: Final = 0.6  # as by default in `difflib.get_close_matches`
PATH_CHARACTERS: Final = 64  # of an unknown path, which is compared with the known ones


class KnownRoute(NamedTuple):
    """A route that callers may use: its method, and the template of its path."""

    method: str
    path: str


class NearRoutes:
    """The routes to name at an unknown path. `uploads` are the paths that take images by POST."""

    def __init__(self, routes: Iterable[KnownRoute], uploads: Sequence[str]) -> None:
        self._routes = [(words, route) for route in routes if (words := _words(route.path))]
        self._uploads = uploads

    def explain(self, method: str, path: str) -> str:
        """Return that nothing is served at the path, and the most similar route, or else where to find the right one.

        The caller's path is not repeated.
        """
        if route := self._nearest(path):
            return f"{NOTHING_HERE} Did you mean {route.method} {route.path}?"
        if method == "POST":
            *others, last = self._uploads
            return f"{NOTHING_HERE} Send images by POST to {', '.join(others)} or {last}."
        return f"{NOTHING_HERE} See /docs."

    def _nearest(self, path: str) -> KnownRoute | None:
        asked = _words(path[:PATH_CHARACTERS])
        similarity, nearest = max(
            ((_similarity(asked, words), route) for words, route in self._routes), key=lambda each: each[0]
        )
        return nearest if similarity >= LEAST_SIMILARITY else None


def _words(path: str) -> list[str]:
    """Return the parts of a path without the versions at its start: no caller means a route by its version alone."""
    words = [word for word in path.lower().split("/") if word]
    while words and VERSION.fullmatch(words[0]):
        del words[0]
    return words


def _similarity(asked: list[str], known: list[str]) -> float:
    """Return 1 for equal words, and 0 for words that are less similar than a near route's.

    Parameters of a template are left out.
    """
    fixed = [index for index, word in enumerate(known) if not word.startswith("{")]
    if len(fixed) < len(known):
        if len(asked) != len(known):
            return 0.0
        asked, known = ([words[index] for index in fixed] for words in (asked, known))
    matcher = SequenceMatcher(None, "/".join(asked), "/".join(known))
    bounds = (matcher.real_quick_ratio, matcher.quick_ratio)  # upper ones: 0.1 ms for a path in place of 0.4
    return matcher.ratio() if all(bound() >= LEAST_SIMILARITY for bound in bounds) else 0.0
