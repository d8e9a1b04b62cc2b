"""Run other programs in tests."""

import os
import subprocess
from pathlib import Path

from tests.laws.sources import ROOT

LIMIT_S = 240


def ran(*command: str | Path, folder: Path = ROOT, with_errors: bool = False, **environment: str) -> str:
    """Run the command, and return what it wrote; fail with that if the command fails.

    With `with_errors` that includes the standard error.
    """
    done = subprocess.run(
        [str(word) for word in command],
        cwd=folder,
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT if with_errors else subprocess.PIPE,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )
    assert done.returncode == 0, done.stdout + (done.stderr or "")
    return done.stdout
