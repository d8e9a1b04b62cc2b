"""This project as `resnest-service run` starts it; with the null model in its worker where that is asked for."""

import json
import os
from pathlib import Path

from service.host import supervisor, torchserve
from service.host.processes import stop_signals
from service.host.run_folders import short_folder
from service.host.supervisor import RunOptions
from service.models.cards import ModelCard

NULL_HANDLER = "benchmarks.contest.null_handler"


def main() -> None:
    """Serve until SIGTERM."""
    names = (os.environ["BENCH_MODEL"], *os.environ.get("BENCH_BESIDE", "").split())
    options = RunOptions(Path(os.environ["BENCH_STORE"]), names, port=int(os.environ["PORT"]))
    if os.environ["BENCH_KIND"] != "null":
        supervisor.run(options, print)
        return
    models = supervisor.select_models(options, print)
    for card in models:
        package_with(NULL_HANDLER, card, options.store / torchserve.ARCHIVES)
    with stop_signals() as asked, short_folder("/tmp") as folder:  # noqa: S108 - made anew
        tree = supervisor.ProcessTree(options, models, folder, asked, print, os.environ)
        try:
            tree.start()
            if tree.wait_until_ready():
                tree.watch()
        finally:
            tree.stop()


def package_with(handler: str, card: ModelCard, archives: Path) -> None:
    """Package a model for TorchServe with another handler than its task's."""
    manifest = torchserve.package(card, archives) / "MAR-INF" / "MANIFEST.json"
    told = json.loads(manifest.read_text(encoding="utf-8"))
    told["model"]["handler"] = handler
    manifest.write_text(json.dumps(told), encoding="utf-8")


if __name__ == "__main__":
    main()
