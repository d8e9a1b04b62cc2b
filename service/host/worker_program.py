"""The home folder of TorchServe with our worker program, `service.worker.guard`, in place of TorchServe's own.

TorchServe starts each worker by the program `ts/model_service_worker.py` of its home folder.
"""

import importlib.util
import shutil
from pathlib import Path

from service.models.cards import CardError

# Never imported here, because it may load torch.
PROGRAM = """from service.worker import guard, process

guard.run(lambda announce: process.main(announce=announce))
"""
FILES = ("version.txt", "configs/metrics.yaml")  # what TorchServe itself reads there


def write_home(folder: Path) -> Path:
    """Write the home folder into `folder`, and return it. Raises `CardError` if TorchServe is missing."""
    home = folder / "home"
    (home / "ts" / "configs").mkdir(parents=True, exist_ok=True)
    for file in FILES:
        shutil.copyfile(installed() / file, home / "ts" / file)
    (home / "ts" / "model_service_worker.py").write_text(PROGRAM, encoding="utf-8")
    return home


def installed() -> Path:
    """Return the folder of TorchServe's package. Raises `CardError` if it is missing."""
    spec = importlib.util.find_spec("ts")
    if spec is None or not spec.submodule_search_locations:
        raise CardError("TorchServe is not installed; it comes with resnest-service[worker]")
    return Path(spec.submodule_search_locations[0])
