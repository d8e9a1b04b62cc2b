"""Types: mypy finds no error. A test, because without its cache mypy takes half a minute of one core."""

import subprocess
import sys

from tests.laws.sources import ROOT


def test_mypy_finds_no_error() -> None:
    done = subprocess.run([sys.executable, "-m", "mypy"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
