"""`python -m benchmarks.bars.in_process FOLDER SECONDS WARM_UP_SECONDS`: measure a model without a server.

It prints the figures as JSON. FOLDER has the images to decode. BENCH_STORE and BENCH_MODEL select the model.
`resnest-service bench --limit` measures the same.
"""

import json
import sys
from dataclasses import asdict

from benchmarks.bars import given
from service.config.cores import usable_cores
from service.measure.limit import throughput


def main(folder: str, seconds: float, warm_up_s: float) -> None:
    """Measure the model and print the figures."""
    found = throughput.measure(
        given.card(), given.uploads(folder), seconds=seconds, warm_up_s=warm_up_s, processes=usable_cores(), lone=1
    )
    sys.stdout.write(json.dumps(asdict(found)))


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]), float(sys.argv[3]))
