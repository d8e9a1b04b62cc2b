"""`python -m benchmarks.bars.lone_request FOLDER URL IMAGES`: single requests to a service, and the same in process.

It prints the figures of both in milliseconds, as JSON. The service and the model in this process take turns, with 25
images each. So a machine that changes its speed changes both. FOLDER has the images, URL is that of a classifier, and
BENCH_STORE and BENCH_MODEL select its model.
"""

import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from http.client import HTTPConnection
from urllib.parse import urlsplit

from benchmarks.bars import given
from service.measure.load.summary import figures
from service.measure.pipeline import Pipeline

WINDOW = 25  # images; less than a second of each
WARM_UP = 3  # images of a window that are not counted: the other side has had the caches

Answer = Callable[[bytes], object]


class Caller:
    """Sends images over one connection, and waits for each answer."""

    def __init__(self, url: str) -> None:
        """`url` is the one to send to."""
        parts = urlsplit(url)
        self._path = f"{parts.path}?{parts.query}" if parts.query else parts.path
        self._connection = HTTPConnection(parts.hostname or "", parts.port, timeout=60)

    def __call__(self, upload: bytes) -> None:
        """Send an image. Raise `ValueError` if the answer is not a success."""
        self._connection.request("POST", self._path, upload, {"Content-Type": "image/jpeg"})
        response = self._connection.getresponse()
        body = response.read()
        if response.status != 200:
            raise ValueError(f"{response.status}: {body[:200]!r}")

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()


def times_in_turn(sides: Mapping[str, Answer], uploads: Sequence[bytes], images: int) -> dict[str, list[float]]:
    """Return the milliseconds of at least `images` single images of each side, which take turns."""
    found: dict[str, list[float]] = {side: [] for side in sides}
    while min(map(len, found.values())) < images:
        for side, answer in sides.items():
            for index in range(WARM_UP + WINDOW):
                upload = uploads[index % len(uploads)]
                begun = time.perf_counter()
                answer(upload)
                if index >= WARM_UP:
                    found[side].append((time.perf_counter() - begun) * 1e3)
    return found


def main(folder: str, url: str, images: int) -> None:
    """Measure both and print the figures."""
    pipeline, caller = Pipeline.load(given.card()), Caller(url)
    try:
        found = times_in_turn({"served": caller, "in_process": pipeline}, given.uploads(folder), images)
    finally:
        caller.close()
    sys.stdout.write(json.dumps({side: figures(times) for side, times in found.items()}))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
