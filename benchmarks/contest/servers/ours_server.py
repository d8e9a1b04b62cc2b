"""This service as `resnest-service run` starts it, or with the null model in its worker."""

import os
from pathlib import Path

from service.host import supervisor
from service.host.run_options import RunOptions
from tests.null_model import service as null_service


def main() -> None:
    """Serve until SIGTERM."""
    names = (os.environ["BENCH_MODEL"], *os.environ.get("BENCH_OTHER_MODELS", "").split())
    options = RunOptions(Path(os.environ["BENCH_STORE"]), names, port=int(os.environ["PORT"]))
    if os.environ["BENCH_KIND"] == "null":
        null_service.serve(options)
    else:
        supervisor.run(options, print)


if __name__ == "__main__":
    main()
