"""This project as `resnest-service run` starts it; with the null model in its worker where that is asked for."""

import json
import os
from pathlib import Path

from service import packaging, supervisor
from service.folders import short_folder
from service.signals import signals
from service.supervisor import Options

NULL_HANDLER = "benchmarks.null_handler"


def main() -> None:
    """Serve until SIGTERM."""
    names = (os.environ["BENCH_MODEL"], *os.environ.get("BENCH_BESIDE", "").split())
    options = Options(Path(os.environ["BENCH_STORE"]), names, port=int(os.environ["PORT"]))
    if os.environ["BENCH_KIND"] != "null":
        supervisor.run(options, print)
        return
    models = supervisor.chosen(options, print)
    for card in models:
        manifest = packaging.package(card, options.store / packaging.ARCHIVES) / "MAR-INF" / "MANIFEST.json"
        told = json.loads(manifest.read_text(encoding="utf-8"))
        told["model"]["handler"] = NULL_HANDLER
        manifest.write_text(json.dumps(told), encoding="utf-8")
    with signals() as asked, short_folder("/tmp") as folder:  # noqa: S108 - made anew
        tree = supervisor.Tree(options, models, folder, asked, print, os.environ)
        try:
            tree.start()
            if tree.wait_until_ready():
                tree.watch()
        finally:
            tree.stop()


if __name__ == "__main__":
    main()
