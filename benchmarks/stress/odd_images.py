"""`python -m benchmarks.stress.odd_images`: send a corpus of odd images to every endpoint, in every kind of body.

The corpus is a folder with a `manifest.csv`. Its columns `path` and `verdict` say what Pillow does with each file. Each
file is sent to a service with the starter models: raw, as a form and in base64. The table shows the problem codes for
each verdict, and is also written to `benchmarks/results/odd_images.md`. The program exits with 1 if an answer is a 5xx.
"""

import asyncio
import base64
import csv
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final

import click
import orjson

from benchmarks import made_models, scoreboard
from benchmarks.contest.contestants import CONTESTANTS, binary_request
from benchmarks.contest.runner import Contest, Entry, started
from service.measure.load import http_connection
from service.measure.load.corpus import CorpusImage
from service.measure.load.generator import Client, run
from service.measure.load.http_connection import Request
from service.tasks import endpoints
from service.tasks.classification.classify import CLASSIFY
from service.tasks.classification.explain import EXPLAIN
from service.tasks.detection.detect import DETECT
from service.tasks.segmentation.segment import SEGMENT

# The queries of each endpoint. An endpoint that is missing here gets one request without a query.
QUERIES: Final[dict[str, Sequence[str]]] = {
    CLASSIFY.name: ("?top_k=3",),
    SEGMENT.name: (
        "?mask=png&overlay=png",
        "?mask=rle&overlay=webp&confidence=true",
        "?mask=polygons&tolerance=3",
    ),
    DETECT.name: ("?min_score=0&mask=rle&overlay=png", "?min_score=0&mask=polygons&tolerance=3&overlay=webp"),
    EXPLAIN.name: ("?overlay=webp",),
}
ROUTES: Final = tuple(each.path + query for each in endpoints().values() for query in QUERIES.get(each.name, ("",)))
STARTER = made_models.STARTERS[0]
VARIABLES: Final = {"BENCH_OTHER_MODELS": f"{made_models.STARTERS[1]} starter-detector"}  # beside STARTER
INFER_PATH: Final = f"/v2/models/{STARTER}/infer"
CALLERS = 4
HEADERS: Final = {"Request-Timeout": "60"}
HEAD = ("Pillow's verdict", "files", "answers", "codes")


def as_json(url: str, image: CorpusImage) -> Request:
    """Return a request with the image in base64."""
    body = orjson.dumps({"images": [{"content": base64.b64encode(image.content).decode("ascii")}]})
    return http_connection.post(url, body, "application/json", HEADERS)


BODIES: Final[Sequence[Callable[[str, CorpusImage], Request]]] = (
    lambda url, image: http_connection.post(url, image.content, image.media_type, HEADERS),
    lambda url, image: http_connection.post(url, *http_connection.form([image]), HEADERS),
    as_json,
)


def requests(base: str, content: bytes, only: str = "/") -> Iterator[Request]:
    """Yield a request for each endpoint, query and kind of body. The path of each begins with `only`."""
    image = CorpusImage("odd", "application/octet-stream", content)
    routes = [route for route in ROUTES if route.startswith(only)]
    yield from (make_request(f"{base}{route}", image) for route in routes for make_request in BODIES)
    if INFER_PATH.startswith(only):
        yield binary_request(f"{base}{INFER_PATH}", image, [1], HEADERS)


def read(corpus: Path) -> list[tuple[str, bytes]]:
    """Return the verdict and the content of each file."""
    with (corpus / "manifest.csv").open(encoding="utf-8", newline="") as rows:
        return [(row["verdict"], (corpus / row["path"]).read_bytes()) for row in csv.DictReader(rows)]


async def send_all(entry: Entry, files: Iterable[tuple[str, bytes]], only: str) -> Counter[tuple[str, str]]:
    """Send all requests, and count the outcomes (`ok`, or status and code) by verdict."""
    base = f"http://{entry.plan.address.host}:{entry.plan.address.port}"
    todo = ((verdict, request) for verdict, content in files for request in requests(base, content, only))
    found: Counter[tuple[str, str]] = Counter()

    async def caller() -> None:
        client = Client(entry.plan.address, 1, entry.plan.timeout_s)
        for verdict, request in todo:
            await client.send(request)
            found[verdict, client.samples[-1].outcome] += 1
        client.close()

    await asyncio.gather(*(caller() for _ in range(CALLERS)))
    return found


def rows(files: Sequence[tuple[str, bytes]], found: Counter[tuple[str, str]]) -> list[tuple[str, ...]]:
    """Return a row for each verdict, the most frequent first: the codes with their counts."""
    verdicts = Counter(verdict for verdict, _ in files)
    found_rows: list[tuple[str, ...]] = []
    for verdict, count in verdicts.most_common():
        codes = Counter({code: times for (name, code), times in found.items() if name == verdict})
        cells = ", ".join(f"{code} {times}" for code, times in codes.most_common())
        found_rows.append((verdict, str(count), str(codes.total()), cells))
    return found_rows


def failed(outcome: str) -> bool:
    """Return whether the service failed: a 5xx, no answer, or no model for a route."""
    return outcome != "ok" and (not outcome.startswith("4") or outcome == "404 model_not_found")


@click.command(help=__doc__)
@click.argument("corpus", type=click.Path(exists=True, path_type=Path), default="../shared/data/odd-images")
@click.option("--every", default=1, show_default=True, type=click.IntRange(1), help="Send only every N-th file.")
@click.option("--only", default="/", show_default=True, help="Send only to paths that begin so, such as /v1/detect.")
@click.option("--into", type=click.Path(path_type=Path), default="benchmarks/results", show_default=True)
def main(corpus: Path, every: int, only: str, into: Path) -> None:
    """Send the files, print the table and write it."""
    files = read(corpus)[::every]
    with started(CONTESTANTS["ours"], Contest("same", made_models.PUBLISHED, STARTER), VARIABLES) as entry:
        found = run(send_all(entry, files, only))
    page = scoreboard.markdown(HEAD, rows(files, found))
    click.echo(page)
    into.mkdir(parents=True, exist_ok=True)
    (into / "odd_images.md").write_text(page, encoding="utf-8")
    sys.exit(any(failed(outcome) for _, outcome in found))


if __name__ == "__main__":
    main()
