"""Find and run the external programs that tests need, such as the checkers of the deployment files."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

TOP = Path(__file__).parents[2]
FOLDERS = (TOP / "build/deploy-tools/bin", Path(sys.executable).parent)


def program(name: str) -> str:
    """Return the path of a program. Without it, skip the test, or fail it on CI, where all programs must exist."""
    found = next((path for folder in FOLDERS if (path := shutil.which(name, path=str(folder)))), shutil.which(name))
    if found is None:
        reason = f"{name} is not installed; .ci/run, .ci/deploy-tools.sh or the package's test extra installs it"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    return found


def run(name: str, *arguments: str | Path, **environment: str) -> str:
    """Return the program's output; fail the test if its exit status is not 0."""
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
