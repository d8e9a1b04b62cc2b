"""`python -m benchmarks.bars.in_process FOLDER SECONDS WARM_UP_SECONDS IMAGES`: measure a model without a server.

It prints the figures as JSON. FOLDER has the images to decode, IMAGES is the number of single images. BENCH_STORE and
BENCH_MODEL select the model. `resnest-service bench --limit` measures the same. This program measures
as many single images as a 99th percentile needs.
"""

import json
import os
import sys
from dataclasses import asdict
from pathlib import Path

from service.config.cores import usable_cores
from service.measure.limit import throughput
from service.measure.load import corpus
from service.models import cards


def main(folder: str, seconds: float, warm_up_s: float, lone: int) -> None:
    """Measure the model and print the figures."""
    uploads = [each.content for each in corpus.read(Path(folder))]
    card = cards.read(Path(os.environ["BENCH_STORE"]) / os.environ["BENCH_MODEL"])
    found = throughput.measure(card, uploads, seconds=seconds, warm_up_s=warm_up_s, processes=usable_cores(), lone=lone)
    sys.stdout.write(json.dumps(asdict(found)))


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]), float(sys.argv[3]), int(sys.argv[4]))
