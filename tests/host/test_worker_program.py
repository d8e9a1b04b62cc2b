"""TorchServe's home folder has its files and our worker program."""

import subprocess
import sys
from pathlib import Path

from service.host import worker_program


def test_the_home_folder_has_torchserves_files_and_our_program(tmp_path: Path) -> None:
    for _ in range(2):
        home = worker_program.write_home(tmp_path)
    for file in worker_program.FILES:
        assert (home / "ts" / file).read_bytes() == (worker_program.installed() / file).read_bytes()
    written = [sys.executable, str(home / "ts" / "model_service_worker.py"), "--help"]
    assert "--sock-name" in subprocess.run(written, capture_output=True, text=True, check=True).stdout


def test_there_is_a_program_that_torchserve_can_run_as_kill(tmp_path: Path) -> None:
    """TorchServe only waits for its end."""
    programs = worker_program.write_home(tmp_path) / worker_program.PROGRAMS
    done = subprocess.run(["kill", "-9", "0"], env={"PATH": str(programs)}, capture_output=True, check=False)
    assert done.returncode != 0
