"""The home folder of TorchServe with our worker program, `service.worker.guard`, in place of TorchServe's own.

TorchServe starts each worker by the program `ts/model_service_worker.py` of its home folder.
"""

import importlib.util
import shutil
import sys
from pathlib import Path

from service.models.cards import CardError

# Never imported here, because it may load torch.
PROGRAM = """from service.worker import guard, process

guard.run(lambda announce: process.main(announce=announce))
"""
FILES = ("version.txt", "configs/metrics.yaml")  # what TorchServe itself reads there
PROGRAMS = "bin"  # in the home folder


def write_home(folder: Path) -> Path:
    """Write the home folder into `folder`, and return it. Raises `CardError` if TorchServe is missing."""
    home = folder / "home"
    (home / "ts" / "configs").mkdir(parents=True, exist_ok=True)
    for file in FILES:
        shutil.copyfile(installed() / file, home / "ts" / file)
    (home / "ts" / "model_service_worker.py").write_text(PROGRAM, encoding="utf-8")
    _write_kill(home / PROGRAMS)
    return home


def _write_kill(programs: Path) -> None:
    """Write a program `kill` for hosts that have none, such as slim container images.

    When TorchServe unregisters a model, it kills a worker process by the system call, and then runs `kill -9` too. If
    that program is missing, it leaves the model's other processes running for ever. So it only has to exist. It is a
    link, because a file here could not be run where temporary files may not be.
    """
    programs.mkdir(exist_ok=True)
    link = programs / "kill"
    link.unlink(missing_ok=True)
    link.symlink_to(sys.executable)


def installed() -> Path:
    """Return the folder of TorchServe's package. Raises `CardError` if it is missing."""
    spec = importlib.util.find_spec("ts")
    if spec is None or not spec.submodule_search_locations:
        raise CardError("TorchServe is not installed; it comes with resnest-service[worker]")
    return Path(spec.submodule_search_locations[0])
