"""The outside programs that tests need, those that hold the deployment files against their rules among them."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

TOP = Path(__file__).parents[2]
PLACES = (TOP / "build/deploy-tools/bin", Path(sys.executable).parent)


def program(name: str) -> str:
    """The path of a program; without it the test is skipped, and on CI (where it must be) fails."""
    found = next((path for folder in PLACES if (path := shutil.which(name, path=str(folder)))), shutil.which(name))
    if found is None:
        reason = f"{name} is not installed; .ci/run, .ci/deploy-tools.sh or the package's test extra brings it"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    return found


def run(name: str, *arguments: str | Path, **environment: str) -> str:
    """What the program prints; the test fails where it ends with another status than 0."""
    done = subprocess.run(
        [program(name), *map(str, arguments)],
        cwd=TOP,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
