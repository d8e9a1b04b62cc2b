"""`python -m benchmarks.bars.in_process`: measure a model in this process, and print the figures as JSON.

BENCH_STORE and BENCH_MODEL select the model. `resnest-service bench --limit` measures the same. This program measures
as many single images as a 99th percentile needs.
"""

import json
import os
import sys
from dataclasses import asdict
from pathlib import Path

from service.config.cores import usable_cores
from service.measure.load import corpus, limit
from service.measure.pipeline import Pipeline
from service.models import cards


def main(size: str, seconds: float, warm_up_s: float, lone: int) -> None:
    """Measure the model and print the figures."""
    width, _, height = size.partition("x")
    uploads = [each.content for each in corpus.make([(int(width), int(height))])]
    pipeline = Pipeline.load(cards.read(Path(os.environ["BENCH_STORE"]) / os.environ["BENCH_MODEL"]))
    found = limit.measure(pipeline, uploads, seconds=seconds, warm_up_s=warm_up_s, threads=usable_cores(), lone=lone)
    sys.stdout.write(json.dumps(asdict(found)))


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]), float(sys.argv[3]), int(sys.argv[4]))
