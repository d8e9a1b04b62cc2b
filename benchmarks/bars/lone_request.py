"""`python -m benchmarks.bars.lone_request FOLDER URL IMAGES`: single requests to a service, and the same in process.

It prints the figures of both in milliseconds, and of their stages, as JSON. The service and the model in this process
take turns, with 25 images each. So a machine that changes its speed changes both. FOLDER has the images, URL is that of
a classifier, and BENCH_STORE and BENCH_MODEL select its model.
"""

import json
import sys
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from http.client import HTTPConnection
from typing import Protocol
from urllib.parse import urlsplit

from benchmarks.bars import given
from service.measure.load.generator import parse_server_timing
from service.measure.load.summary import Figures, figures
from service.measure.pipeline import Pipeline

WINDOW = 25  # images; less than a second of each
WARM_UP = 3  # images of a window that are not counted: the other side has had the caches

Stages = Mapping[str, float]  # milliseconds
Times = dict[str, list[float]]  # milliseconds of each stage


class Side(Protocol):
    """Answers an image."""

    def __call__(self, upload: bytes, /) -> Stages:
        """Answer an image and return the milliseconds of each stage."""
        ...


class InProcess:
    """The model in this process: decoding, then the network."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline

    def __call__(self, upload: bytes) -> Stages:
        """Decode an image and run the network."""
        begun = time.perf_counter()
        prepared = self._pipeline.prepare(upload)
        decoded = time.perf_counter()
        self._pipeline.infer([prepared])
        return {"decode": (decoded - begun) * 1e3, "inference": (time.perf_counter() - decoded) * 1e3}


class Caller:
    """Sends images over one connection, and waits for each answer."""

    def __init__(self, url: str) -> None:
        """`url` is the one to send to."""
        parts = urlsplit(url)
        self._path = f"{parts.path}?{parts.query}" if parts.query else parts.path
        self._connection = HTTPConnection(parts.hostname or "", parts.port, timeout=60)

    def __call__(self, upload: bytes) -> Stages:
        """Send an image and return the stages of `Server-Timing`. Raise `ValueError` if the answer is not a success."""
        self._connection.request("POST", self._path, upload, {"Content-Type": "image/jpeg"})
        response = self._connection.getresponse()
        body = response.read()
        if response.status != 200:
            raise ValueError(f"{response.status}: {body[:200]!r}")
        return parse_server_timing(response.headers.get("Server-Timing", ""))

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()


def times_in_turn(sides: Mapping[str, Side], uploads: Sequence[bytes], images: int) -> dict[str, Times]:
    """Return the milliseconds of at least `images` single images of each side, which take turns.

    The figures of a side are those of all its stages and, as `all`, of the images.
    """
    found: dict[str, Times] = {side: defaultdict(list) for side in sides}
    while min(len(times["all"]) for times in found.values()) < images:
        for side, answer in sides.items():
            for index in range(WARM_UP + WINDOW):
                upload = uploads[index % len(uploads)]
                begun = time.perf_counter()
                stages = answer(upload)
                taken = (time.perf_counter() - begun) * 1e3
                if index >= WARM_UP:
                    for stage, milliseconds in {**stages, "all": taken}.items():
                        found[side][stage].append(milliseconds)
    return found


def main(folder: str, url: str, images: int) -> None:
    """Measure both and print the figures."""
    caller = Caller(url)
    sides: dict[str, Side] = {"served": caller, "in_process": InProcess(Pipeline.load(given.card()))}
    try:
        found = times_in_turn(sides, given.uploads(folder), images)
    finally:
        caller.close()
    printed: dict[str, dict[str, Figures]] = {
        side: {stage: figures(times) for stage, times in stages.items()} for side, stages in found.items()
    }
    sys.stdout.write(json.dumps(printed))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
