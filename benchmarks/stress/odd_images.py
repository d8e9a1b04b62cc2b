"""`python -m benchmarks.stress.odd_images`: a corpus of odd images at every route that takes images, in every form.

The corpus is a folder with a `manifest.csv` whose columns `path` and `verdict` say what Pillow makes of each file. Each
goes to a service with the starter models raw, as a form and in base64. The table says which codes each verdict got; it
exits with 1 where an answer was a 5xx. It goes to `benchmarks/results/odd_images.md` as well.
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
from benchmarks.contest.contestants import CONTESTANTS, behind
from benchmarks.contest.runner import Contest, Entry, started
from benchmarks.stress.__main__ import BESIDE, STARTER
from service.measure.load import http_connection
from service.measure.load.corpus import Upload
from service.measure.load.generator import Client, run
from service.measure.load.http_connection import Request
from service.tasks import endpoints
from service.tasks.classification.classify import CLASSIFY
from service.tasks.classification.explain import EXPLAIN
from service.tasks.segmentation.segment import SEGMENT

# The queries of each endpoint; an endpoint that is missing is asked once, without one.
QUERIES: Final[dict[str, Sequence[str]]] = {
    CLASSIFY.name: ("?top_k=3",),
    SEGMENT.name: (
        "?mask=png&overlay=png",
        "?mask=rle&overlay=webp&confidence=true",
        "?mask=polygons&tolerance=3",
    ),
    EXPLAIN.name: ("?overlay=webp",),
}
ROUTES: Final = tuple(each.path + query for each in endpoints().values() for query in QUERIES.get(each.name, ("",)))
PROTOCOL: Final = f"/v2/models/{STARTER}/infer"
CALLERS = 4
PATIENT: Final = {"Request-Timeout": "60"}
HEAD = ("Pillow says", "files", "answers", "codes")


def in_json(url: str, picture: Upload) -> Request:
    """In base64."""
    body = orjson.dumps({"images": [{"content": base64.b64encode(picture.content).decode("ascii")}]})
    return http_connection.post(url, body, "application/json", PATIENT)


SHAPES: Final[Sequence[Callable[[str, Upload], Request]]] = (
    lambda url, picture: http_connection.post(url, picture.content, picture.media_type, PATIENT),
    lambda url, picture: http_connection.post(url, *http_connection.form([picture]), PATIENT),
    in_json,
)


def requests(base: str, content: bytes) -> Iterator[Request]:
    """Every way of sending a file."""
    picture = Upload("odd", "application/octet-stream", content)
    yield from (shape(f"{base}{route}", picture) for route in ROUTES for shape in SHAPES)
    yield behind(f"{base}{PROTOCOL}", picture, [1], PATIENT)


def read(corpus: Path) -> list[tuple[str, bytes]]:
    """Verdict and content of each file."""
    with (corpus / "manifest.csv").open(encoding="utf-8", newline="") as rows:
        return [(row["verdict"], (corpus / row["path"]).read_bytes()) for row in csv.DictReader(rows)]


async def ask(entry: Entry, files: Iterable[tuple[str, bytes]]) -> Counter[tuple[str, str]]:
    """How often a verdict got an outcome (`ok`, or status and code)."""
    base = f"http://{entry.plan.address.host}:{entry.plan.address.port}"
    todo = ((verdict, request) for verdict, content in files for request in requests(base, content))
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
    """A row a verdict, the most frequent first; codes with their counts."""
    verdicts = Counter(verdict for verdict, _ in files)
    told: list[tuple[str, ...]] = []
    for verdict, count in verdicts.most_common():
        codes = Counter({code: times for (name, code), times in found.items() if name == verdict})
        cells = ", ".join(f"{code} {times}" for code, times in codes.most_common())
        told.append((verdict, str(count), str(codes.total()), cells))
    return told


def failed(outcome: str) -> bool:
    """Whether it is the service's failure: a 5xx, or no answer at all."""
    return outcome != "ok" and not outcome.startswith("4")


@click.command(help=__doc__)
@click.argument("corpus", type=click.Path(exists=True, path_type=Path), default="../shared/data/odd-images")
@click.option("--every", default=1, show_default=True, type=click.IntRange(1), help="Only each so many-th file.")
@click.option("--into", type=click.Path(path_type=Path), default="benchmarks/results", show_default=True)
def main(corpus: Path, every: int, into: Path) -> None:
    """Ask, and print the table."""
    files = read(corpus)[::every]
    with started(CONTESTANTS["ours"], Contest("same", made_models.PUBLISHED, STARTER), BESIDE) as entry:
        found = run(ask(entry, files))
    page = scoreboard.markdown(HEAD, rows(files, found))
    click.echo(page)
    into.mkdir(parents=True, exist_ok=True)
    (into / "odd_images.md").write_text(page, encoding="utf-8")
    sys.exit(any(failed(outcome) for _, outcome in found))


if __name__ == "__main__":
    main()
